/*
 * session: one sequence.  All of its state is in this struct: tokens, KV rings and pages,
 * the MTP block's KV, the last post-norm hidden row, logits, sampler and random numbers.
 *
 * Invariant: KV rows of positions 0 .. n-1 that a window still sees are valid; logits and
 * hidden belong to position n-1, also after a cancelled call.  `top` is the highest
 * position ever written plus one, `base` where a snapshot last put the rings; the two bound
 * how far a ring can be rewound (kv_oldest).  MTP slots 0 .. n-2 are filled when the
 * session keeps MTP (slot t needs the token at t + 1).
 */
#ifndef KEXA_RUN_SESSION_H
#define KEXA_RUN_SESSION_H

#include "model/model.h"
#include "run/sampler.h"
#include "run/snapshot.h"

struct session_options {
    uint32_t context, chunk;
    enum kv_type kv_type;
    bool mtp;
    uint32_t snapshot_every;              /* tokens; 0: SNAPSHOT_EVERY */
    uint64_t snapshot_budget;             /* bytes; 0: see snapshot_room() */
};

struct session {
    struct model *m;
    struct kv kv;
    uint32_t n, top, base;                /* tokens held; highest position written + 1;
                                             tokens at the last restoring */
    uint32_t *ids;                        /* [context] */
    float *logits;                        /* [vocab], of position n - 1 */
    float *hidden;                        /* [1 + chunk][hidden]: row 0 is position n - 1 */
    bool mtp;                             /* MTP is kept */
    struct snapshots snapshots;
    struct session_options options;       /* as it was opened */
    uint64_t model_hash;                  /* of m, once a file was read; 0: not yet */
    struct sampler sampler;
    struct sampler_work work;
    _Atomic int cancelled;                /* set by another thread or a signal handler */
    void (*on_progress)(void *arg, size_t done, size_t total);
    void *progress_arg;
};

/* What the context is when nobody says: the model's, at most 8192. */
uint32_t session_default_context(const struct plan *p);
enum { SESSION_CHUNK = 256, SESSION_CHUNK_MAX = 4096 };

struct session *session_open(struct model *m, const struct session_options *o, struct err *err);
void session_close(struct session *s);

/* A second session that holds all that s holds: tokens, keys and values as far as they are
 * used, snapshots, sampler with its random numbers.  Progress callbacks stay behind. */
struct session *session_fork(const struct session *s, struct err *err);

/* Tokens to add to one session, and where results of every new position go (or NULL). */
struct feed {
    struct session *s;
    const uint32_t *ids;
    size_t n;
    float *logits;                        /* [n][vocab] */
    float *mtp_logits;                    /* [n][vocab]: row i is the slot of the token before
                                             ids[i]; the first row of an empty session is
                                             left alone */
    size_t done, now;                     /* for the call itself: evaluated; in this step */
    bool snapshot;                        /* and: one is taken after this step */
};

/* All sessions of one model, each in at most one feed (twice is refused).  Nothing is
 * evaluated unless all ids and contexts are in order.  ERR_CANCELLED keeps whole chunks.
 * Allocates nothing. */
bool session_add_many(struct feed *feeds, size_t n_feeds, struct err *err);
bool session_add(struct session *s, const uint32_t *ids, size_t n, struct err *err);

/*
 * Drops to n <= s->n tokens, exact to the bit.  While the rings still hold what position
 * n - 1 sees, that token alone is evaluated again.  Further back the nearest snapshot at or
 * before n is restored (without one: the start) and the tokens from there to n are
 * evaluated again; if that is cancelled or memory runs out, fewer than n are left.
 */
bool session_truncate(struct session *s, uint32_t n, struct err *err);

/* MTP logits given the next token; leaves the session as it was. */
bool session_mtp_logits(struct session *s, uint32_t next, float *logits, struct err *err);

bool session_sampling(struct session *s, const struct sampler_options *o, struct err *err);
bool session_sample(struct session *s, uint32_t *id, double *logprob, struct err *err);

#endif
