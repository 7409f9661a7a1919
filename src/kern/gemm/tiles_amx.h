/*
 * tiles_amx: the tile registers, by inline assembly.  gcc 12's _tile_loadconfig reads eight
 * of its 64 bytes as far as the optimiser knows, and _tile_loadd says nothing of memory, so
 * stores before them may be dropped or moved: hence our own.
 *
 * Eight tiles of up to 16 rows of 64 bytes.  Here always:
 *     0 1   sums of rows 0..15 by columns 0..15 and 16..31      6 7   the columns' operand,
 *     2 3   sums of rows 16..31                                       pairs of k by column
 *     4 5   the rows' operand, 32 k of rows 0..15 and 16..31
 * TDPBF16PS is the bf16 class of kern/qtype.h, denormals flushed whatever MXCSR says.
 */
#ifndef KEXA_KERN_TILES_AMX_H
#define KEXA_KERN_TILES_AMX_H

#include <stddef.h>
#include <stdint.h>

enum { TILE_ROWS = 16, TILE_K = 32, TILE_BYTES = 1024 };

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Tiles for blocks of r rows, 1..32; below 17 rows tiles 2, 3 and 5 have no use. */
static inline void tiles_configure(size_t r)
{
    uint8_t r0 = (uint8_t)(r < TILE_ROWS ? r : TILE_ROWS);
    uint8_t r1 = (uint8_t)(r > TILE_ROWS ? r - TILE_ROWS : TILE_ROWS);
    struct tile_config c = { .palette = 1, .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
                             .rows = { r0, r0, r1, r1, r0, r1, TILE_ROWS, TILE_ROWS } };
    __asm__ volatile("ldtilecfg %0" : : "m"(c) : "memory");
}

static inline void tiles_release(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

/* The tile's number is part of the instruction, so these are macros. */
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : : :)
#define TILE_LOAD(t, p, stride)                                                              \
    __asm__ volatile("tileloadd (%0,%1), %%tmm" #t : : "r"(p), "r"((size_t)(stride)) : "memory")
/* Not kept in the first cache: for what is read once in a while. */
#define TILE_STREAM(t, p, stride)                                                            \
    __asm__ volatile("tileloaddt1 (%0,%1), %%tmm" #t                                         \
                     : : "r"(p), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(t, p, stride)                                                             \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1)"                                       \
                     : : "r"(p), "r"((size_t)(stride)) : "memory")
#define TILE_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : : :)

#endif
