#include "model/model.h"

#include "kern/kern.h"

#include <strings.h>

static const struct { const char *name; enum qtype_id experts, rest; } recipes[] = {
    { "k-exaone", QT_Q4_K, QT_Q8_0 },
};
enum { N_RECIPES = sizeof recipes / sizeof *recipes };

const char *recipe_name(size_t i)
{
    if (i < N_RECIPES)
        return recipes[i].name;
    i -= N_RECIPES;
    for (const struct qtype *t = qtypes; t->name; t++)
        if (encoder_find(t) && i-- == 0)
            return t->name;
    return NULL;
}

bool recipe_find(struct recipe *out, const char *name, struct err *err)
{
    for (size_t i = 0; i < N_RECIPES; i++)
        if (!strcasecmp(recipes[i].name, name)) {
            *out = (struct recipe){ recipes[i].name, qtype_find(recipes[i].experts),
                                    qtype_find(recipes[i].rest) };
            return true;
        }
    const struct qtype *t = qtype_named(name);
    if (t && encoder_find(t)) {
        *out = (struct recipe){ t->name, t, t };
        return true;
    }
    struct buf known = { 0 };
    for (size_t i = 0; recipe_name(i); i++)
        buf_printf(&known, "%s%s", i ? ", " : "", recipe_name(i));
    fail(err, ERR_USAGE, "\"%.40s\" is %s; known are %s", name,
         t ? "a type kexa reads but does not write" : "no type or recipe",
         known.at ? known.at : "?");
    buf_release(&known);
    return false;
}

static bool ends_in(const char *text, const char *tail)
{
    size_t n = strlen(text), k = strlen(tail);
    return n >= k && !strcmp(text + n - k, tail);
}

const struct qtype *recipe_type(const struct recipe *r, const char *tensor, uint32_t n_dims,
                                uint64_t cols)
{
    if (n_dims < 2 || !ends_in(tensor, ".weight") || ends_in(tensor, "norm.weight")
        || ends_in(tensor, "ffn_gate_inp.weight"))
        return qtype_find(QT_F32);
    const struct qtype *t = ends_in(tensor, "_exps.weight") ? r->experts : r->rest;
    if (cols % t->block == 0)
        return t;
    return qtype_find(cols % 32 || t->block == 32 ? QT_F16 : QT_Q8_0);
}

uint32_t recipe_file_type(const struct recipe *r)
{
    switch ((int)r->rest->id) {
    case QT_F32:  return 0;
    case QT_F16:  return 1;
    case QT_Q4_0: return 2;
    case QT_Q4_1: return 3;
    case QT_Q8_0: return 7;
    case QT_Q4_K: return 15;              /* "mostly Q4_K - medium" */
    case QT_Q6_K: return 18;
    case QT_BF16: return 32;
    default:      return 1024;            /* "guessed" */
    }
}
