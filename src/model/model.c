/* Opening a model: source, plan, weights, tokenizer, kernels, threads. */
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>

enum { CONFIG_BYTES_MAX = 16 << 20 };

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), k = strlen(tail);
    return n >= k && !strcmp(text + n - k, tail);
}

/* The config of an open GGUF file. */
static bool gguf_config(struct model *m, struct config *c, struct err *err)
{
    struct bytes arch = { 0 };
    bool found = false;
    *c = (struct config){ .file = m->path, .gguf = &m->gguf };
    if (!gguf_string(&m->gguf, "general.architecture", &arch, &found, err))
        return false;
    if (!found || arch.len == 0 || arch.len >= sizeof c->arch)
        return fail(err, ERR_FORMAT, "%s: general.architecture is %s; expected the model family's "
                    "name", m->path, found ? "empty or too long" : "missing");
    memcpy(c->arch, arch.at, arch.len);
    return true;
}

static bool json_config(struct model *m, struct config *c, const char *path, struct err *err)
{
    m->json = json_load_path(path, CONFIG_BYTES_MAX, err);
    if (!m->json)
        return false;
    *c = (struct config){ .file = m->path, .json = m->json };
    const char *type = config_hf_string(c, "model_type");
    if (!json_is_object(m->json) || !type || strlen(type) >= sizeof c->arch)
        return fail(err, ERR_FORMAT, "%s: no model_type; expected a Hugging Face config.json",
                    path);
    memcpy(c->arch, type, strlen(type) + 1);
    c->mtp_weights = tensors_find(&m->safetensors.tensors, "mtp.fc.weight") != NULL;
    return true;
}

static bool open_folder(struct model *m, struct config *c, struct err *err)
{
    char path[4200];
    int n = snprintf(path, sizeof path, "%s/config.json", m->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return fail(err, ERR_USAGE, "the path of the model is too long (%zu bytes)",
                    strlen(m->path));
    if (!file_exists(path))
        return fail(err, ERR_IO, "%s: a folder without config.json; expected a Hugging Face "
                    "model folder or a .gguf file", m->path);
    return safetensors_open(&m->safetensors, m->path, err) && json_config(m, c, path, err);
}

static bool open_source(struct model *m, struct config *c, struct err *err)
{
    if (file_is_dir(m->path))
        return open_folder(m, c, err);
    if (ends_with(m->path, ".json"))
        return json_config(m, c, m->path, err);
    return gguf_open(&m->gguf, m->path, err) && gguf_config(m, c, err);
}

static const struct tensors *tensors_of(const struct model *m)
{
    return m->gguf.n_files ? &m->gguf.tensors : &m->safetensors.tensors;
}

bool model_open_plan(struct model *m, const char *path, struct err *err)
{
    struct config c;
    *m = (struct model){ .path = mem_copy_text(path, strlen(path)) };
    bool ok = m->path || fail(err, ERR_MEMORY, "out of memory");
    ok = ok && open_source(m, &c, err) && plan_read(&m->plan, &c, err);
    if (!ok) {
        model_close(m);
        return false;
    }
    const struct tensors *t = tensors_of(m);
    for (size_t i = 0; i < t->n; i++)
        m->weight_bytes += t->at[i].n_bytes;
    return true;
}

/* inv_freq by the plan, then divided by the file's rope_freqs if it has them. */
static bool take_ropes(struct model *m, struct err *err)
{
    for (uint32_t i = 0; i < m->plan.n_ropes; i++) {
        size_t half = m->plan.rope[i].dims / 2;
        float *f = m->inv_freq[i] = mem_take(half + 1, sizeof *f);
        if (!f)
            return fail(err, ERR_MEMORY, "out of memory");
        plan_inv_freq(&m->plan.rope[i], f);
        for (size_t p = 0; m->weights.rope_freqs.data && p < half; p++)
            f[p] /= weight_f32(&m->weights.rope_freqs)[p];
    }
    return true;
}

static bool open_tokenizer(struct model *m, struct err *err)
{
    m->tokenizer = m->gguf.n_files ? tokenizer_open_gguf(&m->gguf, m->path, &m->no_tokenizer)
                                   : tokenizer_open_hf(m->path, &m->no_tokenizer);
    if (!m->tokenizer && m->no_tokenizer.code == ERR_MEMORY)
        return fail(err, ERR_MEMORY, "%s", m->no_tokenizer.msg);
    if (m->tokenizer && tokenizer_size(m->tokenizer) > m->plan.vocab)
        return fail(err, ERR_FORMAT, "%s: the tokenizer has %u tokens, the embedding only %u rows; "
                    "they do not belong together", m->path, tokenizer_size(m->tokenizer),
                    m->plan.vocab);
    return true;
}

bool model_bind(struct model *m, int n_threads, enum model_numerics numerics, struct err *err)
{
    const struct tensors *t = tensors_of(m);
    if (!t->n)
        return fail(err, ERR_USAGE, "%s: a description without weights; give the folder or the "
                    ".gguf file to run it", m->path);
    return weights_bind(&m->weights, &m->plan, t, !m->gguf.n_files, m->path, err)
           && open_tokenizer(m, err) && model_ready(m, n_threads, numerics, err);
}

bool model_ready(struct model *m, int n_threads, enum model_numerics numerics, struct err *err)
{
    m->numerics = numerics;
    m->kern = kern_get(cpu_level_chosen());
    if (!take_ropes(m, err))
        return false;
    m->pool = pool_open(n_threads, err);
    return m->pool != NULL;
}

void model_close(struct model *m)
{
    pool_close(m->pool);
    workspace_release(&m->ws);
    tokenizer_close(m->tokenizer);
    for (uint32_t i = 0; i < ROPES_MAX; i++)
        mem_give(m->inv_freq[i]);
    if (m->weights.memory.low)
        weights_release(&m->weights);
    plan_release(&m->plan);
    safetensors_close(&m->safetensors);
    gguf_close(&m->gguf);
    json_decref(m->json);
    mem_give(m->path);
    *m = (struct model){ 0 };
}

void model_name(const struct model *m, char *out, size_t cap)
{
    struct bytes name = { 0 };
    bool found = false;
    if (m->gguf.n_files && gguf_string(&m->gguf, "general.name", &name, &found, NULL) && found) {
        snprintf(out, cap, "%s", SHOW(name));
        return;
    }
    size_t end = strlen(m->path), begin;
    while (end > 1 && m->path[end - 1] == '/')
        end--;
    for (begin = end; begin && m->path[begin - 1] != '/';)
        begin--;
    snprintf(out, cap, "%.*s", (int)(end - begin), m->path + begin);
}
