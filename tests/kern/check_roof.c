#include "checkkern.h"

#include <math.h>
#include <string.h>

void check_roof_read(struct tester *t)
{
    static const size_t sizes[] = { 0, 64, 128, 640, 4096 };
    for (size_t k = 0; k < 5; k++) {
        t_case(t, "n=%zu", sizes[k]);
        uint64_t *x = t_bytes(t, sizes[k] * 8 + 8, 8), want = 0;
        for (size_t i = 0; i < sizes[k]; i++)
            want += x[i] = t_random(t);
        t_true(t, t->k->roof_read(x, sizes[k]) == want, "sum of the words");
        t_end(t);
    }
}

/* With a = 1 and b a power of two the chains are exact. */
void check_roof_fma(struct tester *t)
{
    for (size_t rounds = 0; rounds < 20; rounds++) {
        t_case(t, "rounds=%zu", rounds);
        float *acc = t_floats(t, ROOF_LANES, 1, FILL_EXACT), want[ROOF_LANES];
        float *other = t_floats(t, ROOF_LANES, 1, FILL_RANDOM);
        float *same = t_copy(t, other, ROOF_LANES);
        for (size_t i = 0; i < ROOF_LANES; i++)
            want[i] = acc[i] + (float)rounds * 0.5f;
        t->k->roof_fma(acc, 1, 0.5f, rounds);
        t_same(t, acc, want, ROOF_LANES, "exact chains");
        t->k->roof_fma(other, 0.9f, 0.1f, rounds);
        t->ref->roof_fma(same, 0.9f, 0.1f, rounds);
        t_same(t, other, same, ROOF_LANES, "random chains");
        t_end(t);
    }
}

void check_roof_int8(struct tester *t)
{
    for (size_t rounds = 0; rounds < 40; rounds += 3) {
        t_case(t, "rounds=%zu", rounds);
        uint8_t *x = t_bytes(t, ROOF_ROWS * 64, 1);
        int8_t *w = t_bytes(t, ROOF_LANES * 4, 3);
        int32_t *acc = t_bytes(t, ROOF_LANES * 4, 4), want[ROOF_LANES];
        for (size_t i = 0; i < ROOF_ROWS * 64; i++)
            x[i] = rounds == 3 ? 127 : (uint8_t)t_below(t, 128);
        for (size_t i = 0; i < ROOF_LANES * 4; i++)
            w[i] = rounds == 3 ? -128 : (int8_t)((int)t_below(t, 256) - 128);
        for (size_t i = 0; i < ROOF_LANES; i++) {
            want[i] = acc[i] = (int32_t)i - 80;
            for (size_t r = 0; r < rounds; r++)
                for (size_t k = 0; k < 4; k++)
                    want[i] += x[r % 16 * 64 + i % 16 * 4 + k] * w[4 * i + k];
        }
        t->k->roof_int8(acc, x, w, rounds);
        t_same_bytes(t, acc, want, sizeof want, "sums of products");
        t_end(t);
    }
}

/* The exact sums in float64, and the C level's bits on any numbers. */
void check_roof_bf16(struct tester *t)
{
    enum { N = ROOF_STEPS * ROOF_TILE };
    for (size_t rounds = 0; rounds < 12; rounds += 5) {
        t_case(t, "rounds=%zu", rounds);
        struct roof_tiles *a = t_bytes(t, sizeof *a, 64), *b = t_bytes(t, sizeof *b, 64);
        float *acc = t_floats(t, ROOF_TILE, 1, FILL_EXACT), *start = t_copy(t, acc, ROOF_TILE);
        for (size_t i = 0; i < N; i++) {
            a->at[i] = f32_to_bf16((float)((int)t_below(t, 9) - 4));
            b->at[i] = f32_to_bf16((float)((int)t_below(t, 9) - 4) / 2);
        }
        t->k->roof_bf16(acc, a, b, rounds);
        for (size_t i = 0; i < ROOF_TILE; i++) {
            double want = (double)start[i], none = 0;
            for (size_t r = 0; r < rounds; r++)
                for (size_t k = 0; k < 32; k++)
                    want += (double)bf16_to_f32(a->at[r % ROOF_STEPS * ROOF_TILE + i / 32 * 32 + k])
                            * (double)bf16_to_f32(b->at[r % ROOF_STEPS * ROOF_TILE + i % 32 / 16
                                                        * 512 + k / 2 * 32 + i % 16 * 2 + k % 2]);
            t_near(t, acc + i, &want, &none, 1, "sums");
        }
        for (size_t i = 0; i < N; i++) {
            a->at[i] = f32_to_bf16(t_normal(t));
            b->at[i] = f32_to_bf16(t_normal(t));
        }
        float *same = t_copy(t, acc, ROOF_TILE);
        t->k->roof_bf16(acc, a, b, rounds);
        t->ref->roof_bf16(same, a, b, rounds);
        t_same(t, acc, same, ROOF_TILE, "random sums");
        t_end(t);
    }
}
