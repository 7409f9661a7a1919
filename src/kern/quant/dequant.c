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

void dequant_q5_0(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += Q5_0_BYTES)
        for (int i = 0; i < 32; i++)
            y[b + (size_t)i] = read_f16(p) * (float)(q5_value(p + 2, p + 6, i) - 16);
}

void dequant_q5_1(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += Q5_1_BYTES)
        for (int i = 0; i < 32; i++)
            y[b + (size_t)i] = read_f16(p) * (float)q5_value(p + 4, p + 8, i) + read_f16(p + 2);
}

/* y[32] = d * code of each nibble. */
static void write_codes(float *y, float d, const int8_t code[16], const uint8_t *qs)
{
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)code[qs[i] & 15];
        y[i + 16] = d * (float)code[qs[i] >> 4];
    }
}

void dequant_iq4_nl(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += IQ4_NL_BYTES)
        write_codes(y + b, read_f16(p), iq4_codes, p + 2);
}

void dequant_mxfp4(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 32, p += MXFP4_BYTES)
        write_codes(y + b, mxfp4_scale(p[0]), mxfp4_codes, p + 1);
}

void dequant_q5_k(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 256, p += Q5_K_BYTES)
        for (int j = 0; j < 8; j++) {
            int sc, mn;
            q4_k_scale(p + Q5_K_SM, j, &sc, &mn);
            float s = read_f16(p) * (float)sc, m = read_f16(p + 2) * (float)mn;
            for (int i = 0; i < 32; i++)
                y[b + (size_t)(32 * j + i)] = s * (float)q5_k_value(p, j, i) - m;
        }
}

void dequant_iq4_xs(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 256, p += IQ4_XS_BYTES)
        for (int j = 0; j < 8; j++)
            write_codes(y + b + 32 * j, read_f16(p) * (float)iq4_xs_scale(p, j), iq4_codes,
                        p + IQ4_XS_QS + 16 * j);
}

void dequant_q2_k(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 256, p += Q2_K_BYTES) {
        float d = read_f16(p + Q2_K_D), dmin = read_f16(p + Q2_K_D + 2);
        for (int i = 0; i < 256; i++) {
            float s = d * (float)(p[i / 16] & 15), m = dmin * (float)(p[i / 16] >> 4);
            y[b + (size_t)i] = s * (float)q2_k_value(p + Q2_K_QS, i / 32, i % 32) - m;
        }
    }
}

void dequant_q3_k(float *y, const void *row, size_t k)
{
    const uint8_t *p = row;
    for (size_t b = 0; b < k; b += 256, p += Q3_K_BYTES) {
        float d = read_f16(p + Q3_K_D);
        for (int i = 0; i < 256; i++) {
            float s = d * (float)q3_k_scale(p + Q3_K_SC, i / 16);
            y[b + (size_t)i] = s * (float)q3_k_value(p, i / 32, i % 32);
        }
    }
}
