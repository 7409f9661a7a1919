/*
 * roof: what one core of this machine can do at most, for `kexa bench --roof`.  Not part of
 * any model.  Each does a fixed amount of the plainest work, so that amount over seconds is
 * the roof other kernels are compared with:
 *
 *   roof_read    the sum of n 64-bit words (n a multiple of 64, any alignment to 8), modulo
 *                2^64, as eight streams read side by side: memory or cache bandwidth
 *   roof_fma     acc[i] = fma(acc[i], a, b) for ROOF_LANES lanes, `rounds` times: one chain
 *                a lane.  2 * ROOF_LANES operations a round
 *   roof_int8    acc[i] += sum of x[r % ROOF_ROWS][4 (i % 16) + k] * w[4 i + k], k = 0..3, for
 *                round r and every lane i; x is u8 below 128, w int8, so that no level
 *                saturates.  8 * ROOF_LANES operations a round
 *   roof_bf16    32 x 32 sums in the bf16 class: in round r, with s = r % ROOF_STEPS,
 *                acc[i][j] += e + o, two fma chains from +0 over p = 0..15 of
 *                a[s][i][2p] * b[s][j / 16][p][j % 16][0] and of a[s][i][2p + 1] * b[..][1]
 *                (what TDPBF16PS computes from its two kinds of tile; operands come from
 *                32 KiB).  2 * 32 * 32 * 32 operations a round.  Whole cache lines: loads across
 *                two of them take three times as long, and what they give is no roof
 *
 * Integer results are exact and the chains of fma are one per lane, so levels give equal bits.
 * Data: roof_fma and roof_int8 stay in registers and in 2 KiB; roof_read's bound is what it
 * measures.  acc is in and out.
 */
#ifndef KEXA_KERN_ROOF_H
#define KEXA_KERN_ROOF_H

#include <stddef.h>
#include <stdint.h>

#include "kern/half_bits.h"

enum { ROOF_LANES = 160, ROOF_ROWS = 16, ROOF_WORDS = 64 };
enum { ROOF_STEPS = 8, ROOF_TILE = 32 * 32 };         /* steps, and elements in each */

struct roof_tiles {
    _Alignas(64) bf16 at[ROOF_STEPS * ROOF_TILE];
};

/* Numbers to measure with, +-2^-7.  Zeros take less power: a core does a fifth more of them. */
static inline void roof_tiles_fill(struct roof_tiles *t)
{
    for (size_t i = 0; i < ROOF_STEPS * ROOF_TILE; i++)
        t->at[i] = i % 2 ? 0x3c00 : 0xbc00;
}

typedef uint64_t roof_read_fn(const uint64_t *words, size_t n);
typedef void roof_fma_fn(float *acc, float a, float b, size_t rounds);
typedef void roof_int8_fn(int32_t *acc, const uint8_t *x, const int8_t *w, size_t rounds);
typedef void roof_bf16_fn(float *acc, const struct roof_tiles *a, const struct roof_tiles *b,
                          size_t rounds);

roof_read_fn roof_read_c, roof_read_avx2, roof_read_avx512;
roof_fma_fn roof_fma_c, roof_fma_avx2, roof_fma_avx512;
roof_int8_fn roof_int8_c, roof_int8_avx2, roof_int8_avx512;
roof_bf16_fn roof_bf16_c, roof_bf16_avx2, roof_bf16_avx512, roof_bf16_amx;

#endif
