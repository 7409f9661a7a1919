#include "kern/roof/roof.h"

#if defined(__x86_64__)

#include "kern/gemm/tiles_amx.h"

/* Two by two tiles of sums, four loads from the first cache for four products. */
void roof_bf16_amx(float *acc, const struct roof_tiles *a, const struct roof_tiles *b,
                   size_t rounds)
{
    tiles_configure(32);
    TILE_LOAD(0, acc, 128);
    TILE_LOAD(1, acc + 16, 128);
    TILE_LOAD(2, acc + 512, 128);
    TILE_LOAD(3, acc + 528, 128);
    for (size_t r = 0; r < rounds; r++) {
        const bf16 *x = a->at + r % ROOF_STEPS * ROOF_TILE, *w = b->at + r % ROOF_STEPS * ROOF_TILE;
        TILE_LOAD(6, w, 64);
        TILE_LOAD(4, x, 64);
        TILE_DOT(0, 4, 6);
        TILE_LOAD(5, x + 512, 64);
        TILE_DOT(2, 5, 6);
        TILE_LOAD(7, w + 512, 64);
        TILE_DOT(1, 4, 7);
        TILE_DOT(3, 5, 7);
    }
    TILE_STORE(0, acc, 128);
    TILE_STORE(1, acc + 16, 128);
    TILE_STORE(2, acc + 512, 128);
    TILE_STORE(3, acc + 528, 128);
    tiles_release();
}

#endif
