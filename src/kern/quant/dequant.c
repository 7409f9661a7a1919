/*
 * Dequantisation, plain and once: it runs for embeddings, tests and conversions.
 * Products of a half and small integers fit in 24 bits, so each value has at most
 * one rounding (the + m and - dmin * mn) and no order of evaluation to choose.
 */
#include "kern/quant/dequant.h"

#include "kern/quant/blocks.h"

void dequant_f32(float *y, const void *row, size_t k)
{
    memcpy(y, row, k * sizeof *y);
}

void dequant_f16(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < k; i++)
        y[i] = read_f16(p + 2 * i);
}

void dequant_bf16(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t i = 0; i < k; i++)
        y[i] = bf16_to_f32(read_u16(p + 2 * i));
}

void dequant_q4_0(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += Q4_0_BYTES) {
        float d = read_f16(p);
        for (size_t i = 0; i < 16; i++) {
            y[b + i] = d * (float)((p[2 + i] & 15) - 8);
            y[b + i + 16] = d * (float)((p[2 + i] >> 4) - 8);
        }
    }
}

void dequant_q4_1(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += Q4_1_BYTES) {
        float d = read_f16(p), m = read_f16(p + 2);
        for (size_t i = 0; i < 16; i++) {
            y[b + i] = d * (float)(p[4 + i] & 15) + m;
            y[b + i + 16] = d * (float)(p[4 + i] >> 4) + m;
        }
    }
}

void dequant_q8_0(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += Q8_0_BYTES) {
        float d = read_f16(p);
        for (size_t i = 0; i < 32; i++)
            y[b + i] = (float)(int8_t)p[2 + i] * d;
    }
}

void dequant_q4_k(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 256, p += Q4_K_BYTES) {
        float d = read_f16(p), dmin = read_f16(p + 2);
        for (int j = 0; j < 8; j++) {
            const uint8_t *qs = p + Q4_K_QS + j / 2 * 32;
            int sc, mn;
            q4_k_scale(p + Q4_K_SM, j, &sc, &mn);
            float s = d * (float)sc, m = dmin * (float)mn;
            for (int i = 0; i < 32; i++)
                y[b + (size_t)(32 * j + i)] = s * (float)(qs[i] >> j % 2 * 4 & 15) - m;
        }
    }
}

void dequant_q6_k(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 256, p += Q6_K_BYTES) {
        float d = read_f16(p + Q6_K_D);
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < 32; i++) {
                float s = d * (float)(int8_t)p[Q6_K_SC + 2 * j + i / 16];
                y[b + (size_t)(32 * j + i)] = s * (float)q6_k_value(p, j, i);
            }
    }
}
