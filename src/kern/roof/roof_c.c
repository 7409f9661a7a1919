#include "kern/roof/roof.h"

#include <math.h>

uint64_t roof_read_c(const uint64_t *words, size_t n)
{
    uint64_t sum[8] = { 0 }, all = 0;
    size_t part = n / 8;
    for (size_t i = 0; i < part; i++)
        for (size_t s = 0; s < 8; s++)
            sum[s] += words[s * part + i];
    for (size_t s = 0; s < 8; s++)
        all += sum[s];
    return all;
}

void roof_fma_c(float *acc, float a, float b, size_t rounds)
{
    for (size_t r = 0; r < rounds; r++)
        for (size_t i = 0; i < ROOF_LANES; i++)
            acc[i] = fmaf(acc[i], a, b);
}

void roof_int8_c(int32_t *acc, const uint8_t *x, const int8_t *w, size_t rounds)
{
    for (size_t r = 0; r < rounds; r++)
        for (size_t i = 0; i < ROOF_LANES; i++)
            for (size_t k = 0; k < 4; k++)
                acc[i] += x[r % ROOF_ROWS * 64 + i % 16 * 4 + k] * w[i * 4 + k];
}

/* e + o of sum (i, j) in one step. */
static float dot_step(const bf16 *a, const bf16 *b, size_t i, size_t j)
{
    float e = 0, o = 0;
    for (size_t p = 0; p < 16; p++) {
        const bf16 *x = a + 32 * i + 2 * p, *w = b + j / 16 * 512 + 32 * p + j % 16 * 2;
        e = fmaf(bf16_to_f32(x[0]), bf16_to_f32(w[0]), e);
        o = fmaf(bf16_to_f32(x[1]), bf16_to_f32(w[1]), o);
    }
    return e + o;
}

void roof_bf16_c(float *acc, const struct roof_tiles *a, const struct roof_tiles *b,
                 size_t rounds)
{
    for (size_t r = 0; r < rounds; r++)
        for (size_t i = 0; i < ROOF_TILE; i++)
            acc[i] += dot_step(a->at + r % ROOF_STEPS * ROOF_TILE,
                               b->at + r % ROOF_STEPS * ROOF_TILE, i / 32, i % 32);
}
