/* The bytes of one tensor: types, the order of rows, RoPE's divisors. */
#include "kern/half_bits.h"
#include "model/convert/conversion.h"

#include <math.h>

enum { CHUNK_BYTES = 4 << 20 };

static bool is_vector(const struct piece *p)
{
    return p->row->rows == DIM_ONE;
}

/* A value of a vector as the new file holds it. */
static float vector_value(const struct conversion *c, const struct piece *p, size_t i)
{
    float v = weight_f32(p->w)[i];
    return c->to_hf ? v - c->m->plan.family->hf_gain_offset : v;
}

static float narrowed(const struct qtype *to, float v)
{
    return to->id == QT_BF16 ? bf16_to_f32(f32_to_bf16(v))
         : to->id == QT_F16 ? f16_to_f32(f32_to_f16(v)) : v;
}

/* F32 in GGUF; in a folder the type of its matrices, where that keeps every value. */
static const struct qtype *vector_type(const struct conversion *c, const struct piece *p)
{
    const struct qtype *f32 = qtype_find(QT_F32);
    for (size_t i = 0; c->to_hf && i < p->w->cols; i++) {
        float v = vector_value(c, p, i);
        if (f32_bits(narrowed(c->main_type, v)) != f32_bits(v))
            return f32;
    }
    return c->to_hf ? c->main_type : f32;
}

static const struct qtype *piece_type(const struct conversion *c, const struct piece *p)
{
    if (is_vector(p))
        return vector_type(c, p);
    return c->to_hf && p->w->type->block > 1 ? c->o->float_type : p->w->type;
}

bool piece_add(struct conversion *c, const struct piece *p, struct err *err)
{
    const struct qtype *type = piece_type(c, p);
    uint64_t ne[3] = { p->w->cols, p->w->rows, p->n };
    uint32_t n_dims = is_vector(p) ? 1 : p->n > 1 ? 3 : 2;
    for (uint32_t e = 1; e < p->n; e++)
        if (p->w[e].type != type)
            return fail(err, ERR_UNSUPPORTED, "%s: expert 0 is stored as %s, expert %u as %s; GGUF "
                        "has one tensor for all of them", p->name, type->name, e,
                        p->w[e].type->name);
    c->report->n_tensors++;
    c->report->n_bytes += qtype_row_bytes(type, p->w->cols) * p->w->rows * p->n;
    return c->to_hf ? safetensors_writer_add(c->folder, p->name, type, n_dims, ne, err)
                    : gguf_writer_add(c->gguf, p->name, type, n_dims, ne, err);
}

static bool put(struct conversion *c, const void *data, size_t n_bytes, struct err *err)
{
    if (c->o->stopped && c->o->stopped())
        return fail(err, ERR_CANCELLED, "stopped; nothing was left behind");
    c->done_bytes += n_bytes;
    progress_at(&c->bar, c->done_bytes / 1000000);
    return c->to_hf ? safetensors_writer_put(c->folder, data, n_bytes, err)
                    : gguf_writer_put(c->gguf, data, n_bytes, err);
}

static bool put_all(struct conversion *c, const uint8_t *at, size_t n_bytes, struct err *err)
{
    for (size_t n; n_bytes; at += n, n_bytes -= n) {
        n = n_bytes < CHUNK_BYTES ? n_bytes : CHUNK_BYTES;
        if (!put(c, at, n, err))
            return false;
    }
    return true;
}

/* n floats as `type`, in c->out_row. */
static bool put_floats(struct conversion *c, const struct piece *p, const float *x, size_t n,
                       const struct qtype *type, struct err *err)
{
    for (size_t i = 0; i < n && type->id != QT_F32; i++) {
        uint16_t h = type->id == QT_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
        if (isfinite(x[i]) && !isfinite(narrowed(type, x[i])))
            return fail(err, ERR_FORMAT, "%s: the value %g is too large for %s; choose --type f32",
                        p->name, (double)x[i], type->name);
        memcpy(c->out_row + 2 * i, &h, 2);
    }
    return put(c, type->id == QT_F32 ? (const void *)x : c->out_row, n * type->block_bytes, err);
}

static bool put_vector(struct conversion *c, const struct piece *p, struct err *err)
{
    size_t n = p->w->cols;
    for (size_t i = 0; i < n; i++)
        c->row[i] = vector_value(c, p, i);
    return put_floats(c, p, c->row, n, piece_type(c, p), err);
}

/* GGUF's pairs: row half * (hd/2) + i of a head stands at 2 i + half. */
static bool is_permuted(const struct conversion *c, const struct weight_row *row)
{
    return c->m->plan.family->gguf_pairs && row->scope == SCOPE_LAYER
           && (row->at == offsetof(struct layer_weights, q)
               || row->at == offsetof(struct layer_weights, k));
}

static size_t source_row(const struct conversion *c, size_t r)
{
    size_t hd = c->m->plan.head_dim, in = r % hd, head = r - in;
    return head + (c->to_hf ? in % (hd / 2) * 2 + in / (hd / 2) : in % 2 * (hd / 2) + in / 2);
}

static bool put_rows(struct conversion *c, const struct piece *p, const struct weight *w,
                     struct err *err)
{
    const struct qtype *type = piece_type(c, p);
    bool permuted = is_permuted(c, p->row);
    for (size_t r = 0; r < w->rows; r++) {
        const uint8_t *from = w->data + (permuted ? source_row(c, r) : r) * w->row_bytes;
        if (type == w->type) {
            if (!put(c, from, w->row_bytes, err))
                return false;
            continue;
        }
        w->type->dequant(c->row, from, w->cols);
        if (!put_floats(c, p, c->row, w->cols, type, err))
            return false;
    }
    return true;
}

bool piece_put(struct conversion *c, const struct piece *p, struct err *err)
{
    bool as_it_is = piece_type(c, p) == p->w->type && !is_permuted(c, p->row);
    if (is_vector(p))
        return put_vector(c, p, err);
    for (uint32_t e = 0; e < p->n; e++) {
        const struct weight *w = &p->w[e];
        if (!(as_it_is ? put_all(c, w->data, w->rows * w->row_bytes, err)
                       : put_rows(c, p, w, err)))
            return false;
    }
    return true;
}

/* The longest row decides. */
static bool measure(struct conversion *c, const struct piece *p, struct err *err)
{
    (void)err;
    c->done_bytes = p->w->cols > c->done_bytes ? p->w->cols : c->done_bytes;
    return true;
}

bool conversion_put_all(struct conversion *c, struct err *err)
{
    c->done_bytes = 0;
    bool ok = conversion_walk(c, measure, err);
    c->row = mem_take((size_t)c->done_bytes + 1, sizeof *c->row);
    c->out_row = mem_take((size_t)c->done_bytes + 1, sizeof(float));
    c->done_bytes = 0;
    if (!c->row || !c->out_row)
        ok = fail(err, ERR_MEMORY, "out of memory for a row");
    progress_begin(&c->bar, "converting", "MB", c->report->n_bytes / 1000000);
    ok = ok && conversion_walk(c, piece_put, err);
    progress_end(&c->bar);
    mem_give(c->row);
    mem_give(c->out_row);
    return ok;
}

/* plain / divisor must be the scaled frequency to the bit: the quotient's neighbours are
 * tried, as a rounded quotient does not always lead back. */
static float divisor_of(float plain, float scaled)
{
    float d = plain / scaled, tried = d;
    for (int step = 0; step < 8; step++) {
        if (plain / tried == scaled)
            return tried;
        tried = d;
        for (int i = 0; i <= step / 2; i++)
            tried = nextafterf(tried, step % 2 ? INFINITY : 0);
    }
    return d;
}

bool rope_to_freqs(const struct rope_plan *r, float *divisor)
{
    struct rope_plan plain = *r;
    size_t half = r->dims / 2;
    float scaled[512];
    plain.scaling = ROPE_PLAIN;
    if (half > sizeof scaled / sizeof *scaled)
        return false;
    plan_inv_freq(&plain, divisor);
    plan_inv_freq(r, scaled);
    for (size_t i = 0; i < half; i++)
        divisor[i] = divisor_of(divisor[i], scaled[i]);
    return true;
}

static double distance(const struct rope_plan *r, const float *divisor)
{
    float mine[512];
    double worst = 0;
    if (r->dims / 2 > 512 || !rope_to_freqs(r, mine))
        return INFINITY;
    for (size_t i = 0; i < r->dims / 2; i++)
        worst = fmax(worst, fabs((double)mine[i] / (double)divisor[i] - 1));
    return worst;
}

/*
 * The file holds only the divisors.  Of Llama 3's four numbers the factor is the largest of
 * them, low and high have been 1 and 4 in every model published, and the original context
 * is a power of two.
 */
bool rope_from_freqs(struct rope_plan *r, const float *divisor)
{
    struct rope_plan best = *r;
    double best_distance = INFINITY, largest = 0;
    for (size_t i = 0; i < r->dims / 2; i++)
        largest = fmax(largest, (double)divisor[i]);
    for (double context = 16; context <= 1 << 24; context *= 2) {
        struct rope_plan guess = *r;
        guess.scaling = ROPE_LLAMA3;
        guess.factor = config_shortest((double)(float)largest);
        guess.low = 1;
        guess.high = 4;
        guess.original_context = context;
        double d = distance(&guess, divisor);
        if (d < best_distance) {
            best = guess;
            best_distance = d;
        }
    }
    *r = best;
    return best_distance < 1e-6;
}
