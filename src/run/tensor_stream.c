#include "run/run.h"

enum { PER_PIECE = 64 };                  /* pieces of the pool for one buffer */

bool stream_begin(struct tensor_stream *s, const char *path, uint64_t total, struct err *err)
{
    uint64_t room = sys_disk_free(path);
    struct buf need = { 0 }, have = { 0 };
    put_size(&need, total);
    put_size(&have, room);
    bool ok = room >= total
              || fail(err, ERR_IO, "%s: needs %s and the disk has %s free; make room or write "
                      "somewhere else", path, need.at ? need.at : "?", have.at ? have.at : "?");
    buf_release(&need);
    buf_release(&have);
    progress_begin(&s->bar, path, "MB", total / 1000000);
    return ok;
}

struct range {
    const struct stream_job *job;
    uint8_t *out;
    uint64_t begin, end;                  /* bytes of the tensor now in `out` */
};

static void make_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct range *r = arg;
    uint64_t from = r->begin + begin * r->job->piece, to = r->begin + end * r->job->piece;
    to = to < r->end ? to : r->end;
    r->job->make(r->job->arg, from, to, r->out + (from - r->begin), worker);
}

static bool reserve(struct tensor_stream *s, size_t piece, struct err *err)
{
    size_t want = piece > STREAM_BUFFER ? piece : STREAM_BUFFER;
    if (s->cap >= want)
        return true;
    mem_give(s->buffer);
    s->cap = 0;
    s->buffer = mem_take(want, 1);
    s->cap = s->buffer ? want : 0;
    return s->buffer || fail(err, ERR_MEMORY, "out of memory for a buffer of %zu bytes", want);
}

bool stream_put(struct tensor_stream *s, const struct stream_job *job, struct err *err)
{
    if (!reserve(s, job->piece, err))
        return false;
    uint64_t each = s->cap / job->piece * job->piece;
    for (uint64_t at = 0; at < job->n_bytes; at += each) {
        uint64_t end = job->n_bytes - at < each ? job->n_bytes : at + each;
        size_t pieces = (size_t)((end - at + job->piece - 1) / job->piece);
        struct range r = { job, s->buffer, at, end };
        if (s->stop && *s->stop)
            return fail(err, ERR_CANCELLED, "interrupted; nothing was left behind");
        pool_run(s->pool, pieces, pieces / PER_PIECE + 1, make_range, &r);
        if (!gguf_writer_put(s->to, s->buffer, (size_t)(end - at), err))
            return false;
        s->n_bytes += end - at;
        progress_at(&s->bar, s->n_bytes / 1000000);
    }
    return true;
}

void stream_release(struct tensor_stream *s)
{
    progress_end(&s->bar);
    mem_give(s->buffer);
    s->buffer = NULL;
    s->cap = 0;
}
