/*
 * safetensors_head: the JSON header of one .safetensors file (internal to this folder).
 */
#ifndef KEXA_FORMAT_SAFETENSORS_HEAD_H
#define KEXA_FORMAT_SAFETENSORS_HEAD_H

#include "format/safetensors.h"

#include <jansson.h>

/* The header as JSON, the data behind it in *data; NULL on failure.  json_decref(). */
json_t *safetensors_head_read(struct bytes file, const char *path, struct bytes *data,
                              struct err *err);

/* Appends the header's tensors, for which tensors_reserve() made room. */
bool safetensors_list_read(json_t *head, struct bytes data, const char *path, struct tensors *t,
                           struct arena *names, struct err *err);

/* How many tensors safetensors_list_read() will append. */
size_t safetensors_count(json_t *head);

#endif
