/*
 * checkpoint_file: the bytes of a checkpoint.  Little-endian; sums are XXH3-64.
 *
 *   at   bytes  what
 *   0    8      "KEXACKPT"
 *   8    4      version, 1
 *   12   4      number of sections, at most 1,048,576
 *   16   8      step
 *   24   8      bytes of the whole file
 *   32   8      J, bytes of the JSON head, at most 67,108,864
 *   40   8      T, bytes of the table of sections
 *   48   8      sum of bytes 64 to 64 + J + T
 *   56   8      sum of bytes 0 to 56
 *   64   J      JSON head, UTF-8, one object
 *        T      one entry a section, in the order of their data:
 *                 8  where its data begins     8  bytes of its data     8  sum of its data
 *                 4  N, bytes of its name, 1 to 512                     4  zero
 *                 N  its name, then zeros up to a multiple of 8
 *        ...    zeros up to a multiple of 64, data of the first section, zeros up to a multiple
 *               of 64, data of the second, ...; the file ends on such a multiple
 *
 * There is one way to write given sections, so every byte is checked by a sum or known.
 * Files are untrusted: no count, length or offset is used before it was compared with the
 * bytes that are there.
 */
#ifndef KEXA_TRAIN_CHECKPOINT_FILE_H
#define KEXA_TRAIN_CHECKPOINT_FILE_H

#include "train/checkpoint.h"

enum {
    CHECKPOINT_VERSION = 1,
    CHECKPOINT_ALIGN = 64,
    CHECKPOINT_NAME_MAX = 512,
    CHECKPOINT_SECTIONS_MAX = 1 << 20,
    CHECKPOINT_JSON_MAX = 1 << 26,
};

struct checkpoint_file {
    struct bytes all, json, table;        /* the whole file; parts of it */
    const char *path;                     /* for messages, borrowed */
    uint64_t step;
    uint32_t n;                           /* sections */
};

struct checkpoint_section {
    struct bytes name, data;
    uint64_t sum;                         /* as the table says */
};

/* Maps the file and checks all but the data of the sections. */
bool checkpoint_file_open(struct checkpoint_file *f, const char *path, struct err *err);
void checkpoint_file_close(struct checkpoint_file *f);

/* The same for bytes in memory, which stay the caller's; nothing to close. */
bool checkpoint_file_open_bytes(struct checkpoint_file *f, struct bytes all, const char *name,
                                struct err *err);

/* After a successful open, n times: the next section.  *cursor begins at 0. */
struct checkpoint_section checkpoint_file_next(const struct checkpoint_file *f, size_t *cursor);

/* Sums of all sections. */
bool checkpoint_file_verify(const struct checkpoint_file *f, struct err *err);

json_t *checkpoint_file_json(const struct checkpoint_file *f, struct err *err);  /* new reference */

/* Bytes of the file that these would make; false when they do not fit in 64 bits. */
bool checkpoint_file_size(size_t json_bytes, const struct checkpoint_part *parts, size_t n,
                          uint64_t *n_bytes);

bool checkpoint_file_write(struct file_out *out, uint64_t step, struct bytes json,
                           const struct checkpoint_part *parts, size_t n, struct err *err);

#endif
