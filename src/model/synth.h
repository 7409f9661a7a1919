/*
 * synth: the weights of a model that was never trained.
 *
 * Every tensor of a plan is written in the type a recipe gives it.  Its bytes are a function
 * of (seed, tensor name, index of the block) by integer arithmetic only, so any machine, any
 * number of threads and any device write the same file:
 *
 *     word i of a block = mix(rng_u64_at(seed, XXH3-64(name), block) + (i + 1) * golden)
 *
 * with splitmix64's constants (Steele, Lea, Flood 2014).  What the words become:
 *
 *   Q8_0             eight codes; -128 becomes 0
 *   Q4_0             sixteen codes; -8 becomes 0
 *   Q4_1             sixteen codes; m = -7.5 d
 *   Q4_K             sixteen codes; all sc 2, all mn 15, dmin = d: d * (2 code - 15)
 *   Q6_K             codes of 4 + 2 bits; sc is +1 and -1 in turns
 *   F32, F16, BF16   in groups of 32 as Q8_0: code * d, rounded to nearest for F16 and BF16
 *
 * So the mean is zero.  d is the same in a whole tensor: a half with seven significant bits,
 * so that 7.5 d is one too, chosen for a standard deviation of 1 / sqrt(cols) (the embedding,
 * unless it is tied to the head: 1).  Norms are 1, biases 0.
 *
 * Routers are rows of +-d without other sizes, so that all experts are as likely; the second
 * half of the rows is the first half negated, so that no direction that the rows of a text
 * have in common favours one half, and each expert has an opposite.
 */
#ifndef KEXA_MODEL_SYNTH_H
#define KEXA_MODEL_SYNTH_H

#include "kern/half_bits.h"
#include "model/plan.h"
#include "model/recipe.h"

enum synth_kind { SYNTH_RANDOM, SYNTH_SIGNS, SYNTH_ONES, SYNTH_ZEROS };

struct synth_tensor {
    char name[80];                        /* as GGUF has it */
    const struct qtype *type;
    enum synth_kind kind;
    uint32_t n_dims;
    uint64_t ne[TENSOR_DIMS_MAX];
    uint64_t n_bytes;
    uint64_t seed, stream;
    f16 d;
};

/* All tensors of the plan, in the order of the family's table; the caller gives *out back. */
bool synth_list(const struct plan *p, const struct recipe *r, uint64_t seed,
                struct synth_tensor **out, size_t *n, struct err *err);

/* A piece that synth_fill() makes: whole blocks, 32 elements where a block is one. */
size_t synth_piece_bytes(const struct synth_tensor *t);

/* Bytes [begin, end) of the tensor; begin a multiple of the piece, end too or the tensor's. */
void synth_fill(const struct synth_tensor *t, uint64_t begin, uint64_t end, uint8_t *out);

#endif
