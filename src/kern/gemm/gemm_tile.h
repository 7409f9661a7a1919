/*
 * gemm_tile: how the vector products walk over y, and what they share whatever their
 * width.  See README.md here.
 */
#ifndef KEXA_KERN_GEMM_TILE_H
#define KEXA_KERN_GEMM_TILE_H

#include "kern/gemm/gemm.h"

enum { TOKENS = 32, STREAMS = 4, GROUP_BYTES = STREAMS * 4096 };

/*
 * One register of weight rows times tokens [t, t + n_tokens); y is token t's first output.
 * What will be wanted later is prefetched from STREAMS places, ahead + s * ahead_stride.
 */
struct tile {
    float *y;
    size_t y_stride;
    const uint8_t *w;
    size_t row_bytes;
    const struct acts *x;
    size_t t, n_tokens, k;
    const uint8_t *ahead;
    size_t ahead_stride;
};

typedef void tile_fn(const struct tile *g);

/*
 * Prefetching goes by groups of tiles: while one is computed the next is fetched, a
 * quarter of its address range in each stream.  The hardware follows one stream per page,
 * and one alone waits for memory most of the time; so a group spans STREAMS pages.  In
 * a small piece of a matrix so much reach would miss most of it: there a group is a tile.
 */
static inline size_t tiles_per_group(size_t tile_bytes, size_t all_bytes)
{
    return all_bytes < 8 * GROUP_BYTES ? 1 : (GROUP_BYTES + tile_bytes - 1) / tile_bytes;
}

/* Tile i of `bytes` bytes fetches its part of the next group. */
static inline void plan_ahead(struct tile *g, const uint8_t *w, size_t i, size_t bytes,
                              size_t group)
{
    size_t place = i % group;
    g->ahead_stride = group * bytes / STREAMS;
    g->ahead = w + (i - place + group) * bytes + place * bytes / STREAMS;
}

/* Bytes [from, from + n) of this tile are being read: prefetch as many ahead. */
static inline __attribute__((always_inline)) void fetch_ahead(const struct tile *g, size_t from,
                                                              size_t n)
{
    enum { STEP = 64 * STREAMS };
    for (size_t i = from / STEP; i < (from + n) / STEP; i++)
        for (size_t s = 0; s < STREAMS; s++)
            __builtin_prefetch(g->ahead + s * g->ahead_stride + 64 * i);
}

/* The first tile has nobody to fetch it; longer ones reach their own rows early enough. */
static inline void fetch_first(struct tile *g, const uint8_t *w, size_t bytes)
{
    g->ahead = w;
    g->ahead_stride = bytes / STREAMS;
    if (bytes <= GROUP_BYTES)
        fetch_ahead(g, 0, bytes);
}

/*
 * Calls tile for every `lanes` rows and up to TOKENS tokens.  Rows left over at the end
 * are done by a tile that overlaps the one before (equal bits are written twice);
 * fewer rows than lanes in all, and k = 0, by the scalar function.
 */
static inline void gemm_tiles(tile_fn *tile, size_t lanes, gemm_fn *scalar, float *y,
                              size_t y_stride, const void *w, size_t row_bytes,
                              const struct acts *x, size_t rows, size_t n, size_t k)
{
    struct tile g = { .y_stride = y_stride, .row_bytes = row_bytes, .x = x, .k = k };
    if (n < lanes || k == 0) {
        scalar(y, y_stride, w, row_bytes, x, rows, n, k);
        return;
    }
    size_t bytes = lanes * row_bytes, group = tiles_per_group(bytes, n * row_bytes);
    fetch_first(&g, w, bytes);
    for (size_t o = 0; o < n; o += lanes) {
        size_t first = o + lanes <= n ? o : n - lanes;
        g.w = (const uint8_t *)w + first * row_bytes;
        plan_ahead(&g, w, o / lanes, bytes, group);
        for (g.t = 0; g.t < rows; g.t += TOKENS) {
            g.y = y + g.t * y_stride + first;
            g.n_tokens = rows - g.t < TOKENS ? rows - g.t : TOKENS;
            tile(&g);
        }
    }
}

/* gemm_<type>_<level>: tile_<type> over all of y. */
#define GEMM_TILES(type, level)                                                              \
    void gemm_##type##_##level(float *y, size_t y_stride, const void *w, size_t row_bytes,   \
                               const struct acts *x, size_t rows, size_t n, size_t k)        \
    {                                                                                        \
        gemm_tiles(tile_##type, LANES, gemm_##type##_c, y, y_stride, w, row_bytes, x, rows,  \
                   n, k);                                                                    \
    }

static inline int32_t four_bytes(const int8_t *x)
{
    int32_t v;
    __builtin_memcpy(&v, x, sizeof v);
    return v;
}

#endif
