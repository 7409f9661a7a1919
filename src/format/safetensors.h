/*
 * safetensors: a single file, or the shards that model.safetensors.index.json names.
 *
 * safetensors_open() takes a folder (model.safetensors or the index inside) or a
 * .safetensors file.  Shard names in an index must be plain file names in the folder.
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
};

bool safetensors_open(struct safetensors *s, const char *path, struct err *err);
void safetensors_close(struct safetensors *s);

#endif
