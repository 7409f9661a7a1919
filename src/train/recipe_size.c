/* The dial, and what else follows from keys that were given. */
#include "train/recipe_keys.h"

#include <math.h>
#include <stdlib.h>

#define AT(f) recipe_key_at(offsetof(struct train_recipe, f))
#define GIVEN(r, f) recipe_given(r, AT(f))

struct size_row {
    double below;                         /* of N */
    uint32_t layers, experts, top_k, context;
};

/* The table of recipe_keys.h. */
static const struct size_row *find_row(uint64_t size)
{
    static const struct size_row rows[] = {
        { 1e6, 4, 8, 2, 256 }, { 4e6, 4, 16, 2, 512 }, { 20e6, 8, 16, 2, 1024 },
        { 60e6, 12, 16, 2, 1024 }, { 250e6, 16, 64, 5, 2048 }, { 2e9, 24, 64, 5, 4096 },
        { 8e9, 32, 128, 8, 8192 }, { INFINITY, 48, 128, 8, 8192 },
    };
    const struct size_row *row = rows;
    while ((double)size >= row->below)
        row++;
    return row;
}

static uint32_t round_to(double v, uint32_t step)
{
    double n = floor(v / step + 0.5);
    return n < 1 ? step : (uint32_t)n * step;
}

static void fill_heads(struct train_recipe *r, struct recipe_model *m)
{
    if (!GIVEN(r, model.head_dim))
        m->head_dim = m->hidden <= 64 ? 16 : m->hidden <= 192 ? 32 : m->hidden <= 1536 ? 64 : 128;
    if (!GIVEN(r, model.heads))
        m->heads = ((m->hidden + m->head_dim - 1) / m->head_dim + 1) / 2 * 2;
    if (!GIVEN(r, model.kv_heads)) {
        m->kv_heads = m->heads / 4 ? m->heads / 4 : 1;
        while (m->heads % m->kv_heads)
            m->kv_heads--;
    }
}

/* What follows from hidden. */
static void fill_widths(struct train_recipe *r, struct recipe_model *m)
{
    fill_heads(r, m);
    if (!GIVEN(r, model.ffn))
        m->ffn = 3 * m->hidden;
    if (!GIVEN(r, model.expert_ffn))
        m->expert_ffn = round_to(3.0 * m->hidden / (m->top_k + m->shared_experts), 32);
}

uint64_t recipe_layer_params(const struct recipe_model *m)
{
    uint64_t hidden = m->hidden, q = (uint64_t)m->heads * m->head_dim;
    uint64_t kv = (uint64_t)m->kv_heads * m->head_dim;
    uint64_t attention = hidden * (2 * q + 2 * kv) + 2 * m->head_dim + 2 * hidden;
    uint64_t dense = 3 * hidden * m->ffn;
    uint64_t sparse = 3 * hidden * m->expert_ffn * ((uint64_t)m->top_k + m->shared_experts)
                      + m->experts * (hidden + 1);
    uint64_t n_dense = m->experts && m->dense_layers < m->layers ? m->dense_layers : m->layers;
    return m->layers * attention + n_dense * dense + (m->layers - n_dense) * sparse;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* The width whose model is nearest to the dial; the smaller of two. */
static void fill_hidden(struct train_recipe *r, struct recipe_model *m)
{
    uint32_t best = 32;
    uint64_t nearest = UINT64_MAX;
    for (uint32_t h = 32; h <= 65536; h += h < 256 ? 32 : 64) {
        m->hidden = h;
        fill_widths(r, m);
        uint64_t d = distance(recipe_layer_params(m), m->size);
        if (d < nearest) {
            nearest = d;
            best = h;
        }
    }
    m->hidden = best;
}

static double two_digits(double v)
{
    char text[40];
    snprintf(text, sizeof text, "%.1e", v);
    return strtod(text, NULL);
}

/* 3e-4 at K-EXAONE's width; narrower models take more, with Muon more still. */
static double rate_of(enum recipe_optimizer_kind kind, uint32_t hidden)
{
    double root = sqrt(6144.0 / hidden);
    return two_digits(3e-4 * root * (kind == OPTIMIZER_MUON ? sqrt(root) : 1));
}

/* The power of two nearest to v, by ratio; rows of `context` tokens, at least one. */
static uint64_t batch_near(double v, uint32_t context)
{
    uint64_t p = 1;
    while ((double)p * (double)p * 2 < v * v)
        p *= 2;
    return p <= context ? context : p / context * context;
}

/* What the dial decides, for fields that were not given. */
static void apply_size(struct train_recipe *r)
{
    struct recipe_model *m = &r->model;
    const struct size_row *row = find_row(m->size);
    if (!GIVEN(r, model.layers))
        m->layers = row->layers;
    if (!GIVEN(r, model.experts))
        m->experts = row->experts;
    if (!GIVEN(r, model.top_k))
        m->top_k = m->experts && m->experts < row->top_k ? m->experts : row->top_k;
    if (!GIVEN(r, model.hidden))
        fill_hidden(r, m);
    fill_widths(r, m);
    if (!GIVEN(r, data.context))
        r->data.context = row->context;
    if (!GIVEN(r, optimizer.lr))
        r->optimizer.lr = rate_of(r->optimizer.kind, m->hidden);
    if (!GIVEN(r, run.batch_tokens))
        r->run.batch_tokens = batch_near(32768 * sqrt((double)m->size / 3e6), r->data.context);
}

static bool wrong(const struct train_recipe *r, size_t i, struct err *err, const char *text)
{
    char where[300];
    struct buf value = { 0 };
    recipe_where(r, i, where, sizeof where);
    recipe_value_text(r, i, 0, &value);
    fail(err, ERR_USAGE, "%s: %s.%s is %.80s, but %s", where, recipe_keys[i].section,
         recipe_keys[i].name, value.at && !value.failed ? value.at : "?", text);
    buf_release(&value);
    return false;
}

#define WRONG(f, ...) \
    (snprintf(text, sizeof text, __VA_ARGS__), wrong(r, AT(f), err, text))

static bool check_model(const struct train_recipe *r, struct err *err)
{
    const struct recipe_model *m = &r->model;
    char text[160];
    if (m->head_dim % 2)
        return WRONG(model.head_dim, "RoPE needs an even number");
    if (m->heads % m->kv_heads)
        return WRONG(model.kv_heads, "it must divide model.heads, which is %u", m->heads);
    if (m->experts && m->top_k > m->experts)
        return WRONG(model.top_k, "there are %u experts", m->experts);
    if (m->experts && m->dense_layers >= m->layers)
        return WRONG(model.dense_layers, "there are %u layers; for a dense model set "
                     "model.experts = 0", m->layers);
    return true;
}

static bool check_run(const struct train_recipe *r, struct err *err)
{
    char text[160];
    uint64_t rows = train_recipe_rows(r);
    if (r->run.batch_tokens % r->data.context || !rows)
        return WRONG(run.batch_tokens, "it must be a multiple of data.context, which is %u",
                     r->data.context);
    if (r->run.micro_rows > rows)
        return WRONG(run.micro_rows, "a step has only %llu rows", (unsigned long long)rows);
    if (r->schedule.warmup > r->run.steps)
        return WRONG(schedule.warmup, "the run has only %llu steps",
                     (unsigned long long)r->run.steps);
    if (!r->data.tokenizer && !r->model.vocab)
        return fail(err, ERR_USAGE, "%s: data.tokenizer is missing: the folder of the tokenizer "
                    "that packed the data", r->file);
    return true;
}

/* Steps and tokens, one from the other. */
static bool fill_length(struct train_recipe *r, struct err *err)
{
    struct recipe_run *run = &r->run;
    if (GIVEN(r, run.steps) && GIVEN(r, run.tokens))
        return wrong(r, AT(run.tokens), err, "run.steps is given too; one of the two is enough");
    if (!GIVEN(r, run.tokens) && !mul_u64(r->model.size, 20, &run->tokens))
        return wrong(r, AT(model.size), err, "20 tokens for each are too many");
    if (!GIVEN(r, run.steps))
        run->steps = run->tokens / run->batch_tokens + (run->tokens % run->batch_tokens != 0);
    if (!mul_u64(run->steps, run->batch_tokens, &run->tokens) || run->tokens >= 1ull << 62)
        return wrong(r, AT(run.batch_tokens), err, "times run.steps that is too many tokens");
    return true;
}

static uint64_t share_of(uint64_t n, uint64_t part)
{
    return n / part ? n / part : 1;
}

/* Tokens of a pass: few enough that a buffer of them stays in the cache. */
static uint64_t pass_tokens(const struct train_recipe *r)
{
    return r->model.hidden < 256 ? 524288 / r->model.hidden : 2048;
}

static void fill_run(struct train_recipe *r)
{
    struct recipe_run *run = &r->run;
    uint64_t rows = train_recipe_rows(r), pass = pass_tokens(r) / r->data.context;
    if (!GIVEN(r, run.micro_rows))
        run->micro_rows = (uint32_t)(pass < 1 || !rows ? 1 : pass < rows ? pass : rows);
    if (!GIVEN(r, schedule.warmup))
        r->schedule.warmup = run->steps / 50 < 2000 ? run->steps / 50 : 2000;
    if (!GIVEN(r, run.checkpoint_every))
        run->checkpoint_every = share_of(run->steps, 10);
    if (!GIVEN(r, run.eval_every))
        run->eval_every = share_of(run->steps, 20);
}

bool train_recipe_resolve(struct train_recipe *r, struct err *err)
{
    apply_size(r);
    if (!check_model(r, err) || !fill_length(r, err))
        return false;
    fill_run(r);
    return check_run(r, err);
}
