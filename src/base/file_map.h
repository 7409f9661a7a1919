/*
 * file_map: a whole file mapped read-only.  An empty file gives len 0.
 * Directories, pipes and unreadable files fail with the path and the reason.
 */
#ifndef KEXA_BASE_FILE_MAP_H
#define KEXA_BASE_FILE_MAP_H

#include "base/bytes.h"

bool file_map_open(struct bytes *out, const char *path, struct err *err);
void file_map_close(struct bytes *map);
bool file_exists(const char *path);
bool file_is_dir(const char *path);

/* Reads all of a file or of standard input ("-") into *out, at most max_bytes. */
bool file_read(struct buf *out, const char *path, size_t max_bytes, struct err *err);

#endif
