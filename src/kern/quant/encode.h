/*
 * encode: one row of weights from f32 to the blocks of blocks.h.
 *
 *     encode_<type>_c(row, x, importance, k)
 *
 * x[k] finite, k a multiple of the type's block; row has room for k / block blocks, any
 * alignment, and must not overlap x.  importance[k] is NULL or what an error in each column
 * weighs (finite, >= 0; only ratios within a block count).  The bits depend on the row alone.
 *
 * What is minimised, per block:  sum over i of importance[i] * (x[i] - stored[i])^2.  For
 * given codes the best scale (and minimum) is a linear least squares problem with a closed
 * solution, for a given scale the best codes are the nearest ones; so a grid of first scales
 * is tried, each is improved by one turn of the two, and the best one is kept (encode_fit.h).
 * Scales are rounded to their stored form before the last choice of codes, so their rounding
 * is part of what is minimised.  Nearest means ties to even.
 *
 *   F32         the same bits               F16, BF16   nearest; importance plays no part
 *   Q8_0        d = max|x| / 127 and no search: q is -127..127
 *   Q4_0        d of either sign, codes -8..7
 *   Q4_1        d and m free, codes 0..15
 *   Q4_K        each sub-block fitted with a minimum <= 0, then their scales and minima
 *               rounded to six bits of d and dmin; two rounds of: least squares for d and
 *               dmin, then for each sub-block the best of the nine neighbours of (sc, mn)
 *   Q6_K        each sixteen fitted, then scales rounded to eight bits of d; two rounds of:
 *               least squares for d, then the best of each scale's three neighbours
 *
 * false, with row undefined, where a value cannot be stored: NaN, infinity, in F16 and the
 * block types |x| > 65504, in BF16 what would round to infinity.  A block whose scale is
 * below half of the smallest f16 (2^-25) becomes zeros.
 */
#ifndef KEXA_KERN_QUANT_ENCODE_H
#define KEXA_KERN_QUANT_ENCODE_H

#include <stdbool.h>
#include <stddef.h>

#include "kern/qtype.h"

typedef bool encode_fn(void *row, const float *x, const float *importance, size_t k);

encode_fn encode_f32_c, encode_f16_c, encode_bf16_c, encode_q8_0_c, encode_q4_0_c, encode_q4_1_c,
          encode_q4_k_c, encode_q6_k_c;

encode_fn *encoder_find(const struct qtype *t);      /* NULL: a type we only read */

#endif
