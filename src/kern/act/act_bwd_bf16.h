/*
 * act_bwd_bf16: swiglu_bwd_bf16 and geglu_bwd_bf16 of one level, made of what the level has.
 * The f32 results of a piece stay in L1 until they are rounded: no bytes of them reach memory.
 *
 * The includer defines GATE_BWD(op), the level's f32 function, BWD_BF16(op), the name of what
 * is made here, and ROUND_BF16.
 */
#include "kern/act/act.h"
#include "kern/quant/quant.h"

enum { PIECE = 512 };

void BWD_BF16(swiglu)(bf16 *dgate, bf16 *dup, const float *dy, const float *gate,
                      const float *up, size_t n, float limit)
{
    _Alignas(64) float dg[PIECE], du[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        GATE_BWD(swiglu)(dg, du, dy + i, gate + i, up + i, m, limit);
        ROUND_BF16(dgate + i, dg, m);
        ROUND_BF16(dup + i, du, m);
    }
}

void BWD_BF16(geglu)(bf16 *dgate, bf16 *dup, const float *dy, const float *gate, const float *up,
                     size_t n)
{
    _Alignas(64) float dg[PIECE], du[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        GATE_BWD(geglu)(dg, du, dy + i, gate + i, up + i, m);
        ROUND_BF16(dgate + i, dg, m);
        ROUND_BF16(dup + i, du, m);
    }
}
