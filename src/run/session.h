/*
 * session: one sequence.  All of its state is in this struct: tokens, KV rings and pages,
 * the MTP block's KV, the last post-norm hidden row, logits, sampler and random numbers.
 *
 * Invariant: KV rows of positions 0 .. n-1 that a window still sees are valid; logits and
 * hidden belong to position n-1.  `top` is the highest position ever written plus one; it
 * bounds how far a ring can be rewound (kv_oldest).  MTP slots 0 .. n-2 are filled when
 * the session keeps MTP (slot t needs the token at t + 1).
 */
#ifndef KEXA_RUN_SESSION_H
#define KEXA_RUN_SESSION_H

#include "model/model.h"
#include "run/sampler.h"

struct session {
    struct model *m;
    struct kv kv;
    uint32_t n, top;                      /* tokens held; highest position written + 1 */
    uint32_t *ids;                        /* [context] */
    float *logits;                        /* [vocab], of position n - 1 */
    float *hidden;                        /* [1 + chunk][hidden]: row 0 is position n - 1 */
    bool mtp, has_hidden;                 /* MTP is kept; hidden row 0 belongs to n - 1 */
    struct sampler sampler;
    struct sampler_work work;
    volatile int cancelled;
    void (*on_progress)(void *arg, size_t done, size_t total);
    void *progress_arg;
};

struct session_options {
    uint32_t context, chunk;
    enum kv_type kv_type;
    bool mtp;
};

/* What the context is when nobody says: the model's, at most 8192. */
uint32_t session_default_context(const struct plan *p);
enum { SESSION_CHUNK = 256, SESSION_CHUNK_MAX = 4096 };

struct session *session_open(struct model *m, const struct session_options *o, struct err *err);
void session_close(struct session *s);

/* Tokens to add to one session, and where results of every new position go (or NULL). */
struct feed {
    struct session *s;
    const uint32_t *ids;
    size_t n;
    float *logits;                        /* [n][vocab] */
    float *mtp_logits;                    /* [n][vocab]: row i is the slot of the token before
                                             ids[i]; the first row of an empty session is
                                             left alone */
};

/* All sessions of one model, each in at most one feed.  Nothing is evaluated unless all
 * ids and contexts are in order.  ERR_CANCELLED keeps whole chunks. */
bool session_add_many(struct feed *feeds, size_t n_feeds, struct err *err);
bool session_add(struct session *s, const uint32_t *ids, size_t n, struct err *err);

/* Drops to n tokens, exact to the bit (the last one is evaluated again). */
bool session_truncate(struct session *s, uint32_t n, struct err *err);

/* MTP logits given the next token; leaves the session as it was. */
bool session_mtp_logits(struct session *s, uint32_t next, float *logits, struct err *err);

bool session_sampling(struct session *s, const struct sampler_options *o, struct err *err);
bool session_sample(struct session *s, uint32_t *id, double *logprob, struct err *err);

#endif
