/*
 * tensor: one tensor of a file, wherever it came from.
 *
 * ne[0] is the contiguous axis (ggml order): a linear layer y = W x with W [out, in]
 * has ne = {in, out}; safetensors shapes are reversed into this.  Unused axes are 1.
 * type is a ggml id (kern/qtype.h); NULL qtype means a type this build cannot read
 * (the tensor is listed, its use is refused by the caller with its name).
 * data has alignment 1 at worst and lies wholly inside the mapped file.
 */
#ifndef KEXA_FORMAT_TENSOR_H
#define KEXA_FORMAT_TENSOR_H

#include "base/base.h"
#include "kern/qtype.h"

enum { TENSOR_DIMS_MAX = 4, TENSORS_MAX = 1 << 20, TENSOR_NAME_MAX = 512 };

struct tensor {
    const char *name;                     /* NUL-terminated, owned by the file */
    const struct qtype *qtype;
    uint32_t ggml_type;                   /* for a safetensors dtype without ggml id: UINT32_MAX */
    const char *type_name;                /* "Q4_1", "BF16", "F8_E4M3" */
    uint32_t n_dims;
    uint64_t ne[TENSOR_DIMS_MAX];
    const uint8_t *data;
    uint64_t n_bytes;
    const char *file;                     /* path, for messages */
};

/* A set of tensors found by name; what gguf and safetensors both offer. */
struct tensors {
    struct tensor *at;
    size_t n;
    struct map by_name;                   /* name -> index */
};

const struct tensor *tensors_find(const struct tensors *t, const char *name); /* or NULL */

#endif
