/*
 * qtype: the one list of weight types, by ggml id: names, block sizes, the
 * numeric class of a matrix product with such weights, dequantisation.
 * Byte layouts are in kern/quant/dequant.c; all bytes little-endian.
 */
#ifndef KEXA_KERN_QTYPE_H
#define KEXA_KERN_QTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qtype_id {                           /* ggml's numbers, as stored in GGUF */
    QT_F32 = 0, QT_F16 = 1, QT_Q4_0 = 2, QT_Q4_1 = 3, QT_Q5_0 = 6, QT_Q5_1 = 7, QT_Q8_0 = 8,
    QT_Q2_K = 10, QT_Q3_K = 11, QT_Q4_K = 12, QT_Q5_K = 13, QT_Q6_K = 14, QT_IQ4_NL = 20,
    QT_IQ4_XS = 23, QT_BF16 = 30, QT_MXFP4 = 39,
};

/*
 * How a product y = W x is rounded (CONTRIBUTING, "A number has a class"):
 *   CLASS_F32   x f32; y_o = one fma chain over k ascending from +0 (f16 weights too)
 *   CLASS_BF16  x rounded to bf16; per 32 k an even and an odd fma chain from +0 over
 *               the 16 pairs, then c += e + o; denormals flushed (TDPBF16PS order)
 *   CLASS_Q8    x as int8 per 32 (kern/quant/quant.h); exact int32 inside a block,
 *               one fma per block ascending (two where the type has a minimum)
 */
enum numeric_class { CLASS_F32, CLASS_BF16, CLASS_Q8 };

struct qtype {
    enum qtype_id id;
    const char *name;                     /* "Q4_1" */
    size_t block, block_bytes;            /* elements and bytes of one block */
    enum numeric_class numeric;
    /* y[k] = W's row, k a multiple of block; bits equal to the gguf package's */
    void (*dequant)(float *y, const void *row, size_t k);
};

const struct qtype *qtype_find(uint32_t ggml_id);  /* NULL: not a type we read */
const struct qtype *qtype_named(const char *name); /* case-insensitive; NULL if none */
const char *qtype_ggml_name(uint32_t ggml_id);     /* also for types we cannot read; or "?" */
extern const struct qtype qtypes[];                /* ends with name == NULL */

static inline size_t qtype_row_bytes(const struct qtype *t, size_t k)
{
    return k / t->block * t->block_bytes;
}

#endif
