/*
 * The bf16 class is defined as what TDPBF16PS computes (kern/qtype.h).  Where the CPU
 * has that instruction, this compares the scalar product with it, bit by bit; elsewhere
 * nothing is checked.  The hardware always flushes denormals, so only that pass counts.
 */
#include "checkkern.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TILE = 16, PAIRS = 16, BLOCKS = 3, K = 2 * PAIRS * BLOCKS };

/* Palette 1: tiles 0 (sums), 1 (tokens), 2 (weights) of 16 rows of 64 bytes. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* CPUID 7: AMX_BF16 is bit 22 and AMX_TILE bit 24 of EDX; then the kernel must agree. */
static bool have_amx(void)
{
    unsigned a, b, c, d;
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1))
        return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

/* c[16][16] += x (16 tokens of 32) times w (16 pairs of k, by output, 2 elements). */
__attribute__((target("amx-tile,amx-bf16")))
static void tdpbf16ps(float *c, const bf16 *x, size_t x_bytes, const bf16 *w)
{
    struct tile_config cfg = { .palette = 1, .row_bytes = { 64, 64, 64 }, .rows = { 16, 16, 16 } };
    __asm__ volatile(
        "ldtilecfg %0\n\t"
        "tileloadd (%1,%2), %%tmm0\n\t"
        "tileloadd (%3,%4), %%tmm1\n\t"
        "tileloadd (%5,%2), %%tmm2\n\t"
        "tdpbf16ps %%tmm2, %%tmm1, %%tmm0\n\t"
        "tilestored %%tmm0, (%1,%2)\n\t"
        "tilerelease"
        :
        : "m"(cfg), "r"(c), "r"((size_t)64), "r"(x), "r"(x_bytes), "r"(w)
        : "memory");
}

/* Ordinary values; in every fourth case so small that sums and products underflow. */
static bf16 any_value(struct tester *t, size_t turn)
{
    if (turn % 4)
        return f32_to_bf16(t_normal(t));
    uint32_t r = (uint32_t)t_random(t), exponent = 56 + r % 16;
    return (bf16)((r >> 16 & 0x807f) | (r >> 8 & 31 ? exponent << 7 : 0));
}

static void compare(struct tester *t, size_t turn)
{
    bf16 *x = t_bytes(t, TILE * K * sizeof *x, 2), *w = t_bytes(t, TILE * K * sizeof *w, 2);
    float *amx = t_bytes(t, TILE * TILE * sizeof *amx, 0), *got = t_bytes(t, TILE * TILE * 4, 4);
    for (size_t i = 0; i < TILE * K; i++) {
        x[i] = any_value(t, turn);
        w[i] = any_value(t, turn);
    }
    memset(amx, 0, TILE * TILE * sizeof *amx);
    for (size_t b = 0; b < BLOCKS; b++) {
        bf16 pairs[PAIRS][TILE][2];
        for (size_t i = 0; i < PAIRS; i++)
            for (size_t o = 0; o < TILE; o++)
                memcpy(pairs[i][o], w + o * K + 32 * b + 2 * i, sizeof pairs[i][o]);
        tdpbf16ps(amx, x + 32 * b, K * sizeof *x, pairs[0][0]);
    }
    struct acts acts = { .bf16 = x };
    t->k->gemm_bf16(got, TILE, w, K * sizeof *w, &acts, TILE, TILE, K);
    t_same(t, got, amx, TILE * TILE, "y (wanted: TDPBF16PS)");
    t_end(t);
}

void check_amx_order(struct tester *t)
{
    if (!t->flush || !have_amx())
        return;
    for (size_t turn = 0; turn < 200; turn++) {
        t_case(t, "turn %zu", turn);
        compare(t, turn);
    }
}

#else

void check_amx_order(struct tester *t)
{
    (void)t;
}

#endif
