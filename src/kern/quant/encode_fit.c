#include "kern/quant/encode_fit.h"

void fit_codes(float *l, const float *x, size_t n, float id, float m, float low, float high)
{
    for (size_t i = 0; i < n; i += FIT_LANES)
        for (size_t j = i; j < i + FIT_LANES; j++)
            l[j] = fit_nearest((x[j] - m) * id, low, high);
}

float fit_error(const float *x, const float *w, const float *l, size_t n, float d, float m)
{
    float s[FIT_LANES] = { 0 };
    for (size_t i = 0; i < n; i += FIT_LANES)
        for (size_t j = 0; j < FIT_LANES; j++) {
            float e = x[i + j] - (d * l[i + j] + m);
            s[j] += w[i + j] * e * e;
        }
    return fit_tree(s);
}

struct fit_sums fit_sum(const float *x, const float *w, const float *l, size_t n)
{
    float sw[FIT_LANES] = { 0 }, sx[FIT_LANES] = { 0 }, sl[FIT_LANES] = { 0 };
    float sll[FIT_LANES] = { 0 }, sxl[FIT_LANES] = { 0 };
    for (size_t i = 0; i < n; i += FIT_LANES)
        for (size_t j = 0; j < FIT_LANES; j++) {
            float wl = w[i + j] * l[i + j];
            sw[j] += w[i + j];
            sx[j] += w[i + j] * x[i + j];
            sl[j] += wl;
            sll[j] += wl * l[i + j];
            sxl[j] += wl * x[i + j];
        }
    return (struct fit_sums){ fit_tree(sw), fit_tree(sx), fit_tree(sl), fit_tree(sll),
                              fit_tree(sxl) };
}

/* Codes for the scale 1 / id and their least squares scale.  The error left is
 * sum w x^2 - gain, so the largest gain is the best. */
static float scale_gain(const float *x, const float *w, size_t n, float id, float limit, float *d)
{
    float sll[FIT_LANES] = { 0 }, sxl[FIT_LANES] = { 0 };
    for (size_t i = 0; i < n; i += FIT_LANES)
        for (size_t j = 0; j < FIT_LANES; j++) {
            float l = fit_nearest(x[i + j] * id, -limit - 1, limit);
            float wl = w[i + j] * l;
            sll[j] += wl * l;
            sxl[j] += wl * x[i + j];
        }
    float ll = fit_tree(sll), xl = fit_tree(sxl);
    *d = ll > 0 ? xl / ll : 0;
    return xl * *d;
}

float fit_scale(const float *x, const float *w, size_t n, float limit, float step, float reach)
{
    float most = 0, best = 0, gain = 0;
    for (size_t i = 0; i < n; i++) {
        float a = x[i] < 0 ? -x[i] : x[i];
        most = a > most ? a : most;
    }
    if (most < 0x1p-100f)                             /* (limit + 1) / most could overflow */
        return 0;
    int turns = (int)(reach / step);
    for (int side = -1; side <= 1; side += 2)
        for (int t = -turns; t <= turns; t++) {
            float d, id = (float)side * (limit + 0.5f + (float)t * step) / most;
            float g = scale_gain(x, w, n, id, limit, &d);
            if (g > gain) {
                gain = g;
                best = d;
            }
        }
    float d;
    if (best != 0 && scale_gain(x, w, n, 1 / best, limit, &d) > gain)
        best = d;
    return best;
}

/* The least squares d and m of given codes; d = 0 where the codes are all alike. */
static void solve_affine(const struct fit_sums *s, int below, float *d, float *m)
{
    float det = s->w * s->ll - s->l * s->l;
    *d = det > 0 ? (s->w * s->xl - s->x * s->l) / det : 0;
    *m = s->w > 0 ? (s->x - *d * s->l) / s->w : 0;
    if (below && *m > 0) {
        *m = 0;
        *d = s->ll > 0 ? s->xl / s->ll : 0;
    }
    if (*d < 0)
        *d = 0;
}

void fit_affine(const float *x, const float *w, size_t n, int below, float *d, float *m)
{
    float low = x[0], high = x[0], l[FIT_MAX], least = -1;
    for (size_t i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    low = below && low > 0 ? 0 : low;
    *d = 0;
    *m = below && low > 0 ? 0 : low;
    if (high - low < 0x1p-100f)
        return;
    for (int t = -10; t <= 6; t++) {
        float di = (high - low) / (15 + 0.25f * (float)t), mi = low;
        for (int turn = 0; turn < 2; turn++) {
            fit_codes(l, x, n, di > 0 ? 1 / di : 0, mi, 0, 15);
            struct fit_sums s = fit_sum(x, w, l, n);
            solve_affine(&s, below, &di, &mi);
        }
        float e = fit_error(x, w, l, n, di, mi);
        if (least < 0 || e < least) {
            least = e;
            *d = di;
            *m = mi;
        }
    }
}
