/*
 * train_roof: what this machine can do at most in the arithmetic of a run, measured with the
 * run's own threads: what its operations per second are compared with.
 */
#ifndef KEXA_TRAIN_TRAIN_ROOF_H
#define KEXA_TRAIN_TRAIN_ROOF_H

#include "train/train_recipe.h"

struct train_roof {
    double flops;                         /* operations a second, all threads together */
    const char *unit;                     /* "AMX bf16", "AVX-512 f32", ... */
};

/*
 * The best of a few short runs, half a second in all.  The operands of roof_bf16 and roof_fma
 * (kern/roof/roof.h) stay in the cache: their loads are in it, memory is not.  Without tiles
 * bf16 is multiplied by the FMA units, and theirs is the roof.  By CPU time: what n_threads do
 * while each has a CPU, whatever else the machine does now.
 */
bool train_roof_measure(struct train_roof *out, enum recipe_dtype dtype, int n_threads,
                        struct err *err);

#endif
