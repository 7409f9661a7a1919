/*
 * cpu: levels, not feature flags.  A level is a bundle of features that real
 * machines have together; each kernel table row names the level it needs.
 * The environment variable KEXA_CPU (c, avx2, avx512, amx) caps what is chosen; a
 * value that is no level caps nothing, and cpu_level_why() says so.  A command
 * refuses such a value itself: cpu_level_parse(getenv("KEXA_CPU"), &level).
 */
#ifndef KEXA_KERN_CPU_H
#define KEXA_KERN_CPU_H

#include <stdbool.h>

enum cpu_level {
    CPU_C,        /* any machine: plain C */
    CPU_AVX2,     /* AVX2, FMA, F16C */
    CPU_AVX512,   /* + AVX-512 F BW DQ VL VNNI */
    CPU_AMX,      /* + AVX-512 BF16, AMX TILE BF16, which Linux grants a process on request */
    N_CPU_LEVELS
};

enum cpu_level cpu_level_detect(void);    /* what this machine can run */
enum cpu_level cpu_level_chosen(void);    /* min(detected, KEXA_CPU) */
const char *cpu_level_name(enum cpu_level level);
const char *cpu_level_why(void);          /* one line for `kexa doctor`; static storage */

/* "c", "avx2", "avx512", "amx" to a level; false for any other text, *level untouched. */
bool cpu_level_parse(const char *text, enum cpu_level *level);

#endif
