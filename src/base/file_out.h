/*
 * file_out: a file that appears under its name only when it is complete.
 *
 * Until then it is PATH.part-PID-N beside it, never an existing file.  A failure (a full
 * disk, a name that cannot be had) is a sentence with the path; file_out_drop() then
 * removes what was written.  Several files that belong together are all finished before
 * the first gets its name.
 */
#ifndef KEXA_BASE_FILE_OUT_H
#define KEXA_BASE_FILE_OUT_H

#include "base/err.h"

#include <stdint.h>

struct file_out {
    void *stream;                         /* FILE *; NULL once finished */
    char *path, *temp;
    uint64_t n_bytes;                     /* written so far */
};

/* An existing regular file of that name is replaced at the end; anything else is refused. */
bool file_out_begin(struct file_out *f, const char *path, struct err *err);
bool file_out_put(struct file_out *f, const void *data, size_t n_bytes, struct err *err);
/* Over bytes that are written already: a head that counts what follows it. */
bool file_out_put_at(struct file_out *f, uint64_t at, const void *data, size_t n_bytes,
                     struct err *err);

/* Everything is on the disk, still under the temporary name. */
bool file_out_finish(struct file_out *f, struct err *err);

/* Finishes it if need be and gives it its name.  Whatever the result, f is released. */
bool file_out_end(struct file_out *f, struct err *err);

void file_out_drop(struct file_out *f);   /* removes it; a zeroed struct is fine */

/* Removes what processes that are gone left half written in a folder: files NAME.part-PID-N,
 * folders NAME.part-PID of plain files.  Not while this process writes there itself. */
void file_out_clean(const char *folder);

/* A whole small file at once. */
bool file_write(const char *path, const void *data, size_t n_bytes, struct err *err);

#endif
