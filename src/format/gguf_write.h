/*
 * gguf_write: GGUF version 3, one file or a split set, streamed.
 *
 *     struct gguf_writer w = { 0 };
 *     gguf_put_string(&w, "general.architecture", bytes_of("llama"));
 *     gguf_writer_add(&w, "a.weight", type, 2, ne, err)          each tensor, in order
 *     gguf_writer_begin(&w, "model.gguf", 0, err)
 *     gguf_writer_put(&w, data, n, err)                          their bytes, in that order
 *     gguf_writer_end(&w, err)
 *     gguf_writer_release(&w)                                    always; removes the unfinished
 *
 * With max_bytes the set is PREFIX-00001-of-0000N.gguf for PREFIX.gguf; a shard's data is
 * at most that long unless one tensor is.  All metadata is in the first shard.
 */
#ifndef KEXA_FORMAT_GGUF_WRITE_H
#define KEXA_FORMAT_GGUF_WRITE_H

#include "format/gguf.h"
#include "format/tensors_out.h"

struct gguf_writer {
    struct buf meta;                      /* keys and values as they will stand in the file */
    uint64_t n_kv;
    uint64_t alignment;                   /* power of two from 8 to 65536; 0: 32 */
    struct tensors_out out;
};

/* One key each.  A key is given once; running out of memory shows at gguf_writer_begin(). */
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_put_string(struct gguf_writer *w, const char *key, struct bytes v);

/* A number of any type by its little-endian bytes (gguf_type says how many). */
void gguf_put_raw(struct gguf_writer *w, const char *key, enum gguf_type type, const void *v);

/* An array: its head, then n elements by gguf_put_elem(), strings by gguf_put_text(). */
void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type elem, uint64_t n);
void gguf_put_elem(struct gguf_writer *w, enum gguf_type elem, const void *v);
void gguf_put_text(struct gguf_writer *w, struct bytes v);

/* A value of another file as it stands; general.alignment and split.* are the writer's own
 * and passed over. */
void gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv);

bool gguf_writer_add(struct gguf_writer *w, const char *name, const struct qtype *type,
                     uint32_t n_dims, const uint64_t *ne, struct err *err);
bool gguf_writer_begin(struct gguf_writer *w, const char *path, uint64_t max_bytes,
                       struct err *err);
bool gguf_writer_put(struct gguf_writer *w, const void *data, size_t n_bytes, struct err *err);
bool gguf_writer_end(struct gguf_writer *w, struct err *err);
void gguf_writer_release(struct gguf_writer *w);

#endif
