#include "kern/roof/roof.h"

#if defined(__x86_64__)

#include <immintrin.h>

/* The pragmas keep the arrays of sums in registers. */

/* Half of the lanes at a time: ten registers of sums. */
enum { REGS = ROOF_LANES / 16, HALF = ROOF_LANES / 2 };

uint64_t roof_read_avx2(const uint64_t *words, size_t n)
{
    __m256i sum[8];
    uint64_t lane[4];
    size_t part = n / 8;
#pragma GCC unroll 16
    for (size_t s = 0; s < 8; s++)
        sum[s] = _mm256_setzero_si256();
    for (size_t i = 0; i < part; i += 4)
#pragma GCC unroll 16
        for (size_t s = 0; s < 8; s++) {
            const uint64_t *at = words + s * part + i;
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)at);
            sum[s] = _mm256_add_epi64(sum[s], x);
        }
#pragma GCC unroll 16
    for (size_t s = 1; s < 8; s++)
        sum[0] = _mm256_add_epi64(sum[0], sum[s]);
    _mm256_storeu_si256((__m256i *)(void *)lane, sum[0]);
    return lane[0] + lane[1] + lane[2] + lane[3];
}

void roof_fma_avx2(float *acc, float a, float b, size_t rounds)
{
    __m256 x = _mm256_set1_ps(a), y = _mm256_set1_ps(b), v[REGS];
    for (size_t half = 0; half < 2; half++, acc += HALF) {
#pragma GCC unroll 16
        for (size_t i = 0; i < REGS; i++)
            v[i] = _mm256_loadu_ps(acc + 8 * i);
        for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 16
            for (size_t i = 0; i < REGS; i++)
                v[i] = _mm256_fmadd_ps(v[i], x, y);
#pragma GCC unroll 16
        for (size_t i = 0; i < REGS; i++)
            _mm256_storeu_ps(acc + 8 * i, v[i]);
    }
}

static inline __m256i load(const void *at)
{
    return _mm256_loadu_si256(at);
}

void roof_int8_avx2(int32_t *acc, const uint8_t *x, const int8_t *w, size_t rounds)
{
    __m256i one = _mm256_set1_epi16(1), v[REGS];
    for (size_t half = 0; half < 2; half++, acc += HALF, w += 4 * HALF) {
#pragma GCC unroll 16
        for (size_t i = 0; i < REGS; i++)
            v[i] = load(acc + 8 * i);
        for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 16
            for (size_t i = 0; i < REGS; i++) {
                __m256i row = load(x + r % ROOF_ROWS * 64 + i % 2 * 32);
                __m256i pairs = _mm256_maddubs_epi16(row, load(w + 32 * i));
                v[i] = _mm256_add_epi32(v[i], _mm256_madd_epi16(pairs, one));
            }
#pragma GCC unroll 16
        for (size_t i = 0; i < REGS; i++)
            _mm256_storeu_si256((__m256i *)(void *)(acc + 8 * i), v[i]);
    }
}

enum { BF16_ROWS = 4 };

/* Sums of BF16_ROWS rows by 8 columns, one step; b: their pairs. */
static inline void bf16_step(float *acc, const bf16 *a, const bf16 *b)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    __m256 e[BF16_ROWS], o[BF16_ROWS];
#pragma GCC unroll 8
    for (size_t i = 0; i < BF16_ROWS; i++)
        e[i] = o[i] = _mm256_setzero_ps();
    for (size_t p = 0; p < 16; p++) {
        __m256i pair = _mm256_loadu_si256((const __m256i *)(b + 32 * p));
        __m256 w0 = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
        __m256 w1 = _mm256_castsi256_ps(_mm256_and_si256(pair, upper));
#pragma GCC unroll 8
        for (size_t i = 0; i < BF16_ROWS; i++) {
            e[i] = _mm256_fmadd_ps(w0, _mm256_set1_ps(bf16_to_f32(a[32 * i + 2 * p])), e[i]);
            o[i] = _mm256_fmadd_ps(w1, _mm256_set1_ps(bf16_to_f32(a[32 * i + 2 * p + 1])), o[i]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < BF16_ROWS; i++)
        _mm256_storeu_ps(acc + 32 * i, _mm256_add_ps(_mm256_loadu_ps(acc + 32 * i),
                                                     _mm256_add_ps(e[i], o[i])));
}

void roof_bf16_avx2(float *acc, const struct roof_tiles *a, const struct roof_tiles *b,
                    size_t rounds)
{
    for (size_t r = 0; r < rounds; r++)
        for (size_t j = 0; j < 32; j += 8)
            for (size_t i = 0; i < 32; i += BF16_ROWS)
                bf16_step(acc + 32 * i + j, a->at + r % ROOF_STEPS * ROOF_TILE + 32 * i,
                          b->at + r % ROOF_STEPS * ROOF_TILE + j / 16 * 512 + j % 16 * 2);
}

#endif
