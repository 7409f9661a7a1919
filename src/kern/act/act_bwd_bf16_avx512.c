#if defined(__x86_64__)

#define GATE_BWD(op) op##_bwd_avx512
#define BWD_BF16(op) op##_bwd_bf16_avx512
#define ROUND_BF16 round_bf16_avx512
#include "kern/act/act_bwd_bf16.h"

#endif
