/*
 * encode_fit: the least squares problems of one block, n = 16 or 32 elements.
 *
 * w[i] >= 0 is what an error weighs.  Sums run in eight chains and are added in a fixed tree,
 * so that a compiler may use vectors and every one gives the same bits.
 */
#ifndef KEXA_KERN_QUANT_ENCODE_FIT_H
#define KEXA_KERN_QUANT_ENCODE_FIT_H

#include <stddef.h>

enum { FIT_MAX = 32, FIT_LANES = 8 };

/* The whole number nearest to v within [low, high]; |low|, |high| < 2^22. */
static inline float fit_nearest(float v, float low, float high)
{
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (v + 12582912.0f) - 12582912.0f;          /* 1.5 * 2^23: no bits below 1 are left */
}

static inline float fit_tree(const float *s)
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* l[i] = the code nearest to (x[i] - m) * id; id = 0 gives all zero. */
void fit_codes(float *l, const float *x, size_t n, float id, float m, float low, float high);

/* sum of w[i] * (x[i] - (d * l[i] + m))^2 */
float fit_error(const float *x, const float *w, const float *l, size_t n, float d, float m);

/* Sums over a block for given codes. */
struct fit_sums {
    float w, x, l, ll, xl;               /* of w, w x, w l, w l l, w x l */
};
struct fit_sums fit_sum(const float *x, const float *w, const float *l, size_t n);

/* d of x = d * l with whole l in [-limit - 1, limit]; 0 for a block of zeros.  `step` is the
 * distance of the tried values of max|x| / |d|, `reach` how far they go from limit + 1/2. */
float fit_scale(const float *x, const float *w, size_t n, float limit, float step, float reach);

/* d >= 0 and m of x = d * l + m with l in 0..15; m <= 0 if `below`. */
void fit_affine(const float *x, const float *w, size_t n, int below, float *d, float *m);

#endif
