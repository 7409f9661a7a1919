/* Where the CPU rounds to bf16 itself. */
#if defined(__x86_64__)

#define NORM_BF16 rmsnorm_fwd_bf16_amx
#define ROUND_BF16 round_bf16_amx
#include "kern/norm/norm_bf16_avx512.h"

#endif
