/* Windows of layers: the keys by which the families say them. */
#include "model/model.h"

bool config_window(const struct config *c, uint32_t *out, struct err *err)
{
    double v = 0;
    uint64_t n = 1;
    bool found = false;
    if (!config_list(c, "sliding_window", "attention.sliding_window", 0, &v, &n, &found, err))
        return false;
    if (!(v >= 0 && v <= (1 << 28)))
        return fail(err, ERR_FORMAT, "%s: sliding window %g; expected 0 to 2^28", c->file, v);
    *out = (uint32_t)v;
    return true;
}

/* layer_types[i], or letter i of "LLLG" repeated, or layer i of every `period`. */
static bool hf_slides(const struct config *c, uint32_t i, uint32_t period, bool *slides,
                      struct err *err)
{
    json_t *types = config_json(c, "layer_types");
    json_t *pattern = config_json(c, "sliding_window_pattern");
    if (json_is_array(types)) {
        const char *t = json_string_value(json_array_get(types, i));
        if (!t || (strcmp(t, "sliding_attention") && strcmp(t, "full_attention")))
            return fail(err, ERR_FORMAT, "%s: layer_types[%u] is %s; expected sliding_attention "
                        "or full_attention", c->file, i, t ? t : "missing");
        *slides = t[0] == 's';
    } else if (json_is_string(pattern) && json_string_length(pattern)) {
        *slides = json_string_value(pattern)[i % json_string_length(pattern)] == 'L';
    } else {
        json_int_t v = json_is_integer(pattern) ? json_integer_value(pattern) : period;
        *slides = v > 0 && (i + 1) % (uint64_t)v != 0;
    }
    return true;
}

/* A list with one truth value for each layer, or a period. */
static bool gguf_slides(const struct config *c, uint32_t i, uint32_t period, bool *slides,
                        struct err *err)
{
    const char *key = "attention.sliding_window_pattern";
    const struct gguf_kv *kv = config_gguf(c, key);
    bool list = kv && kv->type == GGUF_ARRAY, found = false;
    double v = period;
    uint64_t n = 1;
    *slides = false;
    if (list && i >= kv->n)               /* the MTP block, when the list ends before it */
        return true;
    if (!config_list(c, NULL, key, i, &v, &n, &found, err))
        return false;
    *slides = list ? v != 0 : v >= 1 && v <= UINT32_MAX && (i + 1) % (uint64_t)v != 0;
    return true;
}

bool config_layer_window(const struct config *c, uint32_t i, uint32_t period, uint32_t *out,
                         struct err *err)
{
    double v = 0;
    uint64_t n = 0;
    uint32_t window = 0;
    bool found = false, slides = false;
    if (!config_list(c, "sliding_windows", NULL, i, &v, &n, &found, err))
        return false;
    if (found) {
        *out = v >= 0 && v <= (1 << 28) ? (uint32_t)v : 0;
        return true;
    }
    if (!config_window(c, &window, err)
        || !(c->gguf ? gguf_slides(c, i, period, &slides, err)
                     : hf_slides(c, i, period, &slides, err)))
        return false;
    *out = slides ? window : 0;
    return true;
}
