/*
 * jsonl: the documents of a corpus, one at a time, in an order that the names fix.
 *
 * A path is one of
 *   NAME.jsonl, NAME.jsonl.zst   one JSON object a line; "text" is a string, and "lang" where it
 *                                is there; blank lines count for nothing
 *   any other file               one document, its bytes as they are; refused if the first line is
 *                                what a line of JSONL is, for then the name is wrong
 *   a folder                     if there is a .jsonl or .jsonl.zst anywhere below it, all of
 *                                these; else every .txt and .md below it; in the byte order of
 *                                their paths; names that begin with a dot are passed over
 * A byte order mark (EF BB BF) that begins a file is no part of its text.
 *
 * Everything read is untrusted.  Errors name the file and the line.  Memory: one document.
 */
#ifndef KEXA_FORMAT_JSONL_H
#define KEXA_FORMAT_JSONL_H

#include "base/base.h"

#include <jansson.h>

enum { JSONL_MAX_FILES = 1 << 20, JSONL_MAX_DEPTH = 16 };

/* Borrowed, until the next call.  Text is what the file has: it may be empty, hold U+0000,
 * and, in a file that is no JSONL, be no UTF-8. */
struct jsonl_record {
    struct bytes text;
    const char *lang;                     /* "" where the document has none */
    const json_t *object;                 /* the whole line; NULL where the file is no JSONL */
    const char *path;                     /* of the file; NULL: there are no more documents */
    uint64_t line;                        /* from 1; 0 where the file is no JSONL */
};

struct jsonl;

/* NULL on failure, also where the path is no file that can be read. */
struct jsonl *jsonl_open(const char *path, struct err *err);
void jsonl_close(struct jsonl *j);        /* NULL is fine */

/* The next document; true with r->path NULL after the last. */
bool jsonl_next(struct jsonl *j, struct jsonl_record *r, struct err *err);

/* After a failure: only one line was at fault, and jsonl_next() goes on behind it. */
bool jsonl_can_go_on(const struct jsonl *j);

/* ERR_FORMAT, with the file and the place of the byte, where the text is no UTF-8. */
bool jsonl_check_utf8(const struct jsonl_record *r, struct err *err);

/* For a progress bar: bytes of the files, compressed as they are, and how many were read. */
uint64_t jsonl_total_bytes(const struct jsonl *j);
uint64_t jsonl_read_bytes(const struct jsonl *j);

/* How many .txt and .md of the folder are not read, because there is JSONL. */
size_t jsonl_beside(const struct jsonl *j);

/* The files a path stands for, as above, in order: *out becomes paths each followed by a NUL. */
bool jsonl_list_files(const char *path, struct buf *out, size_t *n_files, size_t *n_beside,
                      struct err *err);

bool jsonl_is_name(const char *path);     /* ends in .jsonl or .jsonl.zst */

#endif
