/* encode.h: the blocks of 256, whose sub-blocks share the scale of their scales. */
#include "kern/quant/encode.h"

#include "kern/quant/blocks.h"
#include "kern/quant/encode_blocks.h"

enum { ROUNDS = 2 };

/* One Q4_K block in the making: sub-block j is d * sc[j] * code - dmin * mn[j]. */
struct q4_k {
    const float *x, *w;                   /* [256] */
    float d, dmin;
    float sc[8], mn[8];                   /* whole, 0..63 */
    float l[256];                         /* codes, 0..15 */
};

/* Codes of sub-block j for (sc, mn) into l; returns the error. */
static float q4_k_try(const struct q4_k *b, int j, float sc, float mn, float *l)
{
    float d = b->d * sc, m = -b->dmin * mn;
    const float *x = b->x + 32 * j;
    fit_codes(l, x, 32, d > 0 ? 1 / d : 0, m, 0, 15);
    return fit_error(x, b->w + 32 * j, l, 32, d, m);
}

/* The best (sc, mn) of sub-block j around the present one, and its codes. */
static void q4_k_settle(struct q4_k *b, int j)
{
    float sc = b->sc[j], mn = b->mn[j], l[32];
    float least = q4_k_try(b, j, sc, mn, b->l + 32 * j);
    for (int t = 0; t < 9; t++) {
        float s = sc + (float)(t / 3 - 1), m = mn + (float)(t % 3 - 1);
        if (t == 4 || s < 0 || s > 63 || m < 0 || m > 63)
            continue;
        float e = q4_k_try(b, j, s, m, l);
        if (e < least) {
            least = e;
            b->sc[j] = s;
            b->mn[j] = m;
            memcpy(b->l + 32 * j, l, sizeof l);
        }
    }
}

/* Least squares for d and dmin with all else given: x = d * (sc l) + dmin * (-mn). */
static void q4_k_solve(struct q4_k *b)
{
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (int j = 0; j < 8; j++) {
        struct fit_sums s = fit_sum(b->x + 32 * j, b->w + 32 * j, b->l + 32 * j, 32);
        double sc = (double)b->sc[j], mn = -(double)b->mn[j];
        aa += sc * sc * (double)s.ll;
        ab += sc * mn * (double)s.l;
        bb += mn * mn * (double)s.w;
        ax += sc * (double)s.xl;
        bx += mn * (double)s.x;
    }
    double det = aa * bb - ab * ab;
    if (det > 1e-9 * aa * bb) {
        b->d = (float)((ax * bb - bx * ab) / det);
        b->dmin = (float)((bx * aa - ax * ab) / det);
    } else if (aa > 0 && bb == 0) {
        b->d = (float)(ax / aa);
    }
    b->d = b->d > 0 ? b->d : 0;
    b->dmin = b->dmin > 0 ? b->dmin : 0;
}

/* Each sub-block alone, then d and dmin so that the largest of them are 63. */
static void q4_k_start(struct q4_k *b, uint8_t *p)
{
    float d[8], m[8], most_d = 0, most_m = 0;
    for (int j = 0; j < 8; j++) {
        fit_affine(b->x + 32 * j, b->w + 32 * j, 32, 1, &d[j], &m[j]);
        most_d = d[j] > most_d ? d[j] : most_d;
        most_m = -m[j] > most_m ? -m[j] : most_m;
    }
    b->d = encode_put_half(p, most_d / 63);
    b->dmin = encode_put_half(p + 2, most_m / 63);
    for (int j = 0; j < 8; j++) {
        b->sc[j] = fit_nearest(b->d > 0 ? d[j] / b->d : 0, 0, 63);
        b->mn[j] = fit_nearest(b->dmin > 0 ? -m[j] / b->dmin : 0, 0, 63);
        q4_k_settle(b, j);
    }
}

static float q4_k_error(const struct q4_k *b)
{
    float e = 0;
    for (int j = 0; j < 8; j++)
        e += fit_error(b->x + 32 * j, b->w + 32 * j, b->l + 32 * j, 32, b->d * b->sc[j],
                       -b->dmin * b->mn[j]);
    return e;
}

/* The inverse of q4_k_scale() and of the order of nibbles in blocks.h. */
static void q4_k_put(const struct q4_k *b, uint8_t *p)
{
    uint8_t *sm = p + Q4_K_SM, *qs = p + Q4_K_QS;
    encode_put_half(p, b->d);
    encode_put_half(p + 2, b->dmin);
    for (int j = 0; j < 4; j++) {
        int sc = (int)b->sc[j + 4], mn = (int)b->mn[j + 4];
        sm[j] = (uint8_t)((int)b->sc[j] | sc >> 4 << 6);
        sm[j + 4] = (uint8_t)((int)b->mn[j] | mn >> 4 << 6);
        sm[j + 8] = (uint8_t)((sc & 15) | (mn & 15) << 4);
    }
    for (int j = 0; j < 8; j += 2)
        for (int i = 0; i < 32; i++)
            qs[16 * j + i] = (uint8_t)((int)b->l[32 * j + i] | (int)b->l[32 * j + 32 + i] << 4);
}

static void q4_k_block(uint8_t *p, const float *x, const float *w)
{
    struct q4_k b = { .x = x, .w = w }, best;
    q4_k_start(&b, p);
    float least = q4_k_error(&b);
    best = b;
    for (int round = 0; round < ROUNDS; round++) {
        q4_k_solve(&b);
        b.d = encode_put_half(p, b.d);
        b.dmin = encode_put_half(p + 2, b.dmin);
        for (int j = 0; j < 8; j++)
            q4_k_settle(&b, j);
        float e = q4_k_error(&b);
        if (e < least) {
            least = e;
            best = b;
        }
    }
    q4_k_put(&best, p);
}

bool encode_q4_k_c(void *row, const float *x, const float *importance, size_t k)
{
    uint8_t *p = row;
    if (!encode_fits(x, k, HALF_MAX_BITS))
        return false;
    for (size_t b = 0; b < k; b += 256, p += Q4_K_BYTES)
        q4_k_block(p, x + b, importance ? importance + b : encode_even);
    return true;
}

/* One Q6_K block in the making: element i is d * sc[i / 16] * l[i]. */
struct q6_k {
    const float *x, *w;                   /* [256] */
    float d;
    float sc[16];                         /* whole, -127..127 */
    float l[256];                         /* codes, -32..31 */
};

static float q6_k_try(const struct q6_k *b, int j, float sc, float *l)
{
    float d = b->d * sc;
    fit_codes(l, b->x + 16 * j, 16, d != 0 ? 1 / d : 0, 0, -32, 31);
    return fit_error(b->x + 16 * j, b->w + 16 * j, l, 16, d, 0);
}

static void q6_k_settle(struct q6_k *b, int j)
{
    float sc = b->sc[j], l[16], least = q6_k_try(b, j, sc, b->l + 16 * j);
    for (float s = sc - 1; s <= sc + 1; s += 2) {
        if (s < -127 || s > 127)
            continue;
        float e = q6_k_try(b, j, s, l);
        if (e < least) {
            least = e;
            b->sc[j] = s;
            memcpy(b->l + 16 * j, l, sizeof l);
        }
    }
}

static void q6_k_solve(struct q6_k *b)
{
    double aa = 0, ax = 0;
    for (int j = 0; j < 16; j++) {
        struct fit_sums s = fit_sum(b->x + 16 * j, b->w + 16 * j, b->l + 16 * j, 16);
        aa += (double)b->sc[j] * (double)b->sc[j] * (double)s.ll;
        ax += (double)b->sc[j] * (double)s.xl;
    }
    if (aa > 0 && ax > 0)
        b->d = (float)(ax / aa);
}

static float q6_k_error(const struct q6_k *b)
{
    float e = 0;
    for (int j = 0; j < 16; j++)
        e += fit_error(b->x + 16 * j, b->w + 16 * j, b->l + 16 * j, 16, b->d * b->sc[j], 0);
    return e;
}

/* The inverse of q6_k_value(). */
static void q6_k_put(const struct q6_k *b, uint8_t *p)
{
    memset(p, 0, Q6_K_SC);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 32; i++) {
            int half = j >> 2, q = j & 3, v = (int)b->l[32 * j + i] + 32;
            p[64 * half + 32 * (q & 1) + i] |= (uint8_t)((v & 15) << (q >> 1) * 4);
            p[Q6_K_QH + 32 * half + i] |= (uint8_t)(v >> 4 << 2 * q);
        }
    for (int j = 0; j < 16; j++)
        p[Q6_K_SC + j] = (uint8_t)(int8_t)b->sc[j];
    encode_put_half(p + Q6_K_D, b->d);
}

static void q6_k_start(struct q6_k *b, uint8_t *p)
{
    float d[16], most = 0;
    for (int j = 0; j < 16; j++) {
        d[j] = fit_scale(b->x + 16 * j, b->w + 16 * j, 16, 31, 0.25f, 2);
        float a = d[j] < 0 ? -d[j] : d[j];
        most = a > most ? a : most;
    }
    b->d = encode_put_half(p + Q6_K_D, most / 127);
    for (int j = 0; j < 16; j++) {
        b->sc[j] = fit_nearest(b->d > 0 ? d[j] / b->d : 0, -127, 127);
        q6_k_settle(b, j);
    }
}

static void q6_k_block(uint8_t *p, const float *x, const float *w)
{
    struct q6_k b = { .x = x, .w = w }, best;
    q6_k_start(&b, p);
    float least = q6_k_error(&b);
    best = b;
    for (int round = 0; round < ROUNDS; round++) {
        q6_k_solve(&b);
        b.d = encode_put_half(p + Q6_K_D, b.d);
        for (int j = 0; j < 16; j++)
            q6_k_settle(&b, j);
        float e = q6_k_error(&b);
        if (e < least) {
            least = e;
            best = b;
        }
    }
    q6_k_put(&best, p);
}

bool encode_q6_k_c(void *row, const float *x, const float *importance, size_t k)
{
    uint8_t *p = row;
    if (!encode_fits(x, k, HALF_MAX_BITS))
        return false;
    for (size_t b = 0; b < k; b += 256, p += Q6_K_BYTES)
        q6_k_block(p, x + b, importance ? importance + b : encode_even);
    return true;
}
