/*
 * safetensors: a single file, or the shards that model.safetensors.index.json names.
 *
 * safetensors_open() takes a folder (model.safetensors or the index inside) or a
 * .safetensors file.  Shard names in an index must be plain file names in the folder.
 *
 *   bytes   what
 *   8       u64 n: length of the JSON, 2 to SAFETENSORS_HEADER_MAX
 *   n       JSON object: name -> {"dtype", "shape", "data_offsets": [begin, end)},
 *           and "__metadata__" -> {string: string}; may end in spaces
 *   rest    data, row-major little-endian; the tensors' ranges cover it, without holes
 *           or overlaps
 *
 * An empty shape is a scalar; a zero in a shape makes an empty tensor (n_bytes 0).
 */
#ifndef KEXA_FORMAT_SAFETENSORS_H
#define KEXA_FORMAT_SAFETENSORS_H

#include "format/tensor.h"

struct safetensors {
    struct bytes *file;
    char **path;
    size_t n_files;
    struct tensors tensors;
    struct arena names;
    bool borrowed;                        /* file[] is the caller's, not mapped here */
};

enum { SAFETENSORS_HEADER_MAX = 100 * 1000 * 1000, SAFETENSORS_INDEX_MAX = 100 * 1000 * 1000 };

bool safetensors_open(struct safetensors *s, const char *path, struct err *err);
/* One file in the caller's memory, which must outlive s; `name` stands for the path. */
bool safetensors_open_bytes(struct safetensors *s, struct bytes file, const char *name,
                            struct err *err);
void safetensors_close(struct safetensors *s);

#endif
