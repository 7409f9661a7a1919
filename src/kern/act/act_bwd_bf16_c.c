/* The gradients of gates, rounded, in plain C. */
#define GATE_BWD(op) op##_bwd_c
#define BWD_BF16(op) op##_bwd_bf16_c
#define ROUND_BF16 round_bf16_c
#include "kern/act/act_bwd_bf16.h"
