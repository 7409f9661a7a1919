/*
 * lines_in: the lines of a plain or zstd-compressed file, one at a time.
 *
 * Compressed is what begins with the magic of a zstd frame or of a skippable one (pzstd's files
 * do), whatever the name; several frames in a row are one text.  Memory: the longest line so far,
 * at most LINE_MAX_BYTES, and what zstd needs for its window, at most 2^27 bytes.
 */
#ifndef KEXA_FORMAT_LINES_IN_H
#define KEXA_FORMAT_LINES_IN_H

#include "base/base.h"

enum { LINE_MAX_BYTES = 1 << 28 };

struct lines_in;

struct lines_in *lines_open(const char *path, struct err *err);
void lines_close(struct lines_in *s);     /* NULL is fine */

/* The next line without its line feed, valid until the next call; at the end of the file
 * line->at is NULL.  A last line needs no line feed. */
bool lines_next(struct lines_in *s, struct bytes *line, struct err *err);

uint64_t lines_number(const struct lines_in *s);      /* of the line last given, from 1 */
uint64_t lines_file_bytes(const struct lines_in *s);  /* of the file, read so far */

#endif
