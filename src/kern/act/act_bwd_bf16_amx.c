/* Where the CPU rounds to bf16 itself; the gradients are those of AVX-512. */
#if defined(__x86_64__)

#define GATE_BWD(op) op##_bwd_avx512
#define BWD_BF16(op) op##_bwd_bf16_amx
#define ROUND_BF16 round_bf16_amx
#include "kern/act/act_bwd_bf16.h"

#endif
