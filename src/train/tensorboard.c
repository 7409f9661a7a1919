#include "train/tensorboard.h"
#include "text/text.h"

#include <math.h>
#include <time.h>
#include <unistd.h>

/* Fields of the messages, as TensorFlow numbers them. */
enum {
    EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7,
    SESSION_STATUS = 1, SESSION_START = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1, VALUE_NUMBER = 2, VALUE_TENSOR = 8, VALUE_METADATA = 9,
    METADATA_PLUGIN = 1, PLUGIN_NAME = 1,
    TENSOR_DTYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRING = 8, DTYPE_STRING = 7,
    SHAPE_DIM = 2, DIM_SIZE = 1
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

uint32_t crc32c(const void *at, size_t n)
{
    uint32_t c = 0xffffffff;
    for (const uint8_t *p = at, *end = p + n; p < end; p++) {
        c ^= *p;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78 : 0);
    }
    return ~c;
}

static uint32_t masked_crc(const void *at, size_t n)
{
    uint32_t c = crc32c(at, n);
    return (c >> 15 | c << 17) + 0xa282ead8;
}

/* ---- protocol buffer encoding -------------------------------------------------------- */

static void put_varint(struct buf *b, uint64_t v)
{
    uint8_t byte[10];
    size_t n = 0;
    do {
        byte[n++] = (uint8_t)(v & 127) | (v > 127 ? 128 : 0);
        v >>= 7;
    } while (v);
    buf_put(b, byte, n);
}

static void put_key(struct buf *b, unsigned field, enum wire wire)
{
    put_varint(b, field << 3 | (unsigned)wire);
}

static void put_whole(struct buf *b, unsigned field, uint64_t v)
{
    put_key(b, field, WIRE_VARINT);
    put_varint(b, v);
}

static void put_bytes(struct buf *b, unsigned field, const void *at, size_t n)
{
    put_key(b, field, WIRE_BYTES);
    put_varint(b, n);
    buf_put(b, at, n);
}

static void put_message(struct buf *b, unsigned field, const struct buf *inner)
{
    b->failed |= inner->failed;
    put_bytes(b, field, inner->at, inner->len);
}

/* ---- records ------------------------------------------------------------------------- */

static void begin_event(struct tensorboard *t, uint64_t step)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double wall = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    t->event.failed = t->summary.failed = t->value.failed = false;
    buf_clear(&t->event);
    buf_clear(&t->summary);
    put_key(&t->event, EVENT_TIME, WIRE_64);
    buf_put(&t->event, &wall, sizeof wall);
    put_whole(&t->event, EVENT_STEP, step);
}

static bool write_event(struct tensorboard *t, struct err *err)
{
    if (!buf_ok(&t->event, err))
        return false;
    uint64_t n = t->event.len;
    uint32_t head = masked_crc(&n, sizeof n), body = masked_crc(t->event.at, n);
    bool ok = fwrite(&n, sizeof n, 1, t->file) == 1 && fwrite(&head, sizeof head, 1, t->file) == 1
              && fwrite(t->event.at, n, 1, t->file) == 1
              && fwrite(&body, sizeof body, 1, t->file) == 1 && fflush(t->file) == 0;
    return ok || fail_errno(err, ERR_IO, "%s: cannot write to it", t->path);
}

static bool write_summary(struct tensorboard *t, struct err *err)
{
    put_message(&t->event, EVENT_SUMMARY, &t->summary);
    return write_event(t, err);
}

static bool write_beginning(struct tensorboard *t, uint64_t step, struct err *err)
{
    static const char version[] = "brain.Event:2";
    begin_event(t, 0);
    put_bytes(&t->event, EVENT_VERSION, version, sizeof version - 1);
    if (!write_event(t, err))
        return false;
    if (!step)
        return true;
    begin_event(t, step + 1);
    put_whole(&t->summary, SESSION_STATUS, SESSION_START);
    put_message(&t->event, EVENT_SESSION, &t->summary);
    return write_event(t, err);
}

/* ---- the file ------------------------------------------------------------------------ */

static bool open_file(struct tensorboard *t, const char *folder, struct err *err)
{
    char host[256] = "host";
    struct buf path = { 0 };
    gethostname(host, sizeof host - 1);
    buf_printf(&path, "%s/events.out.tfevents.%lld.%s.%ld", folder, (long long)time(NULL), host,
               (long)getpid());
    t->path = path.at;
    if (!buf_ok(&path, err))
        return false;
    t->file = fopen(t->path, "abe");
    return t->file || fail_errno(err, ERR_IO, "%s: cannot write there", t->path);
}

bool tensorboard_open(struct tensorboard *t, const char *out_dir, uint64_t step, struct err *err)
{
    struct buf folder = { 0 };
    *t = (struct tensorboard){ 0 };
    buf_printf(&folder, "%s/tb", out_dir);
    bool ok = buf_ok(&folder, err) && folder_make(folder.at, 0777, NULL, err)
              && open_file(t, folder.at, err) && write_beginning(t, step, err);
    buf_release(&folder);
    if (!ok)
        tensorboard_close(t);
    return ok;
}

void tensorboard_close(struct tensorboard *t)
{
    if (t->file)
        fclose(t->file);
    mem_give(t->path);
    buf_release(&t->event);
    buf_release(&t->summary);
    buf_release(&t->value);
    *t = (struct tensorboard){ 0 };
}

/* ---- what a step was ----------------------------------------------------------------- */

static void put_scalar(struct tensorboard *t, const char *tag, double v)
{
    float number = (float)v;
    buf_clear(&t->value);
    put_bytes(&t->value, VALUE_TAG, tag, strlen(tag));
    put_key(&t->value, VALUE_NUMBER, WIRE_32);
    buf_put(&t->value, &number, sizeof number);
    put_message(&t->summary, SUMMARY_VALUE, &t->value);
}

static void put_layers(struct tensorboard *t, const char *what, const double *v, size_t n)
{
    char tag[64];
    for (size_t i = 0; v && i < n; i++) {
        snprintf(tag, sizeof tag, "router/%s/%02zu", what, i);
        put_scalar(t, tag, v[i]);
    }
}

bool tensorboard_step(struct tensorboard *t, const struct step_stats *s, struct err *err)
{
    begin_event(t, s->step);
    put_scalar(t, "train/loss", s->loss);
    put_scalar(t, "train/ce", s->ce);
    put_scalar(t, "train/mtp", s->mtp);
    put_scalar(t, "train/bits_per_byte", s->bits_per_byte);
    if (isfinite(s->heldout_bits_per_byte))
        put_scalar(t, "heldout/bits_per_byte", s->heldout_bits_per_byte);
    put_scalar(t, "optimizer/lr", s->lr);
    put_scalar(t, "optimizer/grad_norm", s->grad_norm);
    put_scalar(t, "optimizer/skipped", s->skipped);
    if (s->seconds > 0) {
        put_scalar(t, "speed/tokens_per_second", (double)s->n_tokens / s->seconds);
        put_scalar(t, "speed/gflops", s->flops * 1e-9 / s->seconds);
    }
    if (s->n_sparse) {
        put_scalar(t, "router/balance", s->balance);
        put_layers(t, "entropy", s->entropy, s->n_sparse);
        put_layers(t, "load_max", s->load_max, s->n_sparse);
    }
    return write_summary(t, err);
}

/* A tensor of one string with the name of the text plugin. */
bool tensorboard_sample(struct tensorboard *t, uint64_t step, struct bytes prompt,
                        struct bytes text, struct err *err)
{
    static const char tag[] = "sample", plugin[] = "text";
    struct detok whole = { 0 };
    struct buf tensor = { 0 }, inner = { 0 }, clean = { 0 };
    detok_put(&whole, prompt, &clean);
    detok_put(&whole, text, &clean);
    detok_end(&whole, &clean);
    begin_event(t, step);
    buf_clear(&t->value);
    put_bytes(&t->value, VALUE_TAG, tag, sizeof tag - 1);
    put_whole(&inner, DIM_SIZE, 1);
    put_message(&tensor, SHAPE_DIM, &inner);
    buf_clear(&inner);
    put_whole(&inner, TENSOR_DTYPE, DTYPE_STRING);
    put_message(&inner, TENSOR_SHAPE, &tensor);
    put_message(&inner, TENSOR_STRING, &clean);
    put_message(&t->value, VALUE_TENSOR, &inner);
    buf_clear(&inner);
    buf_clear(&tensor);
    put_bytes(&inner, PLUGIN_NAME, plugin, sizeof plugin - 1);
    put_message(&tensor, METADATA_PLUGIN, &inner);
    put_message(&t->value, VALUE_METADATA, &tensor);
    put_message(&t->summary, SUMMARY_VALUE, &t->value);
    buf_release(&tensor);
    buf_release(&inner);
    buf_release(&clean);
    return write_summary(t, err);
}
