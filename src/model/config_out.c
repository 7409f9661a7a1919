#include "model/model.h"

#include <stdlib.h>

double config_shortest(double v)
{
    char text[40];
    if ((double)(float)v != v)
        return v;
    for (int digits = 1; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtof(text, NULL) == (float)v)
            return strtod(text, NULL);
    }
    return v;
}

static json_t *json_of(enum config_kind kind, double v)
{
    return kind == CONFIG_BOOL ? json_boolean(v != 0)
         : kind == CONFIG_U32 ? json_integer((json_int_t)v) : json_real(config_shortest(v));
}

static void put_json(struct config_out *out, const char *key, json_t *v)
{
    out->failed |= json_object_set_new(out->json, key, v) != 0;
}

static void gguf_key(const struct config_out *out, const char *key, char full[160])
{
    snprintf(full, 160, "%s.%s", out->arch, key);
}

void config_put_number(struct config_out *out, const char *hf, const char *gguf,
                       enum config_kind kind, double v)
{
    char key[160];
    if (out->json && hf)
        put_json(out, hf, json_of(kind, v));
    if (!out->gguf || !gguf)
        return;
    gguf_key(out, gguf, key);
    if (kind == CONFIG_U32)
        gguf_put_u32(out->gguf, key, (uint32_t)v);
    else if (kind == CONFIG_BOOL)
        gguf_put_bool(out->gguf, key, v != 0);
    else
        gguf_put_f32(out->gguf, key, (float)v);
}

void config_put_text(struct config_out *out, const char *hf, const char *gguf, const char *v)
{
    char key[160];
    if (out->json && hf)
        put_json(out, hf, json_string(v));
    if (!out->gguf || !gguf)
        return;
    gguf_key(out, gguf, key);
    gguf_put_string(out->gguf, key, bytes_of(v));
}

static void put_element(struct gguf_writer *w, enum config_kind kind, double v)
{
    uint32_t u = kind == CONFIG_U32 ? (uint32_t)v : 0;
    float f = (float)v;
    uint8_t b = v != 0;
    if (kind == CONFIG_U32)
        gguf_put_elem(w, GGUF_U32, &u);
    else if (kind == CONFIG_BOOL)
        gguf_put_elem(w, GGUF_BOOL, &b);
    else
        gguf_put_elem(w, GGUF_F32, &f);
}

void config_put_list(struct config_out *out, const char *hf, const char *gguf,
                     enum config_kind kind, const double *v, size_t n)
{
    char key[160];
    json_t *list = out->json && hf ? json_array() : NULL;
    for (size_t i = 0; list && i < n; i++)
        out->failed |= json_array_append_new(list, json_of(kind, v[i])) != 0;
    if (out->json && hf)
        put_json(out, hf, list);
    if (!out->gguf || !gguf)
        return;
    gguf_key(out, gguf, key);
    gguf_put_array(out->gguf, key, kind == CONFIG_U32 ? GGUF_U32 : kind == CONFIG_BOOL
                   ? GGUF_BOOL : GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        put_element(out->gguf, kind, v[i]);
}

static double load(const struct config_key *k, const void *from)
{
    const void *at = (const char *)from + k->at;
    switch (k->kind) {
    case CONFIG_U32: return *(const uint32_t *)at;
    case CONFIG_F64: return *(const double *)at;
    case CONFIG_F32: return (double)*(const float *)at;
    case CONFIG_BOOL: return *(const bool *)at;
    }
    check(!"kind");
}

void config_write(struct config_out *out, const struct config_key *keys, const void *from)
{
    for (const struct config_key *k = keys; k->at != SIZE_MAX; k++)
        config_put_number(out, k->hf, k->gguf, k->kind, load(k, from));
}

/* The one window of all sliding layers; 0: none slides. */
static bool one_window(const struct plan *p, uint32_t *window)
{
    *window = 0;
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        uint32_t w = p->layer[i].window;
        if (w && *window && w != *window)
            return false;
        *window = w ? w : *window;
    }
    return true;
}

/* The kinds of n layers, or their windows. */
static void put_json_layers(struct config_out *out, const char *key, const struct plan *p,
                            uint32_t first, uint32_t n, bool kinds)
{
    json_t *list = json_array();
    for (uint32_t i = first; i < first + n; i++) {
        uint32_t window = p->layer[i].window;
        json_t *v = !kinds ? json_integer(window)
                           : json_string(window ? "sliding_attention" : "full_attention");
        out->failed |= json_array_append_new(list, v) != 0;
    }
    put_json(out, key, list);
}

static void put_json_windows(struct config_out *out, const struct plan *p, bool one)
{
    put_json_layers(out, "layer_types", p, 0, p->n_layers, true);
    if (!one)
        put_json_layers(out, "sliding_windows", p, 0, p->n_layers, false);
    if (p->n_mtp)
        put_json_layers(out, "mtp_layer_types", p, p->n_layers, p->n_mtp, true);
    if (p->n_mtp && !one)
        put_json_layers(out, "mtp_sliding_windows", p, p->n_layers, p->n_mtp, false);
}

static bool put_gguf_windows(struct config_out *out, const struct plan *p, struct err *err)
{
    uint32_t n = plan_all_layers(p);
    while (n > p->n_layers && !p->layer[n - 1].window)
        n--;                              /* readers take a list of the main layers alone */
    double *slides = mem_take(n, sizeof *slides);
    if (!slides)
        return fail(err, ERR_MEMORY, "out of memory for %u layers", n);
    for (uint32_t i = 0; i < n; i++)
        slides[i] = p->layer[i].window != 0;
    config_put_list(out, NULL, "attention.sliding_window_pattern", CONFIG_BOOL, slides, n);
    mem_give(slides);
    return true;
}

bool config_put_windows(struct config_out *out, const struct plan *p, struct err *err)
{
    uint32_t window;
    bool one = one_window(p, &window);
    if (!one && out->gguf)
        return fail(err, ERR_UNSUPPORTED, "layers have windows of different lengths; GGUF has one "
                    "number for all of them");
    if (window)
        config_put_number(out, "sliding_window", "attention.sliding_window", CONFIG_U32, window);
    else if (out->json)
        put_json(out, "sliding_window", json_null());
    if (out->json)
        put_json_windows(out, p, one);
    return !out->gguf || put_gguf_windows(out, p, err);
}

static void put_positive(struct config_out *out, const char *key, double v)
{
    if (v > 0)
        config_put_number(out, key, NULL, CONFIG_F64, v);
}

static void put_json_rope(struct config_out *out, const struct rope_plan *r)
{
    static const char *const names[] = { "default", "linear", "llama3", "yarn" };
    put_json(out, "rope_theta", json_real(config_shortest(r->base)));
    if (r->scaling == ROPE_PLAIN) {
        put_json(out, "rope_scaling", json_null());
        return;
    }
    json_t *inner = json_object();
    struct config_out to = { .json = inner };
    config_put_text(&to, "rope_type", NULL, names[r->scaling]);
    config_put_number(&to, "factor", NULL, CONFIG_F64, r->factor);
    if (r->scaling == ROPE_LLAMA3) {
        config_put_number(&to, "low_freq_factor", NULL, CONFIG_F64, r->low);
        config_put_number(&to, "high_freq_factor", NULL, CONFIG_F64, r->high);
    }
    if (r->scaling != ROPE_LINEAR)
        config_put_number(&to, "original_max_position_embeddings", NULL, CONFIG_U32,
                          r->original_context);
    put_positive(&to, "beta_fast", r->beta_fast);
    put_positive(&to, "beta_slow", r->beta_slow);
    put_positive(&to, "attention_factor", r->attention_factor);
    out->failed |= to.failed;
    put_json(out, "rope_scaling", inner);
}

/* llama3 scaling is the tensor rope_freqs.weight in GGUF, not a key. */
static void put_rope(struct config_out *out, const struct rope_plan *r)
{
    if (out->json)
        put_json_rope(out, r);
    config_put_number(out, NULL, "rope.freq_base", CONFIG_F64, r->base);
    config_put_number(out, NULL, "rope.dimension_count", CONFIG_U32, r->dims);
    config_put_text(out, NULL, "rope.scaling.type", r->scaling == ROPE_LINEAR ? "linear"
                    : r->scaling == ROPE_YARN ? "yarn" : "none");
    if (r->scaling == ROPE_LINEAR || r->scaling == ROPE_YARN)
        config_put_number(out, NULL, "rope.scaling.factor", CONFIG_F64, r->factor);
    if (r->scaling == ROPE_YARN)
        config_put_number(out, NULL, "rope.scaling.original_context_length", CONFIG_U32,
                          r->original_context);
}

/* The family's keys; GGUF counts the MTP blocks among the blocks. */
static void put_family_keys(struct config_out *out, const struct plan *p)
{
    struct plan counted = *p;
    if (out->gguf)
        counted.n_layers = plan_all_layers(p);
    config_write(out, p->family->keys, &counted);
}

bool config_write_plan(struct config_out *out, const struct plan *p, struct err *err)
{
    config_write(out, config_common_keys, p);
    config_put_number(out, NULL, "attention.value_length", CONFIG_U32, p->head_dim);
    put_family_keys(out, p);
    put_rope(out, &p->rope[0]);
    if (p->family->describe && !p->family->describe(p, out, err))
        return false;
    return !out->failed || fail(err, ERR_MEMORY, "out of memory for the model's description");
}
