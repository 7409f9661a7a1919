/*
 * convert: a model of one kind of file as the other kind: Hugging Face folder <-> GGUF.
 *
 * Everything comes from what loading uses: the plan and the family's key tables give the
 * description, its weight table the names, the bound weights the bytes.  Tensors keep their
 * types (vectors are F32 in GGUF); only a folder's matrices that GGUF had quantised become
 * floats, because folders hold no ggml blocks.  Where GGUF has another order of rows or one
 * tensor for all experts, rows are copied, never recomputed.
 *
 * The result appears when it is complete: a failure, or stopped(), leaves nothing.
 */
#ifndef KEXA_MODEL_CONVERT_H
#define KEXA_MODEL_CONVERT_H

#include "base/base.h"
#include "kern/qtype.h"

struct model;

struct convert_options {
    const struct qtype *float_type;       /* of matrices that were quantised: F32, F16, BF16 */
    uint64_t max_bytes;                   /* of one file's tensors; 0: one file for all */
    bool (*stopped)(void);                /* asked again and again; may be NULL */
};

struct convert_report {
    size_t n_tensors;
    uint64_t n_bytes;                     /* of tensors, written */
    bool tokenizer;                       /* false: the source has none */
    size_t n_left_out;                    /* tensors that the family has no use for */
    char left_out[200];                   /* the name of one */
};

/* m: after model_bind().  path: must not exist. */
bool model_to_gguf(struct model *m, const char *path, const struct convert_options *o,
                   struct convert_report *report, struct err *err);

/* The same; an empty folder may be there. */
bool model_to_folder(struct model *m, const char *path, const struct convert_options *o,
                     struct convert_report *report, struct err *err);

#endif
