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

/* For the readers in this folder. */

/* Room for n <= TENSORS_MAX tensors and their names, which lie in file_bytes of files. */
bool tensors_reserve(struct tensors *t, struct arena *names, uint64_t n, uint64_t file_bytes,
                     struct err *err);
/* The next tensor, with name and file set; refuses long, unprintable and repeated names. */
bool tensors_add(struct tensors *t, struct arena *names, struct bytes name, const char *file,
                 struct tensor **out, struct err *err);
void tensors_release(struct tensors *t);

/* Product of a shape; false when it, or that of its non-zero axes, is above INT64_MAX. */
bool shape_count(const uint64_t *ne, uint32_t n_dims, uint64_t *n_elements);

/* The tensors from `first` on by their place in the file; the caller gives *out to mem_give. */
bool tensors_in_order(const struct tensors *t, size_t first, const struct tensor ***out,
                      struct err *err);

#endif
