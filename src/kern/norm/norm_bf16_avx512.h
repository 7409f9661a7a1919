/*
 * norm_bf16_avx512: rmsnorm_fwd_bf16 for both versions with AVX-512.  The f32 results of a piece
 * stay in L1 until they are rounded.  The includer defines NORM_BF16 and ROUND_BF16.
 */
#include "kern/norm/norm.h"
#include "kern/norm/norm_avx512.h"
#include "kern/quant/quant.h"

enum { PIECE = 512 };

static void scale_rounded(bf16 *y, const float *x, const float *g, size_t dim, float s)
{
    _Alignas(64) float piece[PIECE];
    for (size_t i = 0; i < dim; i += PIECE) {
        size_t n = dim - i < PIECE ? dim - i : PIECE;
        scale_row(piece, x + i, g + i, n, s);
        ROUND_BF16(y + i, piece, n);
    }
}

void NORM_BF16(bf16 *y, const float *x, const float *g, size_t rows, size_t dim, float eps)
{
    float sum[4];
    for (; rows >= 4; rows -= 4, x += 4 * dim, y += 4 * dim) {
        sum_squares_4(sum, x, dim);
        for (size_t r = 0; r < 4; r++)
            scale_rounded(y + r * dim, x + r * dim, g, dim, scale_of(sum[r], dim, eps));
    }
    for (; rows; rows--, x += dim, y += dim)
        scale_rounded(y, x, g, dim, scale_of(sum_squares(x, dim), dim, eps));
}
