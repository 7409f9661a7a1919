/*
 * blocks: the bytes of the weight blocks we read, in the words of ggml's layouts.
 *
 *   type  elements bytes  fields in order (d, m, dmin: f16; i8 signed)
 *   Q4_0     32     18    d, qs[16]              (nibble - 8) * d
 *   Q4_1     32     20    d, m, qs[16]           nibble * d + m
 *   Q5_0     32     22    d, u32 qh, qs[16]      (q - 16) * d; bit i of qh is bit 4 of q_i
 *   Q5_1     32     24    d, m, u32 qh, qs[16]   q * d + m
 *   Q8_0     32     34    d, i8 qs[32]           q * d
 *   IQ4_NL   32     18    d, qs[16]              iq4_codes[nibble] * d
 *   MXFP4    32     17    u8 e, qs[16]           mxfp4_codes[nibble] * 2^(e - 128)
 *   Q4_K    256    144    d, dmin, sm[12], qs[128]
 *                         8 sub-blocks of 32, each with six-bit sc and mn (q4_k_scale):
 *                         nibble * (d * sc) - dmin * mn
 *   Q5_K    256    176    d, dmin, sm[12], qh[32], qs[128]
 *                         as Q4_K; bit j of qh[i] is bit 4 of element i of sub-block j
 *   IQ4_XS  256    136    d, u16 sh, sl[4], qs[128]
 *                         8 sub-blocks of 32, each 16 bytes of qs and a six-bit ls
 *                         (iq4_xs_scale): iq4_codes[nibble] * (d * (ls - 32))
 *   Q2_K    256     84    sc[16], qs[64], d, dmin
 *                         two-bit q (q2_k_value); per 16 elements a byte with the scale
 *                         in its low, the minimum in its high nibble: q * (d * sc) - dmin * mn
 *   Q3_K    256    110    hmask[32], qs[64], sc[12], d
 *                         three-bit q (q3_k_value), per 16 a six-bit scale (q3_k_scale):
 *                         (q - 4) * (d * (sc - 32))
 *   Q6_K    256    210    ql[128], qh[64], i8 sc[16], d
 *                         six-bit q (q6_k_value), one scale per 16: (q - 32) * (d * sc)
 *
 * In blocks of 32, and in those of IQ4_XS, byte i holds element i in its low and element
 * i + 16 in its high nibble.  In Q4_K and Q5_K byte 32 * p + i holds element i of sub-block
 * 2p (low) and of sub-block 2p + 1 (high).  f16 fields may be subnormal; the conversion is
 * exact.  The codes of MXFP4 are E2M1 numbers doubled, hence - 128 where E8M0 has - 127.
 */
#ifndef KEXA_KERN_QUANT_BLOCKS_H
#define KEXA_KERN_QUANT_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "kern/half_bits.h"

enum {
    Q4_0_BYTES = 18, Q4_1_BYTES = 20, Q8_0_BYTES = 34,
    Q5_0_BYTES = 22, Q5_1_BYTES = 24, IQ4_NL_BYTES = 18, MXFP4_BYTES = 17,
    Q4_K_BYTES = 144, Q4_K_SM = 4, Q4_K_QS = 16,
    Q5_K_BYTES = 176, Q5_K_SM = 4, Q5_K_QH = 16, Q5_K_QS = 48,
    IQ4_XS_BYTES = 136, IQ4_XS_QS = 8,
    Q2_K_BYTES = 84, Q2_K_QS = 16, Q2_K_D = 80,
    Q3_K_BYTES = 110, Q3_K_QS = 32, Q3_K_SC = 96, Q3_K_D = 108,
    Q6_K_BYTES = 210, Q6_K_QH = 128, Q6_K_SC = 192, Q6_K_D = 208,
};

static const int8_t iq4_codes[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                      1, 13, 25, 38, 53, 69, 89, 113 };
static const int8_t mxfp4_codes[16] = { 0, 1, 2, 3, 4, 6, 8, 12,
                                        0, -1, -2, -3, -4, -6, -8, -12 };

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

/* 2^(e - 128) for every e: subnormal for 0 and 1, and 2^127, no NaN, for 255 (as ggml). */
static inline float mxfp4_scale(uint8_t e)
{
    return f32_from_bits(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
}

/* Element i of a Q5_0 or Q5_1 block, 0..31. */
static inline int q5_value(const uint8_t *qh, const uint8_t *qs, int i)
{
    return (qs[i % 16] >> i / 16 * 4 & 15) | (qh[i / 8] >> i % 8 & 1) << 4;
}

/*
 * Scale and minimum of Q4_K's and Q5_K's sub-block j from sm[12].  The low six bits of bytes
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

/* Element i of sub-block j of a Q5_K block, 0..31. */
static inline int q5_k_value(const uint8_t *block, int j, int i)
{
    int low = block[Q5_K_QS + 32 * (j >> 1) + i] >> j % 2 * 4 & 15;
    return low | (block[Q5_K_QH + i] >> j & 1) << 4;
}

/* Scale of sub-block j of an IQ4_XS block, -32..31. */
static inline int iq4_xs_scale(const uint8_t *block, int j)
{
    int low = block[4 + j / 2] >> j % 2 * 4 & 15, high = read_u16(block + 2) >> 2 * j & 3;
    return (low | high << 4) - 32;
}

/*
 * Element i of sub-block j (32 each) in the 64 bytes of qs of a Q2_K or Q3_K block, 0..3:
 * a half of 128 elements has 32 bytes, whose bits 2q, 2q + 1 are its sub-block q.
 */
static inline int q2_k_value(const uint8_t *qs, int j, int i)
{
    return qs[32 * (j >> 2) + i] >> 2 * (j & 3) & 3;
}

/* Element i of sub-block j of a Q3_K block, -4..3; bit j of hmask[i] is its upper bit. */
static inline int q3_k_value(const uint8_t *block, int j, int i)
{
    return (q2_k_value(block + Q3_K_QS, j, i) | (block[i] >> j & 1) << 2) - 4;
}

/*
 * Scale i (of 16 elements) of a Q3_K block, -32..31, from sc[12].  The low nibbles of
 * bytes 0..7 are the low four bits of scales 0..7, the high nibbles those of 8..15; bits
 * 2q, 2q + 1 of byte 8 + r are the upper two bits of scale 4q + r.
 */
static inline int q3_k_scale(const uint8_t *sc, int i)
{
    return ((sc[i % 8] >> i / 8 * 4 & 15) | (sc[8 + i % 4] >> i / 4 * 2 & 3) << 4) - 32;
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
