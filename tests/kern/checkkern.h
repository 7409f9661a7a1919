/*
 * checkkern: every kernel at every level this CPU has, against the C level to the
 * bit and the C level against the mathematics in float64.
 *
 * A check is a function that tests one op at one level.  Its place in CHECKS is all
 * that is needed for it to run at each level, with denormals flushed (as in the
 * compute threads) and without.  The pattern:
 *
 *     t_case(t, "dim=%zu", dim);             names the case in failure messages
 *     float *x = t_floats(t, dim, 1, FILL_RANDOM);      1: skewed by one float
 *     float *want = t_copy(t, x, dim), ...
 *     t->ref->op(want, ...);  t->k->op(x, ...);
 *     t_same(t, x, want, dim, "y");
 *     t_end(t);                              checks all guard words, frees all
 *
 * Buffers lie between guard bytes 0xff (a NaN in every float format), so that a read
 * outside shows as NaN in a result and a write outside is seen by t_end.  A check of
 * something that has no levels returns at once unless t->level is CPU_C.
 */
#ifndef KEXA_TESTS_CHECKKERN_H
#define KEXA_TESTS_CHECKKERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

/* X(name): void check_<name>(struct tester *t) in tests/kern/check_*.c.  Every kernel of
 * the one list has a check, or this does not link; beside them what is no kernel. */
#define CHECKS(X)       \
    X(cpu)              \
    X(exp_f32)          \
    X(rope_angles)      \
    X(log_f64)          \
    X(moe_choose)       \
    X(moe_route_bwd)    \
    X(moe_balance)      \
    X(moe_load)         \
    X(encode)           \
    X(amx_order)        \
    X(attn_tiles)       \
    X(gemm_packed)      \
    KERNELS(X)

enum fill {
    FILL_EXACT,    /* small integers times powers of two: sums of products are exact */
    FILL_RANDOM    /* normal, mean 0, variance 1 */
};

enum { T_BUFFERS_MAX = 64 };

struct tester {
    enum cpu_level level;
    const struct kernels *k;              /* under test */
    const struct kernels *ref;            /* the C level */
    bool flush;                           /* denormals are flushed in this pass */
    size_t passed, failed;
    uint64_t seed;
    const char *check;
    char ctx[160];
    struct { unsigned char *base; size_t bytes, skew; } buf[T_BUFFERS_MAX];
    size_t n_buf;
};

extern const size_t t_sizes[];            /* 1, 7, 8, 9, 15 ... 257, then 0 */

/*
 * 1, and 7 under sanitizers, where the plain C definitions run forty times slower: then the
 * checks of whole attention and matrix products take one of so many of their long cases, and no
 * pass flushes denormals, for an address does not depend on them.  `checkkern --all`: 1.
 */
extern size_t t_stride;

void t_case(struct tester *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void t_end(struct tester *t);

/* Guarded memory, `skew` elements off a 64-byte boundary; lives until t_end. */
void *t_bytes(struct tester *t, size_t bytes, size_t skew_bytes);
float *t_floats(struct tester *t, size_t n, size_t skew, enum fill how);
float *t_copy(struct tester *t, const float *x, size_t n);

float t_value(struct tester *t, enum fill how);
float t_normal(struct tester *t);
uint64_t t_random(struct tester *t);
size_t t_below(struct tester *t, size_t n);          /* 0 .. n - 1 */

/* Each of these counts once, as passed or failed.  NaN equals NaN, whatever its payload. */
void t_true(struct tester *t, bool ok, const char *what);
void t_same(struct tester *t, const float *got, const float *want, size_t n, const char *what);
void t_same_bytes(struct tester *t, const void *got, const void *want, size_t bytes,
                  const char *what);
/* |got - want| <= bound in each element; a NaN fits only a NaN. */
void t_near(struct tester *t, const float *got, const double *want, const double *bound, size_t n,
            const char *what);

#define X(name) void check_##name(struct tester *t);
CHECKS(X)
#undef X

#endif
