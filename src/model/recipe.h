/*
 * recipe: which type each tensor of a model is stored in.
 *
 * A recipe is one of the list below, or the name of a type, which then holds for all
 * matrices.  Matrices are the tensors with two or more axes whose GGUF name ends in
 * ".weight"; norms, biases and other vectors, and the router (ffn_gate_inp), are F32 in every
 * recipe.  Routed experts are the *_exps tensors; shared experts count as "the rest".
 *
 *   recipe     routed experts    the rest
 *   k-exaone   Q4_K              Q8_0
 *
 * A row that is no multiple of the type's block gets the next best type that fits, never a
 * smaller one: Q4_K and Q6_K become Q8_0 where the row is a multiple of 32; all others F16.
 */
#ifndef KEXA_MODEL_RECIPE_H
#define KEXA_MODEL_RECIPE_H

#include "format/format.h"

struct recipe {
    const char *name;
    const struct qtype *experts, *rest;
};

/* By the recipe's or type's name, in any case; only types that can be written. */
bool recipe_find(struct recipe *out, const char *name, struct err *err);

/* The i-th name recipe_find() knows, NULL after the last. */
const char *recipe_name(size_t i);

/* The type for a tensor of this GGUF name with rows of `cols` elements. */
const struct qtype *recipe_type(const struct recipe *r, const char *tensor, uint32_t n_dims,
                                uint64_t cols);

/* general.file_type of a file in this recipe, as other programs number them. */
uint32_t recipe_file_type(const struct recipe *r);

#endif
