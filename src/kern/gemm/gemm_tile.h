/*
 * gemm_tile: how the vector products walk over y, and what they share whatever their
 * width.  See README.md here.
 */
#ifndef KEXA_KERN_GEMM_TILE_H
#define KEXA_KERN_GEMM_TILE_H

#include "kern/gemm/gemm.h"

enum { TOKENS = 32 };

/* One register of weight rows times tokens [t, t + n_tokens); y is token t's first output. */
struct tile {
    float *y;
    size_t y_stride;
    const uint8_t *w;
    size_t row_bytes;
    const struct acts *x;
    size_t t, n_tokens, k;
};

typedef void tile_fn(const struct tile *g);

/*
 * Calls tile for every `lanes` rows and up to TOKENS tokens.  Rows left over at the end
 * are done by a tile that overlaps the one before (equal bits are written twice);
 * fewer rows than lanes in all by the scalar function.
 */
static inline void gemm_tiles(tile_fn *tile, size_t lanes, gemm_fn *scalar, float *y,
                              size_t y_stride, const void *w, size_t row_bytes,
                              const struct acts *x, size_t rows, size_t n, size_t k)
{
    if (n < lanes) {
        scalar(y, y_stride, w, row_bytes, x, rows, n, k);
        return;
    }
    for (size_t o = 0; o < n; o += lanes) {
        size_t first = o + lanes <= n ? o : n - lanes;
        for (size_t t = 0; t < rows; t += TOKENS) {
            size_t left = rows - t;
            struct tile g = { y + t * y_stride + first, y_stride,
                              (const uint8_t *)w + first * row_bytes, row_bytes, x,
                              t, left < TOKENS ? left : TOKENS, k };
            tile(&g);
        }
    }
}

/* n bytes at p will be wanted soon: the tile after this one, read in address order. */
static inline void fetch_ahead(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch(p + i);
}

static inline int32_t four_bytes(const int8_t *x)
{
    int32_t v;
    __builtin_memcpy(&v, x, sizeof v);
    return v;
}

#endif
