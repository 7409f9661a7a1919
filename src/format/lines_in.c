#include "format/lines_in.h"

#include <errno.h>
#include <stdio.h>
#include <zstd.h>

enum { CHUNK = 1 << 18 };

struct lines_in {
    FILE *file;
    char *path;
    ZSTD_DStream *zstd;                   /* NULL: the file is plain */
    bool frame_open;                      /* compressed: a frame has begun and not ended */
    bool file_end;
    uint8_t in[CHUNK];
    ZSTD_inBuffer packed;                 /* over `in` */
    struct buf text;                      /* text not yet given: [given, text.len) */
    size_t given, searched;
    uint64_t n_lines, n_file;
};

void lines_close(struct lines_in *s)
{
    if (!s)
        return;
    if (s->file)
        fclose(s->file);
    ZSTD_freeDStream(s->zstd);
    buf_release(&s->text);
    mem_give(s->path);
    mem_give(s);
}

static bool fill_chunk(struct lines_in *s, struct err *err)
{
    size_t n = fread(s->in, 1, CHUNK, s->file);
    if (n < CHUNK && ferror(s->file))
        return fail_errno(err, ERR_IO, "cannot read %s", s->path);
    s->packed = (ZSTD_inBuffer){ s->in, n, 0 };
    s->file_end = n == 0;
    s->n_file += n;
    return true;
}

/* RFC 8878, 3.1.1 and 3.1.2. */
static bool is_packed(const uint8_t *at, size_t n)
{
    return n >= 4 && (!memcmp(at, "\x28\xB5\x2F\xFD", 4)
                      || (at[0] >> 4 == 5 && !memcmp(at + 1, "\x2A\x4D\x18", 3)));
}

struct lines_in *lines_open(const char *path, struct err *err)
{
    struct lines_in *s = mem_take(1, sizeof *s);
    if (!s || !(s->path = mem_copy_text(path, strlen(path)))) {
        mem_give(s);
        fail(err, ERR_MEMORY, "no memory to read %s", path);
        return NULL;
    }
    s->file = fopen(path, "rb");
    bool ok = s->file ? fill_chunk(s, err)
                      : fail_errno(err, ERR_IO, "cannot open %s", path);
    if (ok && is_packed(s->in, s->packed.size)) {
        s->zstd = ZSTD_createDStream();
        ok = s->zstd || fail(err, ERR_MEMORY, "no memory to unpack %s", path);
    }
    if (ok)
        return s;
    lines_close(s);
    return NULL;
}

uint64_t lines_number(const struct lines_in *s)
{
    return s->n_lines;
}

uint64_t lines_file_bytes(const struct lines_in *s)
{
    return s->n_file - (s->packed.size - s->packed.pos);
}

/* Appends what one call of the decoder gives, which may be nothing. */
static bool unpack(struct lines_in *s, struct err *err)
{
    uint8_t out[1 << 15];
    ZSTD_outBuffer room = { out, sizeof out, 0 };
    size_t left = ZSTD_decompressStream(s->zstd, &room, &s->packed);
    if (ZSTD_isError(left))
        return fail(err, ERR_FORMAT, "%s: what follows line %llu cannot be unpacked: %s", s->path,
                    (unsigned long long)s->n_lines, ZSTD_getErrorName(left));
    s->frame_open = left != 0;
    buf_put(&s->text, out, room.pos);
    return true;
}

/* More text, or s->file_end.  What was given is dropped first. */
static bool read_more(struct lines_in *s, struct err *err)
{
    if (s->given) {
        memmove(s->text.at, s->text.at + s->given, s->text.len - s->given);
        s->text.len -= s->given;
        s->searched -= s->given;
        s->given = 0;
    }
    if (s->text.len > LINE_MAX_BYTES)
        return fail(err, ERR_LIMIT, "%s, line %llu has more than %d bytes", s->path,
                    (unsigned long long)s->n_lines + 1, LINE_MAX_BYTES);
    size_t before = s->text.len;
    while (s->text.len == before && !s->file_end) {
        if (s->packed.pos == s->packed.size && !fill_chunk(s, err))
            return false;
        if (s->file_end && s->frame_open)
            return fail(err, ERR_FORMAT, "%s ends inside a compressed frame, after line %llu; "
                        "the file is cut short", s->path, (unsigned long long)s->n_lines);
        if (!s->file_end && s->zstd && !unpack(s, err))
            return false;
        if (!s->file_end && !s->zstd) {
            buf_put(&s->text, s->in + s->packed.pos, s->packed.size - s->packed.pos);
            s->packed.pos = s->packed.size;
        }
        if (s->text.failed)
            return fail(err, ERR_MEMORY, "no memory for line %llu of %s",
                        (unsigned long long)s->n_lines + 1, s->path);
    }
    return true;
}

static void give_line(struct lines_in *s, size_t end, size_t skip, struct bytes *line)
{
    *line = (struct bytes){ (const uint8_t *)s->text.at + s->given, end - s->given };
    s->given = s->searched = end + skip;
    s->n_lines++;
}

bool lines_next(struct lines_in *s, struct bytes *line, struct err *err)
{
    for (;;) {
        const char *end = s->text.len > s->searched
            ? memchr(s->text.at + s->searched, '\n', s->text.len - s->searched) : NULL;
        if (end) {
            give_line(s, (size_t)(end - s->text.at), 1, line);
            return true;
        }
        s->searched = s->text.len;
        if (!s->file_end && !read_more(s, err))
            return false;
        if (!s->file_end)
            continue;
        *line = (struct bytes){ NULL, 0 };
        if (s->text.len > s->given)
            give_line(s, s->text.len, 0, line);
        return true;
    }
}
