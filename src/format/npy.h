/*
 * npy: NumPy's .npy files, version 1.0, little-endian, C order: f4, f8, i4, i8, u4.
 */
#ifndef KEXA_FORMAT_NPY_H
#define KEXA_FORMAT_NPY_H

#include "base/base.h"

struct npy {
    struct bytes file;                    /* mapped; npy_close() ends it */
    char dtype[4];                        /* "f4", "f8", "i4", "i8", "u4", "u2" */
    uint32_t n_dims;
    uint64_t shape[8];
    const uint8_t *data;
    uint64_t n_elements;
};

bool npy_open(struct npy *a, const char *path, struct err *err);
void npy_close(struct npy *a);

/* Streaming writer: the header first (shape known), then rows; atomic, see
 * base/file_out.h. */
struct npy_writer {
    struct file_out file;
    uint64_t left_bytes;
};
bool npy_writer_begin(struct npy_writer *w, const char *path, const char *dtype,
                      const uint64_t *shape, uint32_t n_dims, struct err *err);
bool npy_writer_put(struct npy_writer *w, const void *data, size_t n_bytes, struct err *err);
bool npy_writer_end(struct npy_writer *w, struct err *err);
void npy_writer_drop(struct npy_writer *w);  /* gives up: removes the temporary file */

#endif
