#include "base/base.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *what, const char *unit, uint64_t total)
{
    *p = (struct progress){ .what = what, .unit = unit, .total = total, .start_ns = now_ns() };
}

void progress_at(struct progress *p, uint64_t done)
{
    uint64_t now = now_ns();
    if (now - p->start_ns < 2000000000u || now - p->drawn_ns < 100000000u || !isatty(2))
        return;
    double s = (double)(now - p->start_ns) * 1e-9, rate = (double)done / s;
    double left = rate > 0 ? (double)(p->total - done) / rate : 0;
    char bar[21];
    size_t full = p->total ? (size_t)(20.0 * (double)done / (double)p->total) : 0;
    for (size_t i = 0; i < 20; i++)
        bar[i] = i < full ? '#' : '.';
    bar[20] = 0;
    fprintf(stderr, "\r%s [%s] %3.0f%%  %.1f %s/s  %.0f s left \033[K", p->what, bar,
            p->total ? 100.0 * (double)done / (double)p->total : 0.0, rate, p->unit, left);
    fflush(stderr);
    p->drawn_ns = now;
    p->shown = true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
