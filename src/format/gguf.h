/*
 * gguf: GGUF version 2 and 3, one file or a set of split files.
 *
 * gguf_open() takes any shard of a split set and finds its siblings by the name
 * pattern PREFIX-00001-of-00003.gguf; split.no, split.count and split.tensors.count
 * must agree.  All metadata is shard 0's.  Values borrow from the mapped file.
 */
#ifndef KEXA_FORMAT_GGUF_H
#define KEXA_FORMAT_GGUF_H

#include "format/tensor.h"

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
    GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, N_GGUF_TYPES
};

struct gguf_kv {
    struct bytes key;                     /* not NUL-terminated */
    enum gguf_type type;                  /* of the value */
    enum gguf_type elem;                  /* of the elements, when type is GGUF_ARRAY */
    uint64_t n;                           /* elements; 1 for a scalar */
    struct bytes raw;                     /* the value's bytes (for strings and arrays: after
                                             the length or header fields) */
};

struct gguf {
    struct bytes *file;                   /* n_files mapped shards */
    char **path;
    size_t n_files;
    uint32_t version;
    uint64_t alignment;
    struct gguf_kv *kv;
    size_t n_kv;
    struct map by_key;
    struct tensors tensors;
    struct arena names;
    bool borrowed;                        /* file[] is the caller's, not mapped here */
};

bool gguf_open(struct gguf *g, const char *path, struct err *err);
/* The same for a file (never one of a split set) that lies in the caller's memory, which
 * must outlive g; `name` stands for the path in messages. */
bool gguf_open_bytes(struct gguf *g, struct bytes file, const char *name, struct err *err);
void gguf_close(struct gguf *g);          /* a zeroed struct is fine */

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */

/*
 * Typed reads.  false with err when the key is there but has another kind of value or
 * does not fit; `*found` says whether the key is there (absent: *out untouched, true).
 * Integers are accepted in any width and sign that fits; f64 from f32, f64, integers,
 * and only if finite.
 */
bool gguf_u64(const struct gguf *g, const char *key, uint64_t *out, bool *found, struct err *err);
bool gguf_f64(const struct gguf *g, const char *key, double *out, bool *found, struct err *err);
bool gguf_bool(const struct gguf *g, const char *key, bool *out, bool *found, struct err *err);
bool gguf_string(const struct gguf *g, const char *key, struct bytes *out, bool *found,
                 struct err *err);

/* Element i of an array of numbers or bools, as a double or u64; i < kv->n; or a scalar, i 0. */
bool gguf_elem_u64(const struct gguf_kv *kv, uint64_t i, uint64_t *out); /* false: not an integer */
bool gguf_elem_f64(const struct gguf_kv *kv, uint64_t i, double *out);

/* Walks an array of strings: start with *at = kv->raw; false at the end. */
bool gguf_next_string(struct bytes *at, struct bytes *out);

const char *gguf_type_name(enum gguf_type t);

/* One value as text for `kexa inspect` (arrays cut after a few elements). */
void gguf_print(struct buf *out, const struct gguf_kv *kv);

#endif
