/*
 * safetensors_write: model.safetensors in a folder, or shards with their index, streamed.
 *
 *     struct safetensors_writer w = { 0 };
 *     safetensors_writer_add(...)  each tensor;  _begin(...);  _put(...) their bytes;  _end(...)
 *     safetensors_writer_release(&w)                             always
 *
 * Types F32, F16 and BF16.  With max_bytes the files are model-00001-of-0000N.safetensors
 * and model.safetensors.index.json; a shard's data is at most that long unless one
 * tensor is.
 */
#ifndef KEXA_FORMAT_SAFETENSORS_WRITE_H
#define KEXA_FORMAT_SAFETENSORS_WRITE_H

#include "format/safetensors.h"
#include "format/tensors_out.h"

struct safetensors_writer {
    const char *folder;                   /* kept from _begin to _end */
    struct tensors_out out;
};

bool safetensors_writer_add(struct safetensors_writer *w, const char *name,
                            const struct qtype *type, uint32_t n_dims, const uint64_t *ne,
                            struct err *err);
bool safetensors_writer_begin(struct safetensors_writer *w, const char *folder,
                              uint64_t max_bytes, struct err *err);
bool safetensors_writer_put(struct safetensors_writer *w, const void *data, size_t n_bytes,
                            struct err *err);
bool safetensors_writer_end(struct safetensors_writer *w, struct err *err);
void safetensors_writer_release(struct safetensors_writer *w);

#endif
