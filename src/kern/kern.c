#include "kern/kern.h"

#define C_LEVEL(op) .op = op##_c,
static const struct kernels kernels_c = { KERNELS(C_LEVEL) };

#if defined(__x86_64__)

#define AVX2_LEVEL(op) .op = op##_avx2,
static const struct kernels kernels_avx2 = { KERNELS(AVX2_LEVEL) };

#define AVX512_LEVEL(op) .op = op##_avx512,
static const struct kernels kernels_avx512 = { KERNELS(AVX512_LEVEL) };

/* What tiles do not make faster is the level below's. */
#define AMX_LEVEL(op) .op = op##_amx,
static const struct kernels kernels_amx = {
    KERNELS_NO_TILES(AVX512_LEVEL) KERNELS_TILES(AMX_LEVEL)
    KERNELS_ONLY_TILES(AMX_LEVEL)
};

static const struct kernels *const tables[N_CPU_LEVELS] = {
    &kernels_c, &kernels_avx2, &kernels_avx512, &kernels_amx
};

#else

static const struct kernels *const tables[N_CPU_LEVELS] = {
    &kernels_c, &kernels_c, &kernels_c, &kernels_c
};

#endif

const struct kernels *kern_get(enum cpu_level level)
{
    return tables[level];
}

gemm_fn *kern_gemm(const struct kernels *k, const struct qtype *t)
{
    switch (t->id) {
    case QT_F32:    return k->gemm_f32;
    case QT_F16:    return k->gemm_f16;
    case QT_BF16:   return k->gemm_bf16;
    case QT_Q4_0:   return k->gemm_q4_0;
    case QT_Q4_1:   return k->gemm_q4_1;
    case QT_Q5_0:   return k->gemm_q5_0;
    case QT_Q5_1:   return k->gemm_q5_1;
    case QT_Q8_0:   return k->gemm_q8_0;
    case QT_IQ4_NL: return k->gemm_iq4_nl;
    case QT_MXFP4:  return k->gemm_mxfp4;
    case QT_Q2_K:   return k->gemm_q2_k;
    case QT_Q3_K:   return k->gemm_q3_k;
    case QT_Q4_K:   return k->gemm_q4_k;
    case QT_Q5_K:   return k->gemm_q5_k;
    case QT_Q6_K:   return k->gemm_q6_k;
    case QT_IQ4_XS: return k->gemm_iq4_xs;
    }
    return NULL;
}
