/*
 * snapshot: what a session must remember of a position to come back to it after its window
 * rings have moved on: the rings' last rows, the hidden row MTP needs, the logits.  Global
 * layers keep every row, so nothing of them is in it.
 *
 * A session's snapshots live in one reserved piece of address space with a fixed number of
 * places, so taking one allocates nothing.  When all places are taken, the one is given up
 * whose neighbours stand closest together, measured by its distance from the newest: so
 * they lie dense near the end, where people go back to, and sparse far behind.
 *
 * Taken when a message of SNAPSHOT_MESSAGE tokens or more begins and ends, and every
 * `every` tokens.  Models whose rings never wrap in the context need and get none.
 */
#ifndef KEXA_RUN_SNAPSHOT_H
#define KEXA_RUN_SNAPSHOT_H

#include "model/model.h"

enum { SNAPSHOT_SLOTS_MAX = 64, SNAPSHOT_SLOTS = 8, SNAPSHOT_EVERY = 1024, SNAPSHOT_MESSAGE = 16 };
#define SNAPSHOT_BUDGET ((uint64_t)1 << 30)   /* bytes, when nobody says */

struct session;

struct snapshots {
    uint8_t *memory;                      /* room * each bytes of address space */
    uint64_t each;
    uint32_t room, n, every;
    struct snapshot_at {
        uint32_t n;                       /* tokens */
        uint32_t place;
    } at[SNAPSHOT_SLOTS_MAX];             /* ascending; at[n..room) name the free places */
};

/* Bytes of one snapshot (0: none is needed), and how many a budget has room for (budget 0:
 * SNAPSHOT_SLOTS of them, at most SNAPSHOT_BUDGET). */
uint64_t snapshot_bytes(const struct plan *p, const struct kv_bytes *kv, bool mtp);
uint32_t snapshot_room(uint64_t each, uint64_t budget);

bool snapshots_init(struct session *s, uint64_t budget, uint32_t every, struct err *err);
void snapshots_release(struct snapshots *x);
void snapshots_copy(struct snapshots *to, const struct snapshots *from);

/* Whether `every` tokens have passed at n tokens since the last one before it. */
bool snapshot_due(const struct snapshots *x, uint32_t n);
/* Of the session as it stands; logits (and hidden) must be those of its last token. */
void snapshot_take(struct session *s);
/* Forgets those of more than n tokens. */
void snapshots_drop(struct snapshots *x, uint32_t n);
/* Puts the session back to the newest snapshot it has, or to 0 tokens if it has none. */
void snapshot_restore(struct session *s);

#endif
