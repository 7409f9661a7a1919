/* Weights into blocks: kern/quant/encode.h. */
#include <math.h>
#include <string.h>

#include "checkkern.h"
#include "kern/quant/blocks.h"
#include "kern/quant/encode.h"

/* Encodes and decodes x; the sum of weighted squared errors, or NaN when it was refused. */
static double trip(struct tester *t, const struct qtype *q, const float *x, const float *w,
                   size_t k, float *y)
{
    uint8_t *row = t_bytes(t, qtype_row_bytes(q, k), 1);
    if (!encoder_find(q)(row, x, w, k))
        return NAN;
    q->dequant(y, row, k);
    double sum = 0;
    for (size_t i = 0; i < k; i++) {
        double e = (double)x[i] - (double)y[i];
        sum += (w ? (double)w[i] : 1) * e * e;
    }
    return sum;
}

/* Root of the mean square of the error over that of the values, for normal values.  The bounds
 * are a few percent above what the encoders reach (for scale: a plain division of the range
 * into equal steps has 0.086 in Q4_0, 0.078 in Q4_1). */
static void check_normal(struct tester *t, const struct qtype *q)
{
    static const struct { int id; double most; } bound[] = {
        { QT_F32, 0 }, { QT_F16, 3e-4 }, { QT_BF16, 2.2e-3 }, { QT_Q8_0, 5.6e-3 },
        { QT_Q4_0, 0.0835 }, { QT_Q4_1, 0.0715 }, { QT_Q4_K, 0.0720 }, { QT_Q6_K, 0.0175 }
    };
    enum { K = 4096 };
    float *x = t_floats(t, K, 1, FILL_RANDOM), *y = t_floats(t, K, 1, FILL_EXACT);
    double e = sqrt(trip(t, q, x, NULL, K, y) / K);
    t_case(t, "%s: %.5f", q->name, e);
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
        if (bound[i].id == (int)q->id)
            t_true(t, e <= bound[i].most, "error of normal values");
    t_end(t);
}

/* What was decoded from a block with full-range codes is encoded without error. */
static void check_exact(struct tester *t, const struct qtype *q)
{
    enum { K = 512 };
    float *x = t_floats(t, K, 1, FILL_RANDOM), *y = t_floats(t, K, 1, FILL_EXACT);
    for (size_t b = 0; b < K; b += 32) {
        float d = ldexpf(1, (int)t_below(t, 12) - 6) * (t_below(t, 2) ? 1.5f : 1);
        bool q8 = q->id == QT_Q8_0;
        for (size_t i = 0; i < 32; i++)
            x[b + i] = d * (float)((int)t_below(t, q8 ? 255 : 16) - (q8 ? 127 : 8));
        x[b + t_below(t, 16)] = d * (q8 ? 127 : -8);
        x[b + 16 + t_below(t, 16)] = d * (q8 ? -127 : 7);
    }
    t_case(t, "%s", q->name);
    t_true(t, trip(t, q, x, NULL, K, y) <= 0, "exact values");
    t_end(t);
}

/* Blocks of zeros, of one value, of tiny and huge values. */
static void check_flat(struct tester *t, const struct qtype *q)
{
    static const float value[] = { 0, -0.0f, 1, -3, 65504, -65504, 1e-30f, 1e-40f, 1e-7f };
    float x[256], y[256];
    for (size_t v = 0; v < sizeof value / sizeof *value; v++) {
        for (size_t i = 0; i < 256; i++)
            x[i] = value[v];
        t_case(t, "%s of %g", q->name, (double)value[v]);
        double e = sqrt(trip(t, q, x, NULL, 256, y) / 256), a = fabs((double)value[v]);
        t_true(t, e <= a * 0.005 || (a < 1e-3 && e <= a), "a block of one value");
        x[17] = value[v] / 2;
        e = trip(t, q, x, NULL, 256, y);
        t_true(t, e >= 0 && isfinite(y[17]), "one other value");
        t_end(t);
    }
}

static void check_refused(struct tester *t, const struct qtype *q)
{
    static const float bad[] = { NAN, -NAN, INFINITY, -INFINITY, 65536, -1e38f };
    size_t n = q->id == QT_F32 || q->id == QT_BF16 ? 4 : 6;
    float *x = t_floats(t, 256, 1, FILL_RANDOM), y[256];
    for (size_t i = 0; i < n; i++) {
        size_t at = t_below(t, 256);
        float old = x[at];
        x[at] = bad[i];
        t_case(t, "%s with %g", q->name, (double)bad[i]);
        t_true(t, isnan(trip(t, q, x, NULL, 256, y)), "refused");
        x[at] = old;
    }
    t_end(t);
}

/* Importance moves error to where it matters less, and even importance changes nothing. */
static void check_importance(struct tester *t, const struct qtype *q)
{
    enum { K = 2048 };
    float *x = t_floats(t, K, 1, FILL_RANDOM), *y = t_floats(t, K, 1, FILL_EXACT);
    float *w = t_floats(t, K, 1, FILL_EXACT), *one = t_floats(t, K, 1, FILL_EXACT), *z;
    for (size_t i = 0; i < K; i++) {
        w[i] = t_below(t, 4) ? 0.125f : 8;
        one[i] = 1;
    }
    z = t_copy(t, y, K);
    double with = trip(t, q, x, w, K, y), without = trip(t, q, x, NULL, K, z);
    for (size_t i = 0; i < K; i++)
        without += ((double)w[i] - 1) * ((double)x[i] - (double)z[i]) *
                   ((double)x[i] - (double)z[i]);
    t_case(t, "%s: weighted error %.4f, without %.4f", q->name, with, without);
    t_true(t, with < (q->id == QT_Q8_0 ? 1.0001 : 0.93) * without, "importance helps");
    trip(t, q, x, one, K, y);
    t_same(t, y, z, K, "even importance");
    memset(w, 0, K * sizeof *w);
    t_true(t, trip(t, q, x, w, K, y) <= 0, "no importance at all");
    t_end(t);
}

/* A row is encoded block by block: the bits of a block do not depend on its neighbours. */
static void check_alone(struct tester *t, const struct qtype *q)
{
    float *x = t_floats(t, 1024, 1, FILL_RANDOM);
    size_t bytes = qtype_row_bytes(q, 1024), each = qtype_row_bytes(q, 256);
    uint8_t *row = t_bytes(t, bytes, 1), *one = t_bytes(t, each, 1);
    encoder_find(q)(row, x, NULL, 1024);
    for (size_t b = 0; b < 4; b++) {
        encoder_find(q)(one, x + 256 * b, NULL, 256);
        t_same_bytes(t, row + b * each, one, each, "a block alone");
    }
    t_end(t);
}

/* f16 and bf16 are kern/half_bits.h; here only that each lands in its own place. */
static void check_floats(struct tester *t)
{
    static const float x[4] = { 1, -2.5f, 0.0999755859375f, 65504 };
    uint8_t row[8];
    t_case(t, "f16 bytes");
    t_true(t, encode_f16_c(row, x, NULL, 4) && read_u16(row) == 0x3c00
           && read_u16(row + 2) == 0xc100 && read_u16(row + 6) == 0x7bff, "bytes");
    t_case(t, "bf16 bytes");
    t_true(t, encode_bf16_c(row, x, NULL, 4) && read_u16(row) == 0x3f80
           && read_u16(row + 2) == 0xc020, "bytes");
}

void check_encode(struct tester *t)
{
    if (t->level != CPU_C)
        return;
    for (const struct qtype *q = qtypes; q->name; q++) {
        if (!encoder_find(q))
            continue;
        check_normal(t, q);
        check_flat(t, q);
        check_refused(t, q);
        check_alone(t, q);
        if (q->block == 1)
            continue;
        check_importance(t, q);
        if (q->block == 32)
            check_exact(t, q);
    }
    check_floats(t);
}
