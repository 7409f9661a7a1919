/*
 * synth_file: a whole GGUF file of a model that was never trained (model/synth.h): the plan as
 * metadata, a tokenizer of single bytes, random weights, written as they are made.
 *
 * The tokenizer knows the 256 bytes as ids 0 to 255, 256 and 257 as the control tokens <begin>
 * and <end>, and fills the vocabulary with unused ones; it has no merges.
 */
#ifndef KEXA_RUN_SYNTH_FILE_H
#define KEXA_RUN_SYNTH_FILE_H

#include "model/model.h"

enum { SYNTH_VOCAB_MIN = 258 };

struct synth_options {
    struct recipe recipe;
    uint64_t seed;
    int n_threads;
    const volatile int *stop;             /* set from outside: ERR_CANCELLED */
};

struct synth_report {
    uint64_t weights, bytes, tensors;
};

/* The plan with fewer layers (the first ones, and the MTP block) and another vocabulary; 0
 * keeps what it has. */
bool synth_shrink(struct plan *p, uint32_t n_layers, uint32_t vocab, struct err *err);

/* name: what general.name says. */
bool synth_file(const struct plan *p, const char *name, const char *path,
                const struct synth_options *o, struct synth_report *report, struct err *err);

#endif
