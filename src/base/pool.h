/*
 * pool: n threads that share loops.  pool_run() calls fn(arg, begin, end, worker)
 * over [0, n) in pieces of at most `grain`, fewer than 2^32, claimed dynamically; it
 * returns when all are done, whether or not every thread came to take one.  worker
 * is 0..pool_threads()-1, never two at once with the same number.  The caller is
 * worker 0.  A NULL pool runs everything in the caller.
 *
 * Which thread runs which piece is not fixed, so a piece's result must not depend
 * on it.  Threads wait on a futex, after a short spin if there is a CPU for each.
 * Every worker, and the caller during pool_run, computes with FTZ and DAZ set
 * (numeric class bf16).
 * One pool_run at a time per pool.
 */
#ifndef KEXA_BASE_POOL_H
#define KEXA_BASE_POOL_H

#include "base/err.h"

struct pool;
typedef void pool_fn(void *arg, size_t begin, size_t end, int worker);

struct pool *pool_open(int n_threads, struct err *err);  /* n_threads >= 1 */
void pool_close(struct pool *p);
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, size_t n, size_t grain, pool_fn *fn, void *arg);

/* Flush denormals to zero and read them as zero in this thread; gives the old state back to
 * denormals_restore().  A forward step runs between the two. */
unsigned denormals_flush(void);
void denormals_restore(unsigned old);

#endif
