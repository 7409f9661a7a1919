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
