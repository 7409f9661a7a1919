/* The model of a recipe as the description of another: model.init_from. */
#include "train/checkpoint.h"
#include "train/first_weights.h"
#include "train/recipe_keys.h"
#include "model/model.h"

#include <stdio.h>

#define ORIGIN "model.init_from"
#define AT(f) recipe_key_at(offsetof(struct train_recipe, f))

/* ---- reading ------------------------------------------------------------------------- */

static bool plan_of_checkpoint(json_t **config, struct plan *p, const char *path, struct err *err)
{
    json_t *head = NULL;
    uint64_t step;
    if (!checkpoint_read_head(path, &step, &head, err))
        return false;
    struct config c = { .file = path, .json = json_object_get(head, "config") };
    const char *type = c.json ? config_hf_string(&c, "model_type") : NULL;
    bool ok = type && strlen(type) < sizeof c.arch;
    if (ok) {
        snprintf(c.arch, sizeof c.arch, "%s", type);
        ok = plan_read(p, &c, err);
    } else
        fail(err, ERR_FORMAT, "%s: its head does not describe a model", path);
    *config = ok ? json_incref(c.json) : NULL;
    json_decref(head);
    return ok;
}

/* A folder or config.json.  *p is then the caller's. */
static bool plan_of_model(json_t **config, struct plan *p, const char *path, struct err *err)
{
    struct model m;
    if (!model_open_plan(&m, path, err))
        return false;
    bool ok = m.json || fail(err, ERR_UNSUPPORTED, "%s: training needs the Hugging Face order of q "
                             "and k; `kexa convert %s FOLDER` makes a folder of this file", path,
                             path);
    if (ok) {
        *config = json_incref(m.json);
        *p = m.plan;
        m.plan = (struct plan){ 0 };
    }
    model_close(&m);
    return ok;
}

static bool refuse_run(const char *path, struct err *err)
{
    struct buf begun = { 0 };
    buf_printf(&begun, "%s/run.recipe", path);
    bool ok = buf_ok(&begun, err);
    if (ok && file_exists(begun.at))
        ok = fail(err, ERR_USAGE, "%s is the folder of a run; " ORIGIN " takes its model, "
                  "%s/final, or one of %s/checkpoints", path, path, path);
    buf_release(&begun);
    return ok;
}

/* ---- into the recipe ----------------------------------------------------------------- */

/* Key i is v, in the model to begin with; a recipe that says another is refused. */
static bool take(struct train_recipe *r, size_t i, double v, const char *from, struct err *err)
{
    struct buf said = { 0 }, is = { 0 };
    char where[300], text[40];
    bool given = recipe_given(r, i);
    recipe_where(r, i, where, sizeof where);
    recipe_value_text(r, i, 0, &said);
    snprintf(text, sizeof text, "%.17g", v);
    bool ok = buf_ok(&said, err) && recipe_value_put(r, i, from, text, err);
    recipe_value_text(r, i, 0, &is);
    ok = ok && buf_ok(&is, err);
    if (ok && given && strcmp(said.at, is.at))
        ok = fail(err, ERR_USAGE, "%s: model.%s is %s, but %s, which " ORIGIN " names, has %s; "
                  "leave the key out", where, recipe_keys[i].name, said.at, from, is.at);
    if (!given)
        r->option[i] = ORIGIN;
    buf_release(&said);
    buf_release(&is);
    return ok;
}

static uint32_t first_sparse(const struct plan *p)
{
    uint32_t i = 0;
    while (i < p->n_layers && !p->layer[i].sparse)
        i++;
    return i;
}

/* The width of its windows; 0: none. */
static uint32_t window_of(const struct plan *p)
{
    uint32_t i = 0;
    while (i < p->n_layers && !p->layer[i].window)
        i++;
    return i < p->n_layers ? p->layer[i].window : 0;
}

static bool is_global_every(const struct plan *p, uint32_t every)
{
    for (uint32_t i = 0; i < p->n_layers; i++)
        if ((p->layer[i].window == 0) != (every && (i + 1) % every == 0))
            return false;
    return true;
}

/* Every how many layers one is global: as the recipe says where that is the same, otherwise the
 * first one's place. */
static uint32_t global_every(const struct train_recipe *r, const struct plan *p)
{
    uint32_t said = r->model.global_every, i = 0;
    if (!window_of(p) || (recipe_given(r, AT(model.global_every)) && is_global_every(p, said)))
        return said;
    while (i < p->n_layers && p->layer[i].window)
        i++;
    return i < p->n_layers ? i + 1 : 0;
}

struct shape_value {
    size_t key;
    double value;
};

static bool take_all(struct train_recipe *r, const struct shape_value *v, size_t n,
                     const char *from, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!take(r, v[i].key, v[i].value, from, err))
            return false;
    return true;
}

static bool take_plan(struct train_recipe *r, const struct plan *p, const char *from,
                      struct err *err)
{
    uint32_t sparse = first_sparse(p);
    bool experts = sparse < p->n_layers;
    const struct shape_value all[] = {
        { AT(model.vocab), p->vocab }, { AT(model.layers), p->n_layers },
        { AT(model.hidden), p->hidden }, { AT(model.heads), p->n_heads },
        { AT(model.kv_heads), p->n_kv_heads }, { AT(model.head_dim), p->head_dim },
        { AT(model.ffn), p->ffn }, { AT(model.mtp), p->n_mtp },
        { AT(model.experts), experts ? p->router.n : 0 }, { AT(model.window), window_of(p) },
        { AT(model.global_every), global_every(r, p) }, { AT(model.rope_theta), p->rope[0].base },
        { AT(model.eps), p->eps },
    };
    const struct shape_value of_experts[] = {
        { AT(model.top_k), p->router.top_k }, { AT(model.shared_experts), p->n_shared },
        { AT(model.expert_ffn), p->expert_ffn }, { AT(model.dense_layers), sparse },
        { AT(model.route_scale), config_shortest((double)p->router.scale) },
    };
    if (!take_all(r, all, sizeof all / sizeof *all, from, err)
        || (experts && !take_all(r, of_experts, sizeof of_experts / sizeof *of_experts, from,
                                 err)))
        return false;
    uint64_t size = recipe_layer_params(&r->model);
    return recipe_given(r, AT(model.size)) || size < 10000
           || take(r, AT(model.size), (double)size, from, err);
}

/* The description that the run writes: what only its weights said, and its own context and type. */
static bool keep_config(struct train_recipe *r, const json_t *config, const struct plan *p,
                        struct err *err)
{
    json_t *c = json_deep_copy(config);
    if (!c || (p->n_mtp && json_object_set_new(c, "num_nextn_predict_layers",
                                               json_integer(p->n_mtp)))) {
        json_decref(c);
        return fail(err, ERR_MEMORY, "out of memory for the model's description");
    }
    json_decref(r->config);
    r->config = c;
    r->config_context = p->context;
    return true;
}

bool train_recipe_begin_from(struct train_recipe *r, const char *from, struct err *err)
{
    json_t *config = NULL;
    struct plan p = { 0 };
    bool ok = first_weights_in_checkpoint(from) ? plan_of_checkpoint(&config, &p, from, err)
              : refuse_run(from, err) && plan_of_model(&config, &p, from, err);
    ok = ok && take_plan(r, &p, from, err) && keep_config(r, config, &p, err);
    plan_release(&p);
    json_decref(config);
    return ok;
}
