/*
 * tensor_stream: tensors made piece by piece by all threads and written in order.
 *
 * A piece's bytes must be a function of the tensor and the piece alone: then the file does
 * not depend on the number of threads.  Memory is one buffer, whatever the tensor's size.
 */
#ifndef KEXA_RUN_TENSOR_STREAM_H
#define KEXA_RUN_TENSOR_STREAM_H

#include "format/format.h"

enum { STREAM_BUFFER = 2 << 20 };

struct tensor_stream {
    struct gguf_writer *to;
    struct pool *pool;
    struct progress bar;                  /* in MB written */
    uint64_t n_bytes;                     /* written so far */
    const volatile int *stop;             /* set from outside (Ctrl-C): ERR_CANCELLED */
    uint8_t *buffer;
    size_t cap;
};

/* Refuses with numbers when `total` bytes do not fit on the disk of `path`.  Release s in
 * any case. */
bool stream_begin(struct tensor_stream *s, const char *path, uint64_t total, struct err *err);

/* n_bytes in pieces of `piece` bytes, the last perhaps shorter.  make() fills bytes
 * [begin, end) of the tensor, which begin and end at pieces. */
struct stream_job {
    uint64_t n_bytes;
    size_t piece;
    void (*make)(void *arg, uint64_t begin, uint64_t end, uint8_t *out, int worker);
    void *arg;
};
bool stream_put(struct tensor_stream *s, const struct stream_job *job, struct err *err);
void stream_release(struct tensor_stream *s);

#endif
