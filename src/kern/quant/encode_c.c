/* encode.h: float types and the blocks of 32. */
#include "kern/quant/encode.h"

#include "kern/quant/blocks.h"
#include "kern/quant/encode_blocks.h"

const float encode_even[256] = {
#define E4 1, 1, 1, 1
#define E16 E4, E4, E4, E4
#define E64 E16, E16, E16, E16
    E64, E64, E64, E64
};

bool encode_fits(const float *x, size_t k, uint32_t largest)
{
    uint32_t most = 0;
    for (size_t i = 0; i < k; i++) {
        uint32_t a = f32_bits(x[i]) & 0x7fffffffu;
        most = a > most ? a : most;
    }
    return most <= largest;
}

static void put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v & 255);
    p[1] = (uint8_t)(v >> 8);
}

float encode_put_half(uint8_t *p, float v)
{
    v = v > HALF_MAX ? HALF_MAX : v < -HALF_MAX ? -HALF_MAX : v;
    f16 h = f32_to_f16(v);
    put_u16(p, h == 0x8000 ? 0 : h);
    return f16_to_f32(h);
}

bool encode_f32_c(void *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    memcpy(row, x, k * sizeof *x);
    return encode_fits(x, k, 0x7f7fffffu);
}

bool encode_f16_c(void *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    for (size_t i = 0; i < k; i++)
        put_u16((uint8_t *)row + 2 * i, f32_to_f16(x[i]));
    return encode_fits(x, k, HALF_MAX_BITS);
}

bool encode_bf16_c(void *row, const float *x, const float *importance, size_t k)
{
    (void)importance;
    for (size_t i = 0; i < k; i++)
        put_u16((uint8_t *)row + 2 * i, f32_to_bf16(x[i]));
    return encode_fits(x, k, 0x7f7f7fffu);            /* above: rounds to infinity */
}

static float largest(const float *x, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        float a = x[i] < 0 ? -x[i] : x[i];
        most = a > most ? a : most;
    }
    return most;
}

bool encode_q8_0_c(void *row, const float *x, const float *importance, size_t k)
{
    uint8_t *p = row;
    (void)importance;
    if (!encode_fits(x, k, HALF_MAX_BITS))
        return false;
    for (size_t b = 0; b < k; b += 32, p += Q8_0_BYTES) {
        float d = encode_put_half(p, largest(x + b, 32) / 127), l[32];
        fit_codes(l, x + b, 32, d > 0 ? 1 / d : 0, 0, -127, 127);
        for (int i = 0; i < 32; i++)
            p[2 + i] = (uint8_t)(int8_t)l[i];
    }
    return true;
}

/* Codes l[32] of 0..15 as 16 bytes, element i beside i + 16. */
static void put_nibbles(uint8_t *qs, const float *l)
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((int)l[i] | (int)l[i + 16] << 4);
}

bool encode_q4_0_c(void *row, const float *x, const float *importance, size_t k)
{
    uint8_t *p = row;
    if (!encode_fits(x, k, HALF_MAX_BITS))
        return false;
    for (size_t b = 0; b < k; b += 32, p += Q4_0_BYTES) {
        const float *w = importance ? importance + b : encode_even;
        float l[32], d = encode_put_half(p, fit_scale(x + b, w, 32, 7, 0.125f, 1.5f));
        fit_codes(l, x + b, 32, d != 0 ? 1 / d : 0, 0, -8, 7);
        for (int i = 0; i < 32; i++)
            l[i] += 8;
        put_nibbles(p + 2, l);
    }
    return true;
}

bool encode_q4_1_c(void *row, const float *x, const float *importance, size_t k)
{
    uint8_t *p = row;
    if (!encode_fits(x, k, HALF_MAX_BITS))
        return false;
    for (size_t b = 0; b < k; b += 32, p += Q4_1_BYTES) {
        float d, m, l[32];
        fit_affine(x + b, importance ? importance + b : encode_even, 32, 0, &d, &m);
        d = encode_put_half(p, d);
        m = encode_put_half(p + 2, m);
        fit_codes(l, x + b, 32, d > 0 ? 1 / d : 0, m, 0, 15);
        put_nibbles(p + 4, l);
    }
    return true;
}

encode_fn *encoder_find(const struct qtype *t)
{
    switch ((int)t->id) {
    case QT_F32:  return encode_f32_c;
    case QT_F16:  return encode_f16_c;
    case QT_BF16: return encode_bf16_c;
    case QT_Q8_0: return encode_q8_0_c;
    case QT_Q4_0: return encode_q4_0_c;
    case QT_Q4_1: return encode_q4_1_c;
    case QT_Q4_K: return encode_q4_k_c;
    case QT_Q6_K: return encode_q6_k_c;
    default:      return NULL;
    }
}
