/* The model of a recipe, as config.json of the exaone_moe family. */
#include "train/train_recipe.h"

#include <stdio.h>

bool train_recipe_vocab(const struct train_recipe *r, uint32_t n_tokens, uint32_t *out,
                        struct err *err)
{
    if (r->model.vocab && r->model.vocab < n_tokens)
        return fail(err, ERR_USAGE, "%s: model.vocab is %u%s, but the tokenizer has %u tokens",
                    r->file, r->model.vocab, r->config ? " in the model to begin with" : "",
                    n_tokens);
    *out = r->model.vocab ? r->model.vocab : n_tokens;
    return true;
}

static bool is_global(const struct recipe_model *m, uint32_t layer)
{
    return !m->window || (m->global_every && (layer + 1) % m->global_every == 0);
}

static bool is_dense(const struct recipe_model *m, uint32_t layer)
{
    return !m->experts || layer < m->dense_layers;
}

/* One word for each layer. */
static json_t *words(uint32_t n, const struct recipe_model *m,
                     bool (*is)(const struct recipe_model *m, uint32_t layer), const char *yes,
                     const char *no)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_string(is(m, i) ? yes : no))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* A dense model is one of which no layer is sparse; the router's keys must stand there. */
static json_t *expert_keys(const struct recipe_model *m)
{
    uint32_t n = m->experts ? m->experts : 1, k = m->experts ? m->top_k : 1;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:b, s:i, s:i, s:f, s:s, s:s, s:o}",
                     "num_experts", (int)n, "num_experts_per_tok", (int)k,
                     "num_shared_experts", (int)m->shared_experts,
                     "moe_intermediate_size", (int)m->expert_ffn,
                     "first_k_dense_replace", (int)(m->experts ? m->dense_layers : m->layers),
                     "norm_topk_prob", 1, "n_group", 1, "topk_group", 1,
                     "routed_scaling_factor", m->route_scale, "scoring_func", "sigmoid",
                     "topk_method", "noaux_tc", "mlp_layer_types",
                     words(m->layers, m, is_dense, "dense", "sparse"));
}

static json_t *shape_keys(const struct train_recipe *r, uint32_t vocab)
{
    const struct recipe_model *m = &r->model;
    return json_pack("{s:[s], s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:i, s:i, s:b,"
                     " s:f, s:f, s:n, s:o, s:i}",
                     "architectures", "ExaoneMoeForCausalLM", "model_type", "exaone_moe",
                     "dtype", r->run.dtype == TRAIN_BF16 ? "bfloat16" : "float32",
                     "hidden_size", (int)m->hidden, "intermediate_size", (int)m->ffn,
                     "num_hidden_layers", (int)m->layers, "num_attention_heads", (int)m->heads,
                     "num_key_value_heads", (int)m->kv_heads, "head_dim", (int)m->head_dim,
                     "hidden_act", "silu", "rms_norm_eps", m->eps, "vocab_size", (int)vocab,
                     "max_position_embeddings", (int)r->data.context, "tie_word_embeddings", 0,
                     "initializer_range", m->init_std, "rope_theta", m->rope_theta,
                     "rope_scaling", "layer_types",
                     words(m->layers, m, is_global, "full_attention", "sliding_attention"),
                     "num_nextn_predict_layers", (int)m->mtp);
}

static bool add_windows(json_t *to, const struct recipe_model *m)
{
    json_t *window = m->window ? json_integer(m->window) : json_null();
    bool failed = json_object_set_new(to, "sliding_window", window) != 0;
    if (m->mtp)
        failed |= json_object_set_new(to, "mtp_layer_types", json_pack("[s]", "full_attention"))
                  != 0;
    return !failed;
}

/* The model to begin with, for rows that may be longer. */
static json_t *begun_config(const struct train_recipe *r, struct err *err)
{
    json_t *c = json_deep_copy(r->config);
    uint32_t context = r->data.context > r->config_context ? r->data.context : r->config_context;
    if (c && !json_object_set_new(c, "max_position_embeddings", json_integer(context)))
        return c;
    json_decref(c);
    fail(err, ERR_MEMORY, "out of memory for the model's description");
    return NULL;
}

json_t *train_recipe_config(const struct train_recipe *r, uint32_t vocab, struct err *err)
{
    if (r->config)
        return begun_config(r, err);
    json_t *all = shape_keys(r, vocab), *experts = expert_keys(&r->model);
    bool ok = all && experts && !json_object_update(all, experts) && add_windows(all, &r->model);
    json_decref(experts);
    if (ok)
        return all;
    json_decref(all);
    fail(err, ERR_MEMORY, "out of memory for the model's description");
    return NULL;
}

bool train_recipe_plan(struct plan *out, const struct train_recipe *r, uint32_t vocab,
                       struct err *err)
{
    struct config c = { .file = r->file, .json = train_recipe_config(r, vocab, err) };
    bool ok = c.json != NULL;
    if (ok) {
        snprintf(c.arch, sizeof c.arch, "%s", config_hf_string(&c, "model_type"));
        ok = plan_read(out, &c, err);
    }
    json_decref(c.json);
    return ok;
}
