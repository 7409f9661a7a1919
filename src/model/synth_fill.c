/* synth.h: blocks out of integers. */
#include "model/synth.h"

#include "kern/kern.h"

enum { GROUP = 32 };                      /* elements of a piece of F32, F16, BF16 */

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

static uint64_t word(uint64_t base, uint64_t i)
{
    uint64_t z = base + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void put_half(uint8_t *p, uint32_t h)
{
    p[0] = (uint8_t)(h & 255);
    p[1] = (uint8_t)(h >> 8);
}

/* Eight signed codes of which none is -128. */
static uint64_t eight_codes(uint64_t v)
{
    uint64_t y = v ^ EACH(0x80), some = (((y & EACH(0x7f)) + EACH(0x7f)) | y) & EACH(0x80);
    return v ^ (some ^ EACH(0x80));
}

/* Sixteen codes of 0..15 of which none is 0; 8 stands for zero. */
static uint64_t sixteen_codes(uint64_t v)
{
    uint64_t some = (v | v >> 1 | v >> 2 | v >> 3) & EACH(0x11);
    return v | (some ^ EACH(0x11)) << 3;
}

/* -7.5 * d for a d of seven significant bits: 15 d has eleven, so it is exact. */
static uint32_t minus_7_5(f16 d)
{
    uint32_t m = 15 * ((d & 1023u) | 1024u), e = (uint32_t)d >> 10, big = m >> 14;
    return 0x8000u | (e + 2 + big) << 10 | ((m >> (3 + big)) & 1023u);
}

static void words_into(uint8_t *p, uint64_t base, int n)
{
    for (int i = 0; i < n; i++)
        put_u64(p + 8 * i, word(base, (uint64_t)i));
}

static void fill_q4_k(uint8_t *p, f16 d, uint64_t base)
{
    put_half(p, d);
    put_half(p + 2, d);
    memset(p + Q4_K_SM, 2, 4);            /* sc 0..3 */
    memset(p + Q4_K_SM + 4, 15, 4);       /* mn 0..3 */
    memset(p + Q4_K_SM + 8, 2 | 15 << 4, 4);
    words_into(p + Q4_K_QS, base, 16);
}

static void fill_q6_k(uint8_t *p, f16 d, uint64_t base)
{
    words_into(p, base, 24);
    for (int j = 0; j < 16; j++)
        p[Q6_K_SC + j] = j % 2 ? 255 : 1;
    put_half(p + Q6_K_D, d);
}

static void fill_block(const struct synth_tensor *t, uint64_t block, uint8_t *p)
{
    uint64_t base = rng_u64_at(t->seed, t->stream, block);
    switch ((int)t->type->id) {
    case QT_Q8_0:
        put_half(p, t->d);
        for (int i = 0; i < 4; i++)
            put_u64(p + 2 + 8 * i, eight_codes(word(base, (uint64_t)i)));
        return;
    case QT_Q4_0:
        put_half(p, t->d);
        for (int i = 0; i < 2; i++)
            put_u64(p + 2 + 8 * i, sixteen_codes(word(base, (uint64_t)i)));
        return;
    case QT_Q4_1:
        put_half(p, t->d);
        put_half(p + 2, minus_7_5(t->d));
        words_into(p + 4, base, 2);
        return;
    case QT_Q4_K:
        fill_q4_k(p, t->d, base);
        return;
    case QT_Q6_K:
        fill_q6_k(p, t->d, base);
        return;
    }
    check(!"a type of blocks");
}

/* Code i of group g as a whole number: -127..127, or -1 and 1 in a router. */
static int code_at(const struct synth_tensor *t, uint64_t base, uint64_t i, bool negated)
{
    uint8_t byte = (uint8_t)(eight_codes(word(base, i / 8)) >> i % 8 * 8);
    int code = t->kind == SYNTH_SIGNS ? (byte >> 7 ? -1 : 1) : (int8_t)byte;
    return negated ? -code : code;
}

static void put_float(const struct synth_tensor *t, float v, uint64_t i, uint8_t *p)
{
    if (t->type->id == QT_F32) {
        uint32_t bits = f32_bits(v);
        put_half(p + 4 * i, bits & 0xffff);
        put_half(p + 4 * i + 2, bits >> 16);
    } else {
        put_half(p + 2 * i, t->type->id == QT_F16 ? f32_to_f16(v) : f32_to_bf16(v));
    }
}

/* n <= GROUP elements of group g.  code * d has at most 14 bits: exact. */
static void fill_group(const struct synth_tensor *t, uint64_t g, uint64_t n, uint8_t *p)
{
    uint64_t half = t->kind == SYNTH_SIGNS ? t->ne[1] / 2 * t->ne[0] : 0, at = g * GROUP;
    for (uint64_t i = 0; i < n; i++) {
        float v = t->kind == SYNTH_ONES ? 1 : 0;
        if (t->kind == SYNTH_RANDOM || t->kind == SYNTH_SIGNS) {
            bool negated = half && at + i >= half && at + i < 2 * half;
            uint64_t e = at + i - (negated ? half : 0);
            uint64_t base = rng_u64_at(t->seed, t->stream, e / GROUP);
            v = (float)code_at(t, base, e % GROUP, negated) * f16_to_f32(t->d);
        }
        put_float(t, v, i, p);
    }
}

size_t synth_piece_bytes(const struct synth_tensor *t)
{
    return t->type->block > 1 ? t->type->block_bytes : GROUP * t->type->block_bytes;
}

void synth_fill(const struct synth_tensor *t, uint64_t begin, uint64_t end, uint8_t *out)
{
    size_t piece = synth_piece_bytes(t);
    for (uint64_t at = begin; at < end; at += piece, out += piece) {
        uint64_t n = (end - at < piece ? end - at : piece) / t->type->block_bytes;
        if (t->type->block > 1)
            fill_block(t, at / piece, out);
        else
            fill_group(t, at / piece, n, out);
    }
}
