/*
 * gguf_build: GGUF files made byte by byte, so that tests can also make them lie.
 * Linked into the format tests and the maker of the fuzz corpora.
 */
#ifndef KEXA_TESTS_GGUF_BUILD_H
#define KEXA_TESTS_GGUF_BUILD_H

#include "format/format.h"

struct gguf_build {
    struct buf keys, infos, data;
    uint64_t n_keys, n_tensors;           /* as the header will count them */
    uint32_t version;                     /* 3 after gguf_build_begin */
    uint64_t alignment;                   /* of the padding; 32 after gguf_build_begin */
};

void gguf_build_begin(struct gguf_build *b);

/* The whole file; b is released. */
struct buf gguf_build_end(struct gguf_build *b);

void put_number(struct buf *out, uint64_t bits, size_t n_bytes);   /* little-endian */
void put_string(struct buf *out, const char *text, size_t len);    /* u64 length, bytes */

void gguf_build_number(struct gguf_build *b, const char *key, enum gguf_type type,
                       uint64_t bits);
void gguf_build_f64(struct gguf_build *b, const char *key, enum gguf_type type, double value);
void gguf_build_string(struct gguf_build *b, const char *key, const char *text);
/* n elements whose bytes are in `raw`, which is released. */
void gguf_build_array(struct gguf_build *b, const char *key, enum gguf_type elem, uint64_t n,
                      struct buf *raw);
void gguf_build_strings(struct gguf_build *b, const char *key, const char *const *text, size_t n);

/* A tensor's description with any offset, and no data. */
void gguf_build_info(struct gguf_build *b, const char *name, uint32_t n_dims, const uint64_t *ne,
                     uint32_t ggml_type, uint64_t offset);
/* A 1-D or 2-D tensor (ne1 0: 1-D) with n_bytes of data (a counting pattern), padded. */
void gguf_build_tensor(struct gguf_build *b, const char *name, uint64_t ne0, uint64_t ne1,
                       uint32_t ggml_type, size_t n_bytes);

/* One value of every type, arrays of numbers, bools and strings, three tensors. */
struct buf gguf_build_sample(void);

#endif
