#if defined(__x86_64__)

#define NORM_BF16 rmsnorm_fwd_bf16_avx512
#define ROUND_BF16 round_bf16_avx512
#include "kern/norm/norm_bf16_avx512.h"

#endif
