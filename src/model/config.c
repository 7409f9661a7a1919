#include "model/config.h"

#include <inttypes.h>
#include <math.h>

json_t *config_json(const struct config *c, const char *key)
{
    json_t *v = c->json && key ? json_object_get(c->json, key) : NULL;
    return json_is_null(v) ? NULL : v;
}

const struct gguf_kv *config_gguf(const struct config *c, const char *key)
{
    char full[160];
    if (!c->gguf || !key)
        return NULL;
    snprintf(full, sizeof full, "%s.%s", c->arch, key);
    return gguf_find(c->gguf, full);
}

const char *config_hf_string(const struct config *c, const char *key)
{
    return json_string_value(config_json(c, key));
}

static bool json_number(json_t *v, double *out)
{
    if (json_is_boolean(v))
        *out = json_is_true(v);
    else if (json_is_number(v))
        *out = json_number_value(v);
    else
        return false;
    return true;
}

static bool not_a_number(const struct config *c, const char *key, struct err *err)
{
    return fail(err, ERR_FORMAT, "%s: %s is not a number where one is expected", c->file, key);
}

static bool list_gguf(const struct config *c, const char *key, const struct gguf_kv *kv,
                      uint64_t i, double *out, uint64_t *n, struct err *err)
{
    *n = kv->n;
    if (kv->type != GGUF_ARRAY)
        i = 0;
    if (i >= kv->n || !gguf_elem_f64(kv, i, out))
        return not_a_number(c, key, err);
    return true;
}

bool config_list(const struct config *c, const char *hf, const char *gguf, uint64_t i,
                 double *out, uint64_t *n, bool *found, struct err *err)
{
    const struct gguf_kv *kv = config_gguf(c, gguf);
    json_t *v = config_json(c, hf);
    *found = kv || v;
    if (kv)
        return list_gguf(c, gguf, kv, i, out, n, err);
    if (!v)
        return true;
    *n = json_is_array(v) ? json_array_size(v) : 1;
    if (json_is_array(v))
        v = json_array_get(v, (size_t)i);
    return (v && json_number(v, out)) || not_a_number(c, hf, err);
}

/* One number for all layers: a scalar, or a GGUF list whose elements agree. */
static bool read_number(const struct config *c, const char *hf, const char *gguf, double *out,
                        bool *found, struct err *err)
{
    uint64_t n = 1;
    if (!config_list(c, hf, gguf, 0, out, &n, found, err) || !*found)
        return !*found;
    for (uint64_t i = 1; i < n; i++) {
        double other;
        if (!config_list(c, hf, gguf, i, &other, &n, found, err))
            return false;
        if (other != *out)
            return fail(err, ERR_UNSUPPORTED, "%s: %s differs between layers (%g, %g); this build "
                        "needs one value", c->file, c->json ? hf : gguf, *out, other);
    }
    return true;
}

static void store(const struct config_key *k, void *into, double v)
{
    char *at = (char *)into + k->at;
    if (k->kind == CONFIG_U32)
        *(uint32_t *)(void *)at = (uint32_t)v;
    else if (k->kind == CONFIG_F64)
        *(double *)(void *)at = v;
    else if (k->kind == CONFIG_F32)
        *(float *)(void *)at = (float)v;
    else
        *(bool *)at = v != 0;
}

static bool read_key(const struct config *c, const struct config_key *k, void *into,
                     struct err *err)
{
    double v = 0;
    bool found = false;
    const char *name = c->json ? k->hf : k->gguf;
    if (!read_number(c, k->hf, k->gguf, &v, &found, err))
        return false;
    if (!found && k->hf_old && !read_number(c, k->hf_old, NULL, &v, &found, err))
        return false;
    if (!found)
        return !k->required || !name
               || fail(err, ERR_FORMAT, "%s: %s%s%s is missing", c->file,
                       c->json ? "" : c->arch, c->json ? "" : ".", name);
    if (!(v >= k->low && v <= k->high) || (k->kind == CONFIG_U32 && v != floor(v)))
        return fail(err, ERR_FORMAT, "%s: %s is %.17g; expected %s from %.10g to %.10g", c->file,
                    name, v, k->kind == CONFIG_U32 ? "a whole number" : "a number", k->low,
                    k->high);
    store(k, into, v);
    return true;
}

bool config_read(const struct config *c, const struct config_key *keys, void *into,
                 struct err *err)
{
    for (const struct config_key *k = keys; k->at != SIZE_MAX; k++)
        if (!read_key(c, k, into, err))
            return false;
    return true;
}
