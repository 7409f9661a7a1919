/*
 * requant: a GGUF file written again with other types.
 *
 * Metadata is taken over with general.file_type and general.quantization_version made true;
 * a tensor whose type stays is copied bit by bit.  The bytes do not depend on the threads.
 */
#ifndef KEXA_RUN_REQUANT_H
#define KEXA_RUN_REQUANT_H

#include "run/imatrix.h"

struct requant_options {
    struct recipe recipe;
    const struct imatrix *importance;     /* or NULL: every column weighs the same */
    int n_threads;
    const volatile int *stop;             /* set from outside: ERR_CANCELLED */
};

struct requant_report {
    uint64_t weights, bytes_in, bytes_out;       /* of all tensors */
    uint64_t with_importance;                    /* tensors that found theirs */
    struct { const struct qtype *type; uint64_t n, bytes; } types[16];
};

bool requant_file(const struct gguf *from, const char *to, const struct requant_options *o,
                  struct requant_report *report, struct err *err);

#endif
