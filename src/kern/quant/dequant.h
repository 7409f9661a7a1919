/*
 * dequant: weights to f32, y[0..k) from a row of k / block blocks.  k is a multiple
 * of the type's block; row may have any alignment and must not overlap y.  The bits
 * equal gguf.quants.dequantize (Python package gguf) unless denormals are flushed, which
 * makes MXFP4's scales 2^-128 and 2^-127 zero.  Reached through qtypes[].
 */
#ifndef KEXA_KERN_QUANT_DEQUANT_H
#define KEXA_KERN_QUANT_DEQUANT_H

#include <stddef.h>

void dequant_f32(float *y, const void *row, size_t k);
void dequant_f16(float *y, const void *row, size_t k);
void dequant_bf16(float *y, const void *row, size_t k);
void dequant_q4_0(float *y, const void *row, size_t k);
void dequant_q4_1(float *y, const void *row, size_t k);
void dequant_q8_0(float *y, const void *row, size_t k);
void dequant_q4_k(float *y, const void *row, size_t k);
void dequant_q6_k(float *y, const void *row, size_t k);
void dequant_q5_0(float *y, const void *row, size_t k);
void dequant_q5_1(float *y, const void *row, size_t k);
void dequant_iq4_nl(float *y, const void *row, size_t k);
void dequant_mxfp4(float *y, const void *row, size_t k);
void dequant_q5_k(float *y, const void *row, size_t k);
void dequant_iq4_xs(float *y, const void *row, size_t k);
void dequant_q2_k(float *y, const void *row, size_t k);
void dequant_q3_k(float *y, const void *row, size_t k);

#endif
