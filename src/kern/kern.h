/*
 * kern: the one list of kernels and the struct the engine calls through.
 *
 * Each op lives in kern/<op>/: a header that is its manual, <op>_c.c (the definition),
 * <op>_avx2.c, <op>_avx512.c, and for products of bf16 <op>_amx.c.  kern_get() gives the table
 * of a level; every level gives the same bits.  checkkern (tests/kern) walks all rows.
 */
#ifndef KEXA_KERN_KERN_H
#define KEXA_KERN_KERN_H

#include "kern/cpu.h"
#include "kern/qtype.h"
#include "kern/act/act.h"
#include "kern/attn/attn.h"
#include "kern/attn/attn_bwd.h"
#include "kern/gemm/gemm.h"
#include "kern/gemm/gemm_bwd.h"
#include "kern/gemm/gemm_packed.h"
#include "kern/loss/loss.h"
#include "kern/moe/moe.h"
#include "kern/norm/norm.h"
#include "kern/opt/opt.h"
#include "kern/quant/blocks.h"
#include "kern/quant/encode.h"
#include "kern/quant/quant.h"
#include "kern/roof/roof.h"
#include "kern/rope/rope.h"

/* X(field): field has type field##_fn; implementations are field_c, field_avx2, ... */
#define KERNELS_NO_TILES(X) \
    X(rmsnorm_fwd)      /* norm  */ \
    X(swiglu_fwd)       /* act   */ \
    X(geglu_fwd)        /* act   */ \
    X(add_fwd)          /* act   */ \
    X(scale_add_fwd)    /* act   */ \
    X(softmax_fwd)      /* act   */ \
    X(sigmoid_fwd)      /* act   */ \
    X(rmsnorm_bwd)      /* norm  */ \
    X(scale_add_bwd)    /* act   */ \
    X(swiglu_bwd)       /* act   */ \
    X(geglu_bwd)        /* act   */ \
    X(softmax_sum)      /* loss  */ \
    X(softmax_grad)     /*       */ \
    X(adamw_step)       /* opt   */ \
    X(sum_squares)      /* opt   */ \
    X(rope_half_fwd)    /* rope  */ \
    X(rope_pair_fwd)    /* rope  */ \
    X(attn_rows_fwd)    /* attn  */ \
    X(attn_bwd)         /* attn  */ \
    X(kv_store)         /* attn  */ \
    X(roof_read)        /* roof: what the machine can do */ \
    X(roof_fma)         \
    X(roof_int8)        \
    X(quant_q8)         /* quant */ \
    X(widen_bf16)       \
    X(gemm_f32)         /* gemm: one per weight type */ \
    X(gemm_f16)         \
    X(gemm_q4_0)        \
    X(gemm_q4_1)        \
    X(gemm_q5_0)        \
    X(gemm_q5_1)        \
    X(gemm_q8_0)        \
    X(gemm_iq4_nl)      \
    X(gemm_mxfp4)       \
    X(gemm_q2_k)        \
    X(gemm_q3_k)        \
    X(gemm_q4_k)        \
    X(gemm_q5_k)        \
    X(gemm_q6_k)        \
    X(gemm_iq4_xs)      \
    X(gemm_f32_dx)      /* gemm_bwd */ \
    X(gemm_f32_dw)

/* These have a function of their own at level amx: tiles, or AVX512_BF16. */
#define KERNELS_TILES(X) \
    X(round_bf16)       /* quant */ \
    X(rmsnorm_fwd_bf16) /* norm  */ \
    X(swiglu_bwd_bf16)  /* act   */ \
    X(geglu_bwd_bf16)   /* act   */ \
    X(attn_bwd_bf16)    /* attn  */ \
    X(roof_bf16)        /* roof  */ \
    X(gemm_bf16)        /* gemm  */ \
    X(gemm_bf16_dx)     /* gemm_bwd */ \
    X(gemm_bf16_dw)

#define KERNELS(X)      \
    KERNELS_NO_TILES(X) \
    KERNELS_TILES(X)

/* Only level amx has these; NULL below it. */
#define KERNELS_ONLY_TILES(X) \
    X(gemm_bf16_pack_y) /* gemm_packed */ \
    X(gemm_bf16_pack_dx) \
    X(gemm_bf16_packed)

struct kernels {
#define X(op) op##_fn *op;
    KERNELS(X)
    KERNELS_ONLY_TILES(X)
#undef X
};

const struct kernels *kern_get(enum cpu_level level);

/* The product for weights of type t from the table k. */
gemm_fn *kern_gemm(const struct kernels *k, const struct qtype *t);

#endif
