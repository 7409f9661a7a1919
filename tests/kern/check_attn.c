#include "checkkern.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

enum { KEYS_MAX = 512 };

/* One query position, which sees positions first .. last. */
struct attn_row {
    const float *q;
    const void *k, *v;
    enum kv_type kv_type;
    uint64_t first, last, ring;
    size_t n_q, hd;
    float scale;
};

static void attend(const struct kernels *k, float *out, const struct attn_row *a)
{
    struct attn_rows rows = {
        .q = a->q, .k = a->k, .v = a->v, .kv_type = a->kv_type, .q_stride = a->n_q * a->hd,
        .kv_stride = kv_row_bytes(a->kv_type, a->hd), .first_pos = a->last, .ring = a->ring,
        .n_rows = 1, .n_q = a->n_q, .hd = a->hd, .scale = a->scale,
        .window = a->first ? (uint32_t)(a->last - a->first + 1) : 0,
    };
    k->attn_rows_fwd(out, rows.q_stride, &rows);
}

/* One attention problem: its KV rows are filled by position, so any ring holds the same. */
struct problem {
    struct attn_row row;
    uint64_t seed;
    float size;                           /* of keys and values */
    enum fill how;
};

/* What row `pos` of K (salt 0) or V (salt 1) holds, before it is stored. */
static void make_row(float *x, const struct problem *p, uint64_t pos, uint64_t salt)
{
    struct tester t = { .seed = p->seed + 2 * pos + salt };
    t.seed = t_random(&t);
    for (size_t i = 0; i < p->row.hd; i++)
        x[i] = p->size * t_value(&t, p->how);
}

static char *make_kv(struct tester *t, const struct problem *p, uint64_t salt)
{
    const struct attn_row *a = &p->row;
    size_t element = a->kv_type == KV_F32 ? 4 : 2, row_bytes = kv_row_bytes(a->kv_type, a->hd);
    char *kv = t_bytes(t, (size_t)a->ring * row_bytes, element);    /* skewed, all NaN */
    float x[ATTN_HD_MAX];
    for (uint64_t pos = a->first; pos <= a->last; pos++) {
        make_row(x, p, pos, salt);
        t->ref->kv_store(kv + (size_t)(pos % a->ring) * row_bytes, a->kv_type, x, a->hd);
    }
    return kv;
}

/* Element i of position pos, as it was stored. */
static double kv_at(const void *kv, const struct attn_row *a, uint64_t pos, size_t i)
{
    size_t row_bytes = kv_row_bytes(a->kv_type, a->hd);
    const uint8_t *row = (const uint8_t *)kv + (size_t)(pos % a->ring) * row_bytes;
    const uint8_t *block = row + i / 32 * 34;
    switch (a->kv_type) {
    case KV_Q8_0:
        return (double)(f16_to_f32((f16)(block[0] | block[1] << 8)) *
                        (float)(int8_t)block[2 + i % 32]);
    case KV_F32:  return (double)((const float *)(const void *)row)[i];
    case KV_F16:  return (double)f16_to_f32(((const f16 *)(const void *)row)[i]);
    case KV_BF16: return (double)bf16_to_f32(((const bf16 *)(const void *)row)[i]);
    }
    return 0;
}

/* Scores of one head, and the largest error a score can have: hd/16 + 6 roundings of the
 * sum of |q k|. */
static double scores64(double *s, const struct attn_row *a, const float *q)
{
    double worst = 0;
    for (size_t n = 0; n <= a->last - a->first; n++) {
        double size = 0;
        s[n] = 0;
        for (size_t i = 0; i < a->hd; i++) {
            double term = (double)q[i] * kv_at(a->k, a, a->first + n, i);
            s[n] += term;
            size += fabs(term);
        }
        s[n] *= (double)a->scale;
        worst = fmax(worst, size * fabs((double)a->scale) * ((double)a->hd / 16 + 6) * 0x1.01p-24);
    }
    return worst;
}

/*
 * Plain softmax attention of one head in float64, with the bound.  A weight's relative
 * error: its score's error, the rounding of s - max (far 2^-24), 2 for exp; each block
 * after it multiplies by a c with as much again.  The sum has n/16 + 5 + blocks more, the
 * accumulator n + blocks, the division 1.
 */
static void ref64(double *want, double *bound, const struct attn_row *a, const float *q)
{
    double s[KEYS_MAX], max = -INFINITY, sum = 0, far = 0, u = 0x1.01p-24;
    double err = scores64(s, a, q);
    size_t n = (size_t)(a->last - a->first) + 1;
    double blocks = (double)(a->last / ATTN_BLOCK - a->first / ATTN_BLOCK + 1);
    for (size_t j = 0; j < n; j++)
        max = fmax(max, s[j]);
    for (size_t j = 0; j < n; j++) {
        far = fmax(far, max - s[j]);
        sum += s[j] = exp(s[j] - max);
    }
    double weight = 2 * err + blocks * (2 * far + 3) * u;
    for (size_t i = 0; i < a->hd; i++) {
        double size = 0;
        want[i] = 0;
        for (size_t j = 0; j < n; j++) {
            double term = s[j] / sum * kv_at(a->v, a, a->first + j, i);
            want[i] += term;
            size += fabs(term);
        }
        bound[i] = size * (2 * weight + ((double)n * 17 / 16 + 6 + 2 * blocks) * u) + 4 * FLT_MIN;
    }
}

static void against_float64(struct tester *t, const struct attn_row *a, const float *out)
{
    double want[ATTN_HD_MAX], bound[ATTN_HD_MAX];
    for (size_t h = 0; h < a->n_q; h++) {
        ref64(want, bound, a, a->q + h * a->hd);
        t_near(t, out + h * a->hd, want, bound, a->hd, "C level");
    }
}

/* The C level against float64 (once, at level c), this level against the C level. */
static float *one_problem(struct tester *t, struct problem *p)
{
    struct attn_row *a = &p->row;
    size_t n = a->n_q * a->hd;
    t_case(t, "kv=%d n_q=%zu hd=%zu first=%llu last=%llu ring=%llu size=%g", (int)a->kv_type,
           a->n_q, a->hd, (unsigned long long)a->first, (unsigned long long)a->last,
           (unsigned long long)a->ring, (double)p->size);
    a->q = t_floats(t, n, 1, p->how);
    a->k = make_kv(t, p, 0);
    a->v = make_kv(t, p, 1);
    float *out = t_bytes(t, n * sizeof *out, 12), *want = t_bytes(t, n * sizeof *want, 0);
    attend(t->ref, want, a);
    if (t->level == CPU_C && p->size >= 1)
        against_float64(t, a, want);
    attend(t->k, out, a);
    t_same(t, out, want, n, "out");
    return out;
}

/* first, last, ring: block edges, one key, partial first and last blocks, wrapped rings. */
static const struct span { uint64_t first, last, ring; } spans[] = {
    { 0, 0, 64 },      { 0, 62, 64 },     { 0, 63, 64 },     { 0, 64, 128 },
    { 0, 126, 128 },   { 0, 127, 128 },   { 0, 128, 192 },   { 63, 63, 64 },
    { 63, 64, 64 },    { 64, 64, 64 },    { 5, 20, 64 },     { 70, 127, 64 },
    { 37, 100, 64 },   { 100, 227, 128 }, { 129, 256, 128 }, { 1000, 1255, 256 },
    { 65, 130, 128 },  { 127, 129, 64 },  { 4000000000u, 4000000100u, 128 },
};

enum { N_SPANS = sizeof spans / sizeof *spans };

static void all_spans(struct tester *t)
{
    static const size_t hds[] = { 64, 128, 80, 16, 72, 7, 32, 100, 1, 256, 144, 48 };
    static const size_t n_qs[] = { 1, 2, 3, 4, 5, 8, 9 };
    static const float sizes[] = { 1, 3, 0x1p-20f, 1e-39f };
    for (size_t i = 0; i < N_SPANS * 4; i++) {
        struct problem p = { .seed = i, .how = i % 5 ? FILL_RANDOM : FILL_EXACT };
        size_t hd = i / N_SPANS == KV_Q8_0 ? 32 * (1 + i % 9) : hds[i % 12];
        p.size = sizes[i % 7 < 4 ? 0 : i % 7 - 3];
        p.row = (struct attn_row){
            .kv_type = (enum kv_type)(i / N_SPANS), .first = spans[i % N_SPANS].first,
            .last = spans[i % N_SPANS].last, .ring = spans[i % N_SPANS].ring,
            .n_q = n_qs[i % 7], .hd = hd, .scale = 1 / sqrtf((float)hd)
        };
        one_problem(t, &p);
        t_end(t);
    }
    struct problem p = { .seed = 7, .size = 1, .how = FILL_RANDOM };
    p.row = (struct attn_row){ .kv_type = KV_F16, .last = 300, .ring = 320, .n_q = 2,
                               .hd = ATTN_HD_MAX, .scale = 0.04f };
    one_problem(t, &p);
    t_end(t);
}

/* Whatever ring holds the same positions, the bits are the same. */
static void ring_is_invisible(struct tester *t)
{
    static const uint64_t rings[] = { 192, 256, 320, 1024 };
    for (int type = KV_F32; type <= KV_Q8_0; type++)
        for (uint64_t last = 380; last < 390; last += t_stride) {
            struct problem p = { .seed = last, .size = 1, .how = FILL_RANDOM };
            uint64_t seed = t->seed;
            const float *first = NULL;
            for (size_t r = 0; r < 4; r++) {
                p.row = (struct attn_row){ .kv_type = (enum kv_type)type, .first = last - 127,
                                           .last = last, .ring = rings[r], .n_q = 2, .hd = 32,
                                           .scale = 0.2f };
                t->seed = seed;                          /* the same queries */
                float *out = one_problem(t, &p);
                first = first ? first : out;
                t_same(t, out, first, 2 * 32, "out in another ring");
            }
            t_end(t);
        }
}

/* One visible key gives its value exactly; q = 0 gives the mean, exact for exact values. */
static void exact_results(struct tester *t)
{
    float out[2 * 64], q[2 * 64] = { 0 }, want[64];
    struct problem p = { .seed = 3, .size = 1, .how = FILL_EXACT };
    p.row = (struct attn_row){ .q = q, .kv_type = KV_BF16, .first = 200, .last = 200, .ring = 64,
                               .n_q = 2, .hd = 64, .scale = 1 };
    t_case(t, "window of 1");
    p.row.k = make_kv(t, &p, 0);
    p.row.v = make_kv(t, &p, 1);
    for (size_t i = 0; i < 64; i++)
        q[i] = t_normal(t);
    attend(t->k, out, &p.row);
    make_row(want, &p, 200, 1);
    t_same(t, out, want, 64, "head 0");
    t_same(t, out + 64, want, 64, "head 1");
    t_end(t);

    t_case(t, "mean of 128 exact values");
    memset(q, 0, sizeof q);
    p.row.first = 100;
    p.row.last = 227;
    p.row.ring = 192;
    p.row.k = make_kv(t, &p, 0);
    p.row.v = make_kv(t, &p, 1);
    attend(t->k, out, &p.row);
    for (size_t i = 0; i < 64; i++) {
        double sum = 0;
        for (uint64_t pos = 100; pos <= 227; pos++)
            sum += kv_at(p.row.v, &p.row, pos, i);
        want[i] = (float)(sum / 128);
    }
    t_same(t, out, want, 64, "head 0");
    t_end(t);
}

/* Puts x into element i of the row of position pos, K or V, and says whether out shows it. */
static bool shows_nan(struct tester *t, struct problem *p, bool in_value, uint64_t pos)
{
    struct attn_row *a = &p->row;
    float *out = t_bytes(t, a->n_q * a->hd * sizeof *out, 0);
    a->k = make_kv(t, p, 0);
    a->v = make_kv(t, p, 1);
    f16 *kv = (f16 *)(uintptr_t)(in_value ? a->v : a->k);
    kv[(size_t)(pos % a->ring) * a->hd + 3] = 0x7e00;
    attend(t->k, out, a);
    bool all = true, any = false;
    for (size_t h = 0; h < a->n_q; h++) {
        all = all && isnan(out[h * a->hd + 3]);
        any = any || isnan(out[h * a->hd + 3]);
    }
    t_end(t);
    return all && any;
}

static void nan_shows(struct tester *t)
{
    float q[3 * 64];
    struct problem p = { .seed = 5, .size = 1, .how = FILL_RANDOM };
    for (size_t i = 0; i < 3 * 64; i++)
        q[i] = t_normal(t);
    p.row = (struct attn_row){ .q = q, .kv_type = KV_F16, .first = 50, .last = 150, .ring = 128,
                               .n_q = 3, .hd = 64, .scale = 0.125f };
    for (uint64_t pos = 50; pos <= 150; pos += 25) {
        t_case(t, "NaN at position %llu", (unsigned long long)pos);
        t_true(t, shows_nan(t, &p, false, pos), "NaN in a visible key reaches every head");
        t_true(t, shows_nan(t, &p, true, pos), "NaN in a visible value reaches every head");
    }
}

/* A ring of 128 rows of 2 KiB, two rows a page; the pages from row 6 to row 69 cannot be read. */
static char *take_half_hidden(void)
{
    char *p = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && !mprotect(p + 3 * 4096, 32 * 4096, PROT_NONE) ? p : NULL;
}

/* Positions 70..133 are rows 70..127 and 0..5: any read of another row ends the program.
 * One head goes row by row, 16 go in tiles. */
static void reads_only_visible(struct tester *t, size_t n_q)
{
    static float q[16 * ATTN_HD_MAX], out[16 * ATTN_HD_MAX];
    char *k = take_half_hidden(), *v = take_half_hidden();
    struct attn_row a = { .q = q, .k = k, .v = v, .kv_type = KV_F32, .first = 70, .last = 133,
                          .ring = 128, .n_q = n_q, .hd = ATTN_HD_MAX, .scale = 1 };
    t_case(t, "invisible rows cannot be read, %zu heads", n_q);
    t_true(t, k && v, "mmap and mprotect");
    if (!k || !v)
        return;
    attend(t->k, out, &a);
    t_true(t, out[0] == 0 && out[n_q * ATTN_HD_MAX - 1] == 0, "zeros in, zeros out");
    munmap(k, 64 * 4096);
    munmap(v, 64 * 4096);
}

void check_attn_rows_fwd(struct tester *t)
{
    reads_only_visible(t, 1);
    reads_only_visible(t, 16);
    all_spans(t);
    ring_is_invisible(t);
    exact_results(t);
    nan_shows(t);
}

/* Nearest, ties to even: no neighbour of the stored h is nearer to x. */
static bool nearest_f16(float x, f16 h)
{
    double err = fabs((double)f16_to_f32(h) - (double)x);
    for (int step = -1; step <= 1; step += 2) {
        f16 other = (f16)(h + step);
        double e = fabs((double)f16_to_f32(other) - (double)x);
        if ((h & 0x7fff) && (e < err || (e == err && (h & 1))))
            return false;
    }
    return true;
}

static bool nearest_bf16(float x, bf16 h)
{
    double err = fabs((double)bf16_to_f32(h) - (double)x);
    for (int step = -1; step <= 1; step += 2) {
        double e = fabs((double)bf16_to_f32((bf16)(h + step)) - (double)x);
        if ((h & 0x7fff) && (e < err || (e == err && (h & 1))))
            return false;
    }
    return true;
}

/* Every element within half a step of its block's scale; the largest keeps its sign; exact
 * where the values are multiples of a power of two; NaN and infinity show; zeros stay. */
static void stores_q8(struct tester *t)
{
    float x[96], back[96];
    uint8_t row[3 * 34];
    struct attn_row one = { .kv_type = KV_Q8_0, .ring = 1, .hd = 96 };
    for (int round = 0; round < 200; round++) {
        bool near = true;
        t_case(t, "q8_0 round %d", round);
        for (size_t i = 0; i < 96; i++)
            x[i] = t_normal(t) * ldexpf(1, round % 40 - 20);
        t->k->kv_store(row, KV_Q8_0, x, 96);
        for (size_t i = 0; i < 96; i++) {
            double d = (double)f16_to_f32((f16)(row[i / 32 * 34] | row[i / 32 * 34 + 1] << 8));
            /* half a step, and what the scale lost when it was rounded to f16 */
            double bound = 0.5 * d + 127 * fmax(d * 0x1p-11, 0x1p-25);
            near = near && fabs(kv_at(row, &one, 0, i) - (double)x[i]) <= bound * 1.0001;
        }
        t_true(t, near, "within half a step");
        t_end(t);
    }
    t_case(t, "q8_0 exact and special");
    for (size_t i = 0; i < 96; i++)
        x[i] = i < 32 ? (float)((int)i * 8 - 127) * 0.25f : 0;
    x[31] = 127 * 0.25f;
    t->k->kv_store(row, KV_Q8_0, x, 96);
    for (size_t i = 0; i < 96; i++)
        back[i] = (float)kv_at(row, &one, 0, i);
    t_same(t, back, x, 96, "multiples of 1/4, and zeros");
    x[40] = INFINITY;
    x[70] = NAN;
    t->k->kv_store(row, KV_Q8_0, x, 96);
    t_true(t, isnan(kv_at(row, &one, 0, 32)) && isnan(kv_at(row, &one, 0, 95)) &&
              !isnan(kv_at(row, &one, 0, 31)), "NaN and infinity spoil their block");
    t_end(t);
}

/* Whatever the bits are, NaN too, all levels store the same. */
static void store_any_bits(struct tester *t)
{
    static const enum kv_type types[] = { KV_F16, KV_BF16 };
    for (const size_t *n = t_sizes; *n; n++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            t_case(t, "any bits, n=%zu, type %d", *n, (int)types[i]);
            float *x = t_floats(t, *n, 1, FILL_RANDOM);
            for (size_t j = 0; j < *n; j++)
                x[j] = f32_from_bits((uint32_t)t_random(t));
            void *want = t_bytes(t, *n * 2, 2), *got = t_bytes(t, *n * 2, 2);
            t->ref->kv_store(want, types[i], x, *n);
            t->k->kv_store(got, types[i], x, *n);
            t_same_bytes(t, got, want, *n * 2, "row");
            t_end(t);
        }
}

void check_kv_store(struct tester *t)
{
    store_any_bits(t);
    for (const size_t *n = t_sizes; *n; n++) {
        t_case(t, "n=%zu", *n);
        float *x = t_floats(t, *n, 1, FILL_RANDOM), *f32 = t_bytes(t, *n * 4, 4);
        f16 *half = t_bytes(t, *n * 2, 2);
        bf16 *brain = t_bytes(t, *n * 2, 2);
        bool ok = true;
        t->k->kv_store(f32, KV_F32, x, *n);
        t_same_bytes(t, f32, x, *n * sizeof *x, "f32 is copied");
        t->k->kv_store(half, KV_F16, x, *n);
        t->k->kv_store(brain, KV_BF16, x, *n);
        for (size_t i = 0; i < *n; i++)
            ok = ok && nearest_f16(x[i], half[i]) && nearest_bf16(x[i], brain[i]);
        t_true(t, ok, "f16 and bf16 are the nearest");
        t_end(t);
    }
    t_case(t, "ties and edges");
    static const float x[] = { 0x1.002p0f, 0x1.006p0f, 65519, 65520, 0x1p-25f, 0x1.8p-24f, -0.0f };
    static const f16 want[] = { 0x3c00, 0x3c02, 0x7bff, 0x7c00, 0, 2, 0x8000 };
    f16 got[7];
    t->k->kv_store(got, KV_F16, x, 7);
    t_same_bytes(t, got, want, sizeof want, "f16");
    t_true(t, kv_row_bytes(KV_F32, 3) == 12 && kv_row_bytes(KV_F16, 3) == 6 &&
              kv_row_bytes(KV_BF16, 3) == 6 && kv_row_bytes(KV_Q8_0, 64) == 68, "bytes of a row");
    stores_q8(t);
}
