#include "kern/cpu.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const level_names[N_CPU_LEVELS] = { "c", "avx2", "avx512", "amx" };

/* Filled once; the only state of this file. */
static struct {
    enum cpu_level detected, chosen;
    char why[320];
} found;

#if defined(__x86_64__)

/* What the machine lacks for a level, "" if nothing. */
struct lacks {
    char avx2[64], avx512[96], amx[96];
};

enum { XCR0_AVX = 0x06, XCR0_AVX512 = 0xe6, XCR0_TILES = 0x60000 };

/* Which register states the operating system saves; needs OSXSAVE (leaf 1, ecx bit 27). */
static uint32_t saved_states(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void need(char *list, size_t size, bool there, const char *name)
{
    size_t len = strlen(list);
    if (!there && len < size)
        snprintf(list + len, size - len, " %s", name);
}

/*
 * Tile registers are off in a process until it asks for them, once for all its threads, also
 * those that come later: arch_prctl(ARCH_REQ_XCOMP_PERM, 18), 18 being the tile data's number
 * among the saved states (Documentation/arch/x86/xstate.rst of Linux 5.16 and later).
 */
static bool tiles_granted(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
    return false;
#endif
}

static void probe_amx(struct lacks *l, uint32_t saved, uint32_t d7)
{
    uint32_t a71 = 0, b, c, d;
    if (!__get_cpuid_count(7, 1, &a71, &b, &c, &d))
        a71 = 0;
    need(l->amx, sizeof l->amx, a71 & 1u << 5, "avx512bf16");
    need(l->amx, sizeof l->amx, d7 & 1u << 24, "amx-tile");
    need(l->amx, sizeof l->amx, d7 & 1u << 22, "amx-bf16");
    need(l->amx, sizeof l->amx, (saved & XCR0_TILES) == XCR0_TILES, "os-saved-tiles");
    if (!l->amx[0] && !l->avx512[0])
        need(l->amx, sizeof l->amx, tiles_granted(), "os-granted-tiles");
}

static enum cpu_level probe_machine(struct lacks *l)
{
    uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0, os = 0;
    memset(l, 0, sizeof *l);
    if (!__get_cpuid(1, &a, &b, &c, &d))
        c = 0;
    if (c & 1u << 27)
        os = saved_states();
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
        b7 = c7 = d7 = 0;
    need(l->avx2, sizeof l->avx2, (os & XCR0_AVX) == XCR0_AVX, "os-saved-ymm");
    need(l->avx2, sizeof l->avx2, c & 1u << 12, "fma");
    need(l->avx2, sizeof l->avx2, c & 1u << 29, "f16c");
    need(l->avx2, sizeof l->avx2, b7 & 1u << 5, "avx2");
    need(l->avx512, sizeof l->avx512, (os & XCR0_AVX512) == XCR0_AVX512, "os-saved-zmm");
    need(l->avx512, sizeof l->avx512, b7 & 1u << 16, "avx512f");
    need(l->avx512, sizeof l->avx512, b7 & 1u << 17, "avx512dq");
    need(l->avx512, sizeof l->avx512, b7 & 1u << 30, "avx512bw");
    need(l->avx512, sizeof l->avx512, b7 & 1u << 31, "avx512vl");
    need(l->avx512, sizeof l->avx512, c7 & 1u << 11, "avx512vnni");
    probe_amx(l, os, d7);
    return l->avx2[0] ? CPU_C : l->avx512[0] ? CPU_AVX2 : l->amx[0] ? CPU_AVX512 : CPU_AMX;
}

static enum cpu_level probe_text(char *why, size_t size)
{
    struct lacks l;
    enum cpu_level level = probe_machine(&l);
    const char *missing = l.avx2[0] ? l.avx2 : l.avx512[0] ? l.avx512 : l.amx;
    snprintf(why, size, "the machine runs %s%s%s", level_names[level],
             missing[0] ? "; the next level lacks" : "", missing);
    return level;
}

#else

static enum cpu_level probe_text(char *why, size_t size)
{
    snprintf(why, size, "the machine runs c: no faster level is written for this processor");
    return CPU_C;
}

#endif

static void find_level(void)
{
    const char *cap = getenv("KEXA_CPU");
    enum cpu_level wanted;
    found.detected = found.chosen = probe_text(found.why, sizeof found.why);
    size_t len = strlen(found.why);
    char *end = found.why + len;
    size_t room = sizeof found.why - len;
    if (!cap || !*cap)
        return;
    if (!cpu_level_parse(cap, &wanted)) {
        snprintf(end, room, "; KEXA_CPU=%.40s is no level (c, avx2, avx512, amx), no cap", cap);
    } else if (wanted > found.detected) {
        snprintf(end, room, "; KEXA_CPU=%s is above that", cap);
    } else {
        found.chosen = wanted;
        snprintf(end, room, "; KEXA_CPU=%s caps it at %s", cap, cap);
    }
}

static void find_level_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_level);
}

enum cpu_level cpu_level_detect(void)
{
    find_level_once();
    return found.detected;
}

enum cpu_level cpu_level_chosen(void)
{
    find_level_once();
    return found.chosen;
}

const char *cpu_level_why(void)
{
    find_level_once();
    return found.why;
}

const char *cpu_level_name(enum cpu_level level)
{
    return (unsigned)level < N_CPU_LEVELS ? level_names[level] : "?";
}

bool cpu_level_parse(const char *text, enum cpu_level *level)
{
    for (int i = 0; i < N_CPU_LEVELS; i++)
        if (!strcmp(text, level_names[i])) {
            *level = (enum cpu_level)i;
            return true;
        }
    return false;
}
