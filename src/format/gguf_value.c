/* Metadata values: typed reads and printing. */
#include "format/gguf_head.h"
#include "format/show.h"

#include <math.h>

static const struct { const char *name; uint8_t n_bytes; bool is_signed; } types[N_GGUF_TYPES] = {
    [GGUF_U8] = { "u8", 1, false },       [GGUF_I8] = { "i8", 1, true },
    [GGUF_U16] = { "u16", 2, false },     [GGUF_I16] = { "i16", 2, true },
    [GGUF_U32] = { "u32", 4, false },     [GGUF_I32] = { "i32", 4, true },
    [GGUF_F32] = { "f32", 4, false },     [GGUF_BOOL] = { "bool", 1, false },
    [GGUF_STRING] = { "string", 0, false }, [GGUF_ARRAY] = { "array", 0, false },
    [GGUF_U64] = { "u64", 8, false },     [GGUF_I64] = { "i64", 8, true },
    [GGUF_F64] = { "f64", 8, false },
};

const char *gguf_type_name(enum gguf_type t)
{
    return types[t].name;
}

size_t gguf_type_bytes(enum gguf_type t)
{
    return types[t].n_bytes;
}

static bool is_integer(enum gguf_type t)
{
    return types[t].n_bytes && t != GGUF_F32 && t != GGUF_F64;
}

/* Element i's bits, sign-extended to 64. */
static uint64_t element_bits(const struct gguf_kv *kv, uint64_t i)
{
    size_t n = types[kv->elem].n_bytes;
    check(i < kv->n);
    uint64_t v = number_at(kv->raw.at + i * n, n);
    if (types[kv->elem].is_signed && n < 8 && v >> (8 * n - 1))
        v |= ~0ull << (8 * n);
    return v;
}

bool gguf_elem_u64(const struct gguf_kv *kv, uint64_t i, uint64_t *out)
{
    if (!is_integer(kv->elem))
        return false;
    uint64_t v = element_bits(kv, i);
    if (types[kv->elem].is_signed && (int64_t)v < 0)
        return false;
    *out = v;
    return true;
}

bool gguf_elem_f64(const struct gguf_kv *kv, uint64_t i, double *out)
{
    if (!types[kv->elem].n_bytes)
        return false;
    uint64_t v = element_bits(kv, i);
    if (kv->elem == GGUF_F32) {
        uint32_t low = (uint32_t)v;
        float f;
        memcpy(&f, &low, sizeof f);
        *out = (double)f;
    } else if (kv->elem == GGUF_F64) {
        memcpy(out, &v, sizeof *out);
    } else {
        *out = types[kv->elem].is_signed ? (double)(int64_t)v : (double)v;
    }
    return true;
}

static bool wrong_kind(const struct gguf *g, const struct gguf_kv *kv, const char *expected,
                       struct err *err)
{
    bool array = kv->type == GGUF_ARRAY;
    return fail(err, ERR_FORMAT, "%s: metadata key '%s' is %s%s, expected %s", g->path[0],
                SHOW(kv->key), array ? "an array of " : "a ", gguf_type_name(kv->elem), expected);
}

bool gguf_u64(const struct gguf *g, const char *key, uint64_t *out, bool *found, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    *found = kv != NULL;
    if (!kv)
        return true;
    if (kv->type == GGUF_ARRAY || kv->type == GGUF_BOOL || !is_integer(kv->type))
        return wrong_kind(g, kv, "an integer", err);
    return gguf_elem_u64(kv, 0, out) || wrong_kind(g, kv, "an integer that is not negative", err);
}

bool gguf_f64(const struct gguf *g, const char *key, double *out, bool *found, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    double v;
    *found = kv != NULL;
    if (!kv)
        return true;
    if (kv->type == GGUF_ARRAY || kv->type == GGUF_BOOL || !gguf_elem_f64(kv, 0, &v))
        return wrong_kind(g, kv, "a number", err);
    if (!isfinite(v))
        return fail(err, ERR_FORMAT, "%s: metadata key '%s' is %g, expected a finite number",
                    g->path[0], SHOW(kv->key), v);
    *out = v;
    return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out, bool *found, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    *found = kv != NULL;
    if (!kv)
        return true;
    if (kv->type != GGUF_BOOL)
        return wrong_kind(g, kv, "a bool", err);
    *out = kv->raw.at[0] != 0;
    return true;
}

bool gguf_string(const struct gguf *g, const char *key, struct bytes *out, bool *found,
                 struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    *found = kv != NULL;
    if (!kv)
        return true;
    if (kv->type != GGUF_STRING)
        return wrong_kind(g, kv, "a string", err);
    *out = kv->raw;
    return true;
}

bool gguf_next_string(struct bytes *at, struct bytes *out)
{
    struct cursor c = { *at, 0 };
    if (!read_string(&c, out))
        return false;
    *at = (struct bytes){ at->at + c.at, at->len - c.at };
    return true;
}

static void print_element(struct buf *out, const struct gguf_kv *kv, uint64_t i)
{
    double f;
    if (kv->elem == GGUF_BOOL)
        buf_text(out, kv->raw.at[i] ? "true" : "false");
    else if (is_integer(kv->elem) && types[kv->elem].is_signed)
        buf_printf(out, "%lld", (long long)element_bits(kv, i));
    else if (is_integer(kv->elem))
        buf_printf(out, "%llu", (unsigned long long)element_bits(kv, i));
    else if (gguf_elem_f64(kv, i, &f))
        buf_printf(out, "%.*g", kv->elem == GGUF_F32 ? 9 : 17, f);
}

void gguf_print(struct buf *out, const struct gguf_kv *kv)
{
    struct bytes at = kv->raw, text;
    if (kv->type == GGUF_STRING) {
        show_text(out, kv->raw);
        return;
    }
    if (kv->type != GGUF_ARRAY) {
        print_element(out, kv, 0);
        return;
    }
    buf_printf(out, "%llu x %s [", (unsigned long long)kv->n, gguf_type_name(kv->elem));
    uint64_t n = kv->elem == GGUF_ARRAY ? 0 : kv->n < 6 ? kv->n : 6;
    for (uint64_t i = 0; i < n; i++) {
        buf_text(out, i ? ", " : "");
        if (kv->elem != GGUF_STRING)
            print_element(out, kv, i);
        else if (gguf_next_string(&at, &text))
            buf_printf(out, "\"%s\"", SHOW(text));
    }
    buf_text(out, n == kv->n ? "]" : n ? ", ...]" : "...]");
}
