/*
 * blocks: the bytes of the weight blocks we read, in the words of ggml's layouts.
 *
 *   type  elements bytes  fields in order (d, m, dmin: f16; i8 signed)
 *   Q4_0     32     18    d, qs[16]              (nibble - 8) * d
 *   Q4_1     32     20    d, m, qs[16]           nibble * d + m
 *   Q8_0     32     34    d, i8 qs[32]           q * d
 *   Q4_K    256    144    d, dmin, sm[12], qs[128]
 *                         8 sub-blocks of 32, each with six-bit sc and mn (q4_k_scale):
 *                         nibble * (d * sc) - dmin * mn
 *   Q6_K    256    210    ql[128], qh[64], i8 sc[16], d
 *                         six-bit q (q6_k_value), one scale per 16: (q - 32) * (d * sc)
 *
 * In Q4_0 and Q4_1 byte i holds element i in its low and element i + 16 in its high
 * nibble.  In Q4_K byte 32 * p + i holds element i of sub-block 2p (low) and of
 * sub-block 2p + 1 (high).  f16 fields may be subnormal; the conversion is exact.
 */
#ifndef KEXA_KERN_QUANT_BLOCKS_H
#define KEXA_KERN_QUANT_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "kern/half_bits.h"

enum {
    Q4_0_BYTES = 18, Q4_1_BYTES = 20, Q8_0_BYTES = 34,
    Q4_K_BYTES = 144, Q4_K_SM = 4, Q4_K_QS = 16,
    Q6_K_BYTES = 210, Q6_K_QH = 128, Q6_K_SC = 192, Q6_K_D = 208,
};

static inline uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline float read_f16(const uint8_t *p)
{
    return f16_to_f32(read_u16(p));
}

static inline float read_f32(const uint8_t *p)
{
    return f32_from_bits((uint32_t)read_u16(p) | (uint32_t)read_u16(p + 2) << 16);
}

/*
 * Scale and minimum of Q4_K's sub-block j from sm[12].  The low six bits of bytes
 * 0..3 are sc 0..3, of 4..7 mn 0..3; bytes 8..11 hold the low four bits of sc (low
 * nibble) and mn 4..7, whose upper two bits are bits 6..7 of bytes 0..3 and 4..7.
 */
static inline void q4_k_scale(const uint8_t *sm, int j, int *sc, int *mn)
{
    if (j < 4) {
        *sc = sm[j] & 63;
        *mn = sm[j + 4] & 63;
    } else {
        *sc = (sm[j + 4] & 15) | (sm[j - 4] >> 6) << 4;
        *mn = (sm[j + 4] >> 4) | (sm[j] >> 6) << 4;
    }
}

/*
 * Element i of sub-block j (32 each) of a Q6_K block, -32..31.  A half of 128
 * elements has 64 bytes of ql and 32 of qh: sub-blocks 0, 1 of the half are the low
 * and 2, 3 the high nibbles of the two 32-byte runs; qh has two bits for each.
 */
static inline int q6_k_value(const uint8_t *block, int j, int i)
{
    int half = j >> 2, q = j & 3;
    int low = block[64 * half + 32 * (q & 1) + i] >> (q >> 1) * 4 & 15;
    int high = block[Q6_K_QH + 32 * half + i] >> 2 * q & 3;
    return (low | high << 4) - 32;
}

#endif
