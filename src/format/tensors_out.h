/*
 * tensors_out: tensors into one file or a set of files, one after the other (what the
 * GGUF and the safetensors writer share; internal to this folder).
 *
 * All tensors are announced first, so that heads and offsets are known before the first
 * byte of data; the data then streams through in the same order.  No file has its name
 * before all are complete; files that exist are refused, so that a failure leaves nothing.
 */
#ifndef KEXA_FORMAT_TENSORS_OUT_H
#define KEXA_FORMAT_TENSORS_OUT_H

#include "base/base.h"
#include "kern/qtype.h"

struct tensor_out {
    char *name;
    const struct qtype *type;
    uint32_t n_dims;
    uint64_t ne[4];                       /* ne[0] contiguous, as in struct tensor */
    uint64_t n_bytes, at;                 /* at: from the start of its file's data */
    size_t shard;
};

struct tensors_out {
    struct tensor_out *t;
    size_t n, cap;
    struct map seen;
    uint64_t align;                       /* of every tensor's data; a power of two */
    char **path;                          /* of the files */
    struct file_out *file;
    size_t n_files;
    size_t now;                           /* the tensor being written */
    uint64_t left;                        /* of its bytes */
    /* The bytes before the data of file `shard`, a multiple of align. */
    void (*head)(const struct tensors_out *o, size_t shard, struct buf *out, const void *owner);
};

/* Announces a tensor; name and shape as the readers of this folder accept them. */
bool tensors_out_add(struct tensors_out *o, const char *name, const struct qtype *type,
                     uint32_t n_dims, const uint64_t *ne, struct err *err);

/* Gives every tensor its shard and place; a shard ends before a tensor that would make its
 * data longer than max_bytes (0: one shard).  Returns the number of shards. */
size_t tensors_out_place(struct tensors_out *o, uint64_t max_bytes);

/* path: one for each shard, by mem_take; o keeps them, also after a failure. */
bool tensors_out_begin(struct tensors_out *o, char **path, size_t n_files, const void *owner,
                       struct err *err);
bool tensors_out_put(struct tensors_out *o, const void *data, size_t n_bytes, const void *owner,
                     struct err *err);
/* Names the files; nothing stays behind if one cannot be named.  Release o after it. */
bool tensors_out_end(struct tensors_out *o, struct err *err);
void tensors_out_release(struct tensors_out *o);  /* removes what has no name yet */

#endif
