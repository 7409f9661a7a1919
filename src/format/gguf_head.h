/*
 * gguf_head: the front of one GGUF file (internal to this folder).
 *
 *   bytes            what
 *   4                "GGUF"
 *   4                u32 version: 2 or 3
 *   8 + 8            u64 tensor count, u64 key count
 *   per key          string key, u32 type, value
 *   per tensor       string name, u32 n_dims, u64 ne[n_dims] (ne[0] contiguous),
 *                    u32 ggml type, u64 offset from the start of the data
 *   padding          to a multiple of general.alignment (32 if absent)
 *   data
 *
 * A string is a u64 length and its bytes.  An array is a u32 element type, a u64
 * count and the elements.  Version 2 differs only in that big-endian files do not exist.
 */
#ifndef KEXA_FORMAT_GGUF_HEAD_H
#define KEXA_FORMAT_GGUF_HEAD_H

#include "format/cursor.h"
#include "format/gguf.h"

enum { GGUF_KEYS_MAX = 1 << 16, GGUF_KEY_MAX = 65535, GGUF_DEPTH_MAX = 4 };
enum { GGUF_ALIGN_MIN = 8, GGUF_ALIGN_MAX = 65536 };

struct gguf_head {
    struct cursor at;                     /* after gguf_head_read: at the tensor list */
    const char *path;
    uint32_t version;
    uint64_t alignment, n_tensors;
    struct gguf_kv *kv;
    size_t n_kv;
    struct map by_key;
};

/* Bytes of one value; 0 for strings and arrays, which say their own. */
size_t gguf_type_bytes(enum gguf_type t);

/* Header and metadata of a mapped file; h is released by the caller, also after a failure. */
bool gguf_head_read(struct gguf_head *h, struct bytes file, const char *path, struct err *err);
void gguf_head_release(struct gguf_head *h);

/* The tensor list, appended to t; every extent lies inside the file and none overlap. */
bool gguf_list_read(struct gguf_head *h, struct tensors *t, struct arena *names,
                    struct err *err);

#endif
