#include "kern/rope/rope.h"

#include <math.h>

static void rotate(float *a, float *b, float c, float s)
{
    float a0 = *a, b0 = *b;
    *a = fmaf(-b0, s, a0 * c);
    *b = fmaf(a0, s, b0 * c);
}

void rope_half_fwd_c(float *x, const float *cs, const float *sn, size_t n_heads, size_t hd,
                     size_t half)
{
    for (size_t h = 0; h < n_heads; h++, x += hd)
        for (size_t p = 0; p < half; p++)
            rotate(x + p, x + p + half, cs[p], sn[p]);
}

void rope_pair_fwd_c(float *x, const float *cs, const float *sn, size_t n_heads, size_t hd,
                     size_t half)
{
    for (size_t h = 0; h < n_heads; h++, x += hd)
        for (size_t p = 0; p < half; p++)
            rotate(x + 2 * p, x + 2 * p + 1, cs[p], sn[p]);
}

/* libm's double cos and sin are within an ulp of 2^-52: rounded to f32 they are the same
 * on every machine, but for about one angle in 10^8 that lies on a rounding edge. */
void rope_angles(float *cs, float *sn, uint32_t pos, const float *inv_freq, size_t half)
{
    for (size_t p = 0; p < half; p++) {
        float angle = (float)pos * inv_freq[p];
        cs[p] = (float)cos((double)angle);
        sn[p] = (float)sin((double)angle);
    }
}
