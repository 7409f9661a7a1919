#include "kern/roof/roof.h"

#if defined(__x86_64__)

#include <immintrin.h>

/* The pragmas keep the arrays of sums in registers. */

enum { REGS = ROOF_LANES / 16 };

uint64_t roof_read_avx512(const uint64_t *words, size_t n)
{
    __m512i sum[8];
    size_t part = n / 8;
#pragma GCC unroll 16
    for (size_t s = 0; s < 8; s++)
        sum[s] = _mm512_setzero_si512();
    for (size_t i = 0; i < part; i += 8)
#pragma GCC unroll 16
        for (size_t s = 0; s < 8; s++)
            sum[s] = _mm512_add_epi64(sum[s], _mm512_loadu_si512(words + s * part + i));
#pragma GCC unroll 16
    for (size_t s = 1; s < 8; s++)
        sum[0] = _mm512_add_epi64(sum[0], sum[s]);
    uint64_t lane[8], all = 0;            /* gcc's reduce_add adds signed, which may not wrap */
    _mm512_storeu_si512(lane, sum[0]);
    for (size_t i = 0; i < 8; i++)
        all += lane[i];
    return all;
}

void roof_fma_avx512(float *acc, float a, float b, size_t rounds)
{
    __m512 x = _mm512_set1_ps(a), y = _mm512_set1_ps(b), v[REGS];
#pragma GCC unroll 16
    for (size_t i = 0; i < REGS; i++)
        v[i] = _mm512_loadu_ps(acc + 16 * i);
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 16
        for (size_t i = 0; i < REGS; i++)
            v[i] = _mm512_fmadd_ps(v[i], x, y);
#pragma GCC unroll 16
    for (size_t i = 0; i < REGS; i++)
        _mm512_storeu_ps(acc + 16 * i, v[i]);
}

void roof_int8_avx512(int32_t *acc, const uint8_t *x, const int8_t *w, size_t rounds)
{
    __m512i v[REGS], f[REGS];
#pragma GCC unroll 16
    for (size_t i = 0; i < REGS; i++) {
        v[i] = _mm512_loadu_si512(acc + 16 * i);
        f[i] = _mm512_loadu_si512(w + 64 * i);
    }
    for (size_t r = 0; r < rounds; r++) {
        __m512i row = _mm512_loadu_si512(x + r % ROOF_ROWS * 64);
#pragma GCC unroll 16
        for (size_t i = 0; i < REGS; i++)
            v[i] = _mm512_dpbusd_epi32(v[i], row, f[i]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < REGS; i++)
        _mm512_storeu_si512(acc + 16 * i, v[i]);
}

enum { BF16_ROWS = 8 };

/* Sums of BF16_ROWS rows by 16 columns, one step; b: their pairs. */
static inline void bf16_step(float *acc, const bf16 *a, const bf16 *b)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    __m512 e[BF16_ROWS], o[BF16_ROWS];
#pragma GCC unroll 8
    for (size_t i = 0; i < BF16_ROWS; i++)
        e[i] = o[i] = _mm512_setzero_ps();
    for (size_t p = 0; p < 16; p++) {
        __m512i pair = _mm512_loadu_si512(b + 32 * p);
        __m512 w0 = _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
        __m512 w1 = _mm512_castsi512_ps(_mm512_and_si512(pair, upper));
#pragma GCC unroll 8
        for (size_t i = 0; i < BF16_ROWS; i++) {
            e[i] = _mm512_fmadd_ps(w0, _mm512_set1_ps(bf16_to_f32(a[32 * i + 2 * p])), e[i]);
            o[i] = _mm512_fmadd_ps(w1, _mm512_set1_ps(bf16_to_f32(a[32 * i + 2 * p + 1])), o[i]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < BF16_ROWS; i++)
        _mm512_storeu_ps(acc + 32 * i, _mm512_add_ps(_mm512_loadu_ps(acc + 32 * i),
                                                     _mm512_add_ps(e[i], o[i])));
}

void roof_bf16_avx512(float *acc, const struct roof_tiles *a, const struct roof_tiles *b,
                      size_t rounds)
{
    for (size_t r = 0; r < rounds; r++)
        for (size_t j = 0; j < 32; j += 16)
            for (size_t i = 0; i < 32; i += BF16_ROWS)
                bf16_step(acc + 32 * i + j, a->at + r % ROOF_STEPS * ROOF_TILE + 32 * i,
                          b->at + r % ROOF_STEPS * ROOF_TILE + j / 16 * 512 + j % 16 * 2);
}

#endif
