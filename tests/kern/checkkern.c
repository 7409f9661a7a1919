#include "checkkern.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { GUARD = 64, MESSAGES = 20 };

const size_t t_sizes[] = { 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 127, 128, 129,
                           191, 255, 256, 257, 0 };

static const struct check {
    const char *name;
    void (*run)(struct tester *t);
} checks[] = {
#define X(op) { #op, check_##op },
    CHECKS(X)
#undef X
    { 0 }
};

void t_case(struct tester *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->ctx, sizeof t->ctx, fmt, ap);
    va_end(ap);
}

static void report(struct tester *t, bool ok, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void report(struct tester *t, bool ok, const char *fmt, ...)
{
    va_list ap;
    if (ok) {
        t->passed++;
        return;
    }
    if (t->failed++ >= MESSAGES)
        return;
    printf("%s %s%s, %s: ", t->check, cpu_level_name(t->level), t->flush ? ", flushed" : "",
           t->ctx);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

void *t_bytes(struct tester *t, size_t bytes, size_t skew_bytes)
{
    size_t total = (GUARD + skew_bytes + bytes + 2 * GUARD) / GUARD * GUARD;
    unsigned char *base = t->n_buf < T_BUFFERS_MAX ? aligned_alloc(GUARD, total) : NULL;
    if (!base) {
        fprintf(stderr, "checkkern: no memory for %zu bytes, or more than %d buffers\n", total,
                T_BUFFERS_MAX);
        exit(2);
    }
    memset(base, 0xff, total);
    t->buf[t->n_buf].base = base;
    t->buf[t->n_buf].bytes = bytes;
    t->buf[t->n_buf++].skew = skew_bytes;
    return base + GUARD + skew_bytes;
}

static bool all_ones(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0xff)
            return false;
    return true;
}

void t_end(struct tester *t)
{
    bool ok = true;
    for (size_t i = 0; i < t->n_buf; i++) {
        unsigned char *base = t->buf[i].base;
        size_t low = GUARD + t->buf[i].skew;
        ok = ok && all_ones(base, low) && all_ones(base + low + t->buf[i].bytes, GUARD);
        free(base);
    }
    t->n_buf = 0;
    report(t, ok, "wrote outside a buffer");
}

uint64_t t_random(struct tester *t)
{
    uint64_t z = t->seed += 0x9e3779b97f4a7c15u;         /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t t_below(struct tester *t, size_t n)
{
    return (size_t)(t_random(t) % n);
}

/* The sum of eight uniform numbers: near enough to normal, and cheap. */
float t_normal(struct tester *t)
{
    int32_t sum = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t r = t_random(t);
        for (int j = 0; j < 4; j++)
            sum += (int32_t)(r >> 16 * j & 0xffff) - 0x8000;
    }
    return (float)sum / (32768.0f * 1.6329932f);
}

float t_value(struct tester *t, enum fill how)
{
    static const float unit[] = { 0.25f, 0.5f, 1, 2 };
    if (how == FILL_RANDOM)
        return t_normal(t);
    return (float)((int)t_below(t, 17) - 8) * unit[t_below(t, 4)];
}

float *t_floats(struct tester *t, size_t n, size_t skew, enum fill how)
{
    float *x = t_bytes(t, n * sizeof *x, skew * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = t_value(t, how);
    return x;
}

float *t_copy(struct tester *t, const float *x, size_t n)
{
    float *y = t_bytes(t, n * sizeof *y, 0);
    memcpy(y, x, n * sizeof *y);
    return y;
}

void t_true(struct tester *t, bool ok, const char *what)
{
    report(t, ok, "%s", what);
}

static uint32_t bits_of(float f)
{
    return isnan(f) ? 0x7fc00000u : f32_bits(f);
}

void t_same(struct tester *t, const float *got, const float *want, size_t n, const char *what)
{
    size_t i = 0;
    while (i < n && bits_of(got[i]) == bits_of(want[i]))
        i++;
    if (i < n)
        report(t, false, "%s[%zu] is %a, the C level has %a", what, i, (double)got[i],
               (double)want[i]);
    else
        report(t, true, "%s", what);
}

void t_same_bytes(struct tester *t, const void *got, const void *want, size_t bytes,
                  const char *what)
{
    const unsigned char *g = got, *w = want;
    size_t i = 0;
    while (i < bytes && g[i] == w[i])
        i++;
    if (i < bytes)
        report(t, false, "%s: byte %zu is %02x, wanted %02x", what, i, g[i], w[i]);
    else
        report(t, true, "%s", what);
}

static bool near(double got, double want, double bound)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    return fabs(got - want) <= bound;
}

void t_near(struct tester *t, const float *got, const double *want, const double *bound, size_t n,
            const char *what)
{
    size_t i = 0;
    while (i < n && near((double)got[i], want[i], bound[i]))
        i++;
    if (i < n)
        report(t, false, "%s[%zu] is %.9g, float64 has %.17g; off by %.3g, the bound is %.3g", what,
               i, (double)got[i], want[i], fabs((double)got[i] - want[i]), bound[i]);
    else
        report(t, true, "%s", what);
}

/* Sets or clears "flush denormals" in this thread; false where that cannot be done. */
static bool set_flush(bool on)
{
#if defined(__x86_64__)
    _mm_setcsr((_mm_getcsr() & ~0x8040u) | (on ? 0x8040u : 0));
    return true;
#else
    return !on;
#endif
}

#ifdef __SANITIZE_ADDRESS__
size_t t_stride = 13;
#else
size_t t_stride = 1;
#endif

static void run_check(struct tester *t, const struct check *c)
{
    for (int flush = 0; flush < (t_stride > 1 ? 1 : 2); flush++) {
        t->seed = 1;
        t->check = c->name;
        t->flush = flush;
        t_case(t, "no case named");
        if (set_flush(flush))
            c->run(t);
        set_flush(false);
    }
}

/* checkkern [--all] [PART OF A NAME] */
int main(int argc, char **argv)
{
    size_t passed = 0, failed = 0, skipped = 0;
    if (argc > 1 && !strcmp(argv[1], "--all")) {
        t_stride = 1;
        argc--;
        argv++;
    }
    enum cpu_level top = cpu_level_chosen();
    printf("checkkern: %s\n", cpu_level_why());
    for (const struct check *c = checks; c->run; c++) {
        if (argc > 1 && !strstr(c->name, argv[1]))
            continue;
        for (int level = 0; level < N_CPU_LEVELS; level++) {
            struct tester t = { .level = (enum cpu_level)level };
            if (t.level > top) {
                printf("%-16s %-8s skipped: not on this CPU\n", c->name, cpu_level_name(t.level));
                skipped++;
                continue;
            }
            t.k = kern_get(t.level);
            t.ref = kern_get(CPU_C);
            run_check(&t, c);
            if (t.passed + t.failed == 0)
                continue;                  /* an op without levels: only CPU_C runs it */
            printf("%-16s %-8s %6zu passed %zu failed\n", c->name, cpu_level_name(t.level),
                   t.passed, t.failed);
            passed += t.passed;
            failed += t.failed;
        }
    }
    printf("%zu passed, %zu failed, %zu skipped\n", passed, failed, skipped);
    return failed != 0 || passed == 0;
}
