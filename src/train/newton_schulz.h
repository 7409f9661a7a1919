/*
 * newton_schulz: the nearest thing to the orthogonal factor of a matrix that a few products
 * give.  For x = U S V^T of [m][n], m <= n, with no singular value above 1, five rounds of
 *
 *     A = X X^T      B = b A + c A A      X <- a X + B X
 *
 * leave U p(S) V^T with p the odd polynomial a s + b s^3 + c s^5 applied five times, with
 * NS_A, NS_B, NS_C: every s of 0.01 to 1 lands in 0.68 to 1.14, smaller ones grow by NS_A a
 * round.  A and A A are symmetric: half of each is computed, the other half copied.
 *
 * The matrix is kept as Z = c^(1/4) X: with G = Z Z^T, B is G G + (b / sqrt(c)) G, and a round
 * is Z <- a Z + B Z, two products that need no scaling.
 *
 * Cost 5 (3 m m n + m^3) operations.  With `half` the operands of the products are rounded
 * to bf16 and the sums kept in f32; the other terms stay f32.  Bits do not depend on the pool.
 * Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
 */
#ifndef KEXA_TRAIN_NEWTON_SCHULZ_H
#define KEXA_TRAIN_NEWTON_SCHULZ_H

#include "base/base.h"
#include "kern/kern.h"

#define NS_A 3.4445f
#define NS_B -4.7750f
#define NS_C 2.0315f
#define NS_SCALE 1.19386221f              /* NS_C^(1/4) */
enum { NS_ROUNDS = 5 };

struct ns_space {
    size_t m, n;
    float *x, *y;                         /* [m][n]: Z, and room for the next */
    float *a, *b;                         /* [m][m]: G, B */
    bf16 *half_x, *half_a;                /* [m][n], [m][m] */
};

/* Bytes for an [m][n] matrix; a multiple of 64. */
size_t ns_space_bytes(size_t m, size_t n);

/* Divides so many bytes at `memory`, aligned to 64. */
void ns_space_divide(struct ns_space *s, void *memory, size_t m, size_t n);

/* s->x: NS_SCALE X in, NS_SCALE times the result out (the pointer may have moved).  half: the
 * products in bf16.  A NULL pool runs in the caller. */
void newton_schulz(struct ns_space *s, const struct kernels *k, struct pool *pool, bool half);

#endif
