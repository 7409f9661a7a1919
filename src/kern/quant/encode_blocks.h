/* encode_blocks: what the encoders of both block sizes share. */
#ifndef KEXA_KERN_QUANT_ENCODE_BLOCKS_H
#define KEXA_KERN_QUANT_ENCODE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/quant/encode_fit.h"

#define HALF_MAX 65504.0f                 /* the largest f16 */
#define HALF_MAX_BITS 0x477fe000u         /* and its f32 bits */

extern const float encode_even[256];      /* the importance of nobody's choice: ones */

/* No |x[i]| has bits above `largest`: neither NaN nor infinity for largest < 0x7f800000. */
bool encode_fits(const float *x, size_t k, uint32_t largest);

/* Stores v as f16, held within the finite ones, and returns what was stored. */
float encode_put_half(uint8_t *p, float v);

#endif
