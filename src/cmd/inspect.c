/* inspect: what a model is and what it would take, without loading it. */
#include "cmd/commands.h"
#include "cmd/shared_options.h"
#include "run/run.h"

#include <inttypes.h>

struct inspect_args {
    const char *model, *kv_type;
    int64_t ctx;
    bool json, metadata, tensors;
};

/* Everything that is shown, as one JSON object; the text is printed from it. */
struct inspection {
    const struct inspect_args *args;
    struct model *m;
    struct memory_plan mp;
    struct weight_counts counts;
    uint64_t touched_bytes;               /* 0: a description without weights */
};

static const char *norms_word(const struct plan *p)
{
    return p->norms == NORM_PRE ? "before" : p->norms == NORM_POST ? "after" : "both";
}

static const char *act_word(const struct plan *p)
{
    return p->act == ACT_GELU ? "gelu_tanh" : "silu";
}

static const char *scaling_word(const struct rope_plan *r)
{
    static const char *const words[] = {
        [ROPE_PLAIN] = "none", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3",
        [ROPE_YARN] = "yarn"
    };
    return words[r->scaling];
}

static json_t *ropes_json(const struct plan *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->n_ropes; i++)
        json_array_append_new(list, json_pack("{s:f, s:s, s:f, s:i}", "base", p->rope[i].base,
                                              "scaling", scaling_word(&p->rope[i]), "factor",
                                              p->rope[i].scaling ? p->rope[i].factor : 1.0,
                                              "dims", (int)p->rope[i].dims));
    return list;
}

static json_t *layer_json(const struct plan *p, uint32_t i)
{
    const struct layer_plan *l = &p->layer[i];
    return json_pack("{s:i, s:b, s:i, s:b, s:f, s:b, s:s, s:i, s:i, s:i, s:f}",
                     "layer", (int)i, "mtp", plan_is_mtp(p, i), "window", (int)l->window,
                     "rope", l->rope, "rope_base", l->rope ? p->rope[l->rope_at].base : 0.0,
                     "qk_norm", l->qk_norm,
                     "ffn", l->sparse ? "experts" : "dense", "width", (int)l->ffn,
                     "experts_per_token", l->sparse ? (int)p->router.top_k : 0,
                     "shared_width", (int)l->shared_ffn, "swiglu_limit", (double)l->swiglu_limit);
}

static json_t *plan_json(const struct plan *p)
{
    json_t *layers = json_array();
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        json_array_append_new(layers, layer_json(p, i));
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f, s:f, s:s, s:s, s:f, "
                     "s:f, s:o, s:i, s:o}",
                     "hidden", (int)p->hidden, "layers", (int)p->n_layers,
                     "mtp_layers", (int)p->n_mtp, "heads", (int)p->n_heads,
                     "kv_heads", (int)p->n_kv_heads, "head_dim", (int)p->head_dim,
                     "vocabulary", (int)p->vocab, "context", (int)p->context,
                     "tied_embeddings", p->tied, "rms_norm_eps", p->eps,
                     "rope_base", p->rope[0].base, "norms", norms_word(p),
                     "activation", act_word(p), "embed_scale", (double)p->embed_scale,
                     "attn_scale", (double)p->attn_scale, "ropes", ropes_json(p),
                     "experts", (int)p->router.n,
                     "per_layer", layers);
}

static json_t *memory_json(const struct inspection *x)
{
    const struct memory_plan *mp = &x->mp;
    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
                     "context_tokens", (json_int_t)mp->context,
                     "kv_type", kv_type_name(mp->kv_type),
                     "weights_bytes", (json_int_t)mp->weights,
                     "kv_global_bytes_per_token", (json_int_t)mp->kv.per_token_global,
                     "kv_global_bytes", (json_int_t)mp->kv.global,
                     "kv_windows_bytes", (json_int_t)mp->kv.windows,
                     "kv_rings_bytes", (json_int_t)mp->kv.rings,
                     "kv_mtp_bytes", (json_int_t)mp->kv.mtp,
                     "snapshot_bytes", (json_int_t)mp->snapshot,
                     "snapshots", (json_int_t)mp->n_snapshots,
                     "step_bytes", (json_int_t)mp->step,
                     "total_bytes", (json_int_t)mp->total,
                     "available_bytes", mp->available == UINT64_MAX
                                        ? json_null() : json_integer((json_int_t)mp->available));
}

static json_t *tensors_json(const struct model *m)
{
    const struct tensors *t = m->gguf.n_files ? &m->gguf.tensors : &m->safetensors.tensors;
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++) {
        json_t *shape = json_array();
        for (uint32_t d = t->at[i].n_dims; d > 0; d--)
            json_array_append_new(shape, json_integer((json_int_t)t->at[i].ne[d - 1]));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I}", "name", t->at[i].name,
                                              "type", t->at[i].type_name, "shape", shape,
                                              "bytes", (json_int_t)t->at[i].n_bytes));
    }
    return list;
}

static json_t *metadata_json(const struct model *m)
{
    json_t *o = json_object();
    struct buf text = { 0 };
    for (size_t i = 0; i < m->gguf.n_kv; i++) {
        const struct gguf_kv *kv = &m->gguf.kv[i];
        buf_clear(&text);
        gguf_print(&text, kv);
        json_object_setn_new(o, (const char *)kv->key.at, kv->key.len,
                             json_stringn(text.at ? text.at : "", text.len));
    }
    buf_release(&text);
    return o;
}

static json_t *inspection_json(const struct inspection *x)
{
    char name[256];
    model_name(x->m, name, sizeof name);
    json_t *o = json_pack("{s:s, s:s, s:s, s:{s:I, s:I, s:I, s:I}, s:o, s:o, s:o}",
                          "file", x->m->path, "name", name, "family", x->m->plan.family->name,
                          "parameters", "main", (json_int_t)x->counts.main,
                          "mtp", (json_int_t)x->counts.mtp,
                          "total", (json_int_t)(x->counts.main + x->counts.mtp),
                          "touched_per_token", (json_int_t)x->counts.touched,
                          "weight_bytes_per_token", x->touched_bytes
                              ? json_integer((json_int_t)x->touched_bytes) : json_null(),
                          "plan", plan_json(&x->m->plan), "memory", memory_json(x));
    if (o && (x->args->metadata || x->args->json) && x->m->gguf.n_files)
        json_object_set_new(o, "metadata", metadata_json(x->m));
    if (o && x->args->tensors)
        json_object_set_new(o, "tensors", tensors_json(x->m));
    return o;
}

static bool same_layer(const struct plan *p, uint32_t a, uint32_t b)
{
    return plan_is_mtp(p, a) == plan_is_mtp(p, b)
           && !memcmp(&p->layer[a], &p->layer[b], sizeof p->layer[a]);
}

/* The layers that are like layer i, as "1-2, 4-6"; marks them in seen. */
static void print_like(const struct plan *p, uint32_t i, bool *seen)
{
    char list[64] = "";
    uint32_t n = 0, shown = 0;
    for (uint32_t j = i; j < plan_all_layers(p); j++) {
        if (!same_layer(p, i, j))
            continue;
        uint32_t end = j;
        while (end + 1 < plan_all_layers(p) && same_layer(p, i, end + 1))
            end++;
        for (uint32_t k = j; k <= end; k++)
            seen[k] = true;
        n += end - j + 1;
        size_t len = strlen(list);
        if (shown++ < 4 && len < sizeof list)
            snprintf(list + len, sizeof list - len, end > j ? "%s%u-%u" : "%s%u",
                     shown > 1 ? "," : "", j, end);
        j = end;
    }
    if (shown > 4 && strlen(list) < sizeof list - 4)
        strcat(list, "...");
    const struct layer_plan *l = &p->layer[i];
    char window[32] = "all", ffn[80], rope[32] = "no";
    if (l->rope)
        snprintf(rope, sizeof rope, "%.3g", p->rope[l->rope_at].base);
    if (l->window)
        snprintf(window, sizeof window, "%u", l->window);
    if (l->sparse)
        snprintf(ffn, sizeof ffn, "%u of %u experts x %u%s", p->router.top_k, p->router.n,
                 l->ffn, l->shared_ffn ? " + shared" : "");
    else
        snprintf(ffn, sizeof ffn, "dense %u", l->ffn);
    printf("  %-5u %-20s %-9s %-6s %-8s %s\n", n, list, window, rope,
           l->qk_norm ? "yes" : "no", ffn);
}

static bool print_layers(const struct plan *p, struct err *err)
{
    bool *seen = mem_take(plan_all_layers(p), sizeof *seen);
    if (!seen)
        return fail(err, ERR_MEMORY, "out of memory");
    printf("\n  count layers               sees      RoPE   QK norm  FFN\n");
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        if (plan_is_mtp(p, i) && (i == p->n_layers))
            printf("  multi-token prediction:\n");
        if (!seen[i])
            print_like(p, i, seen);
    }
    mem_give(seen);
    return true;
}

static void print_size(const char *label, uint64_t bytes)
{
    struct buf b = { 0 };
    put_size(&b, bytes);
    printf("  %-34s %12s   %" PRIu64 "\n", label, b.at ? b.at : "?", bytes);
    buf_release(&b);
}

static void print_memory(const struct inspection *x)
{
    const struct memory_plan *mp = &x->mp;
    char label[64];
    printf("\nmemory for one session of %u tokens, KV in %s\n", mp->context,
           kv_type_name(mp->kv_type));
    if (mp->weights) {
        print_size("weights (mapped)", mp->weights);
    } else {
        uint64_t n = x->counts.main + x->counts.mtp;
        print_size("weights, were they BF16", n * 2);
        print_size("weights, were they Q8_0", n / 32 * 34);
        print_size("weights, were they Q4_K", n / 256 * 144);
    }
    print_size("KV of global layers, per token", mp->kv.per_token_global);
    print_size("KV of global layers", mp->kv.global);
    if (mp->kv.windows) {
        print_size("KV of all windows", mp->kv.windows);
        print_size("  as rings for steps of 256", mp->kv.rings);
    }
    if (mp->kv.mtp)
        print_size("KV of MTP, when it is used", mp->kv.mtp);
    if (mp->snapshot) {
        print_size("a snapshot to go back to", mp->snapshot);
        snprintf(label, sizeof label, "  %u of them at most", mp->n_snapshots);
        print_size(label, mp->n_snapshots * mp->snapshot);
    }
    print_size("one step", mp->step);
    print_size(mp->weights ? "in all" : "in all, without weights", mp->total);
    if (mp->available != UINT64_MAX)
        print_size("available here", mp->available);
}

/* How the sublayers do it; scalings and the embedding's factor where there are any. */
static void print_manner(const struct plan *p)
{
    static const char *const where[] = {
        [NORM_PRE] = "before", [NORM_POST] = "after", [NORM_BOTH] = "before and after"
    };
    printf("sublayers    RMSNorm %s, %s", where[p->norms],
           p->act == ACT_GELU ? "GELU (tanh)" : "SiLU");
    for (uint32_t i = 0; i < p->n_ropes; i++)
        if (p->rope[i].scaling)
            printf(", RoPE %.3g scaled %s by %g", p->rope[i].base, scaling_word(&p->rope[i]),
                   p->rope[i].factor);
    if (p->embed_scale != 1)
        printf(", embedding x %.6g", (double)p->embed_scale);
    printf(", q k x %.6g\n", (double)p->attn_scale);
}

static bool print_text(const struct inspection *x, struct err *err)
{
    const struct plan *p = &x->m->plan;
    char name[256];
    model_name(x->m, name, sizeof name);
    printf("%s: %s, family %s\n\n", x->m->path, name, p->family->name);
    printf("parameters   %" PRIu64 " main", x->counts.main);
    if (p->n_mtp)
        printf(" + %" PRIu64 " multi-token prediction", x->counts.mtp);
    printf("\nper token    %" PRIu64 " weights touched (%.2f B)", x->counts.touched,
           (double)x->counts.touched * 1e-9);
    if (x->touched_bytes)
        printf(", %" PRIu64 " bytes", x->touched_bytes);
    printf("\nshape        %u layers, hidden %u, %u/%u heads of %u, vocabulary %u%s, context %u\n",
           p->n_layers, p->hidden, p->n_heads, p->n_kv_heads, p->head_dim, p->vocab,
           p->tied ? " (tied)" : "", p->context);
    print_manner(p);
    if (!print_layers(p, err))
        return false;
    print_memory(x);
    return true;
}

/* Lists asked for by --metadata and --tensors, below the summary. */
static void print_lists(const struct inspection *x)
{
    const struct model *m = x->m;
    const struct tensors *t = m->gguf.n_files ? &m->gguf.tensors : &m->safetensors.tensors;
    struct buf text = { 0 };
    for (size_t i = 0; x->args->metadata && i < m->gguf.n_kv; i++) {
        const struct gguf_kv *kv = &m->gguf.kv[i];
        buf_clear(&text);
        gguf_print(&text, kv);
        printf("%s%.*s = %s\n", i ? "" : "\n", (int)kv->key.len, (const char *)kv->key.at,
               text.at ? text.at : "");
    }
    buf_release(&text);
    for (size_t i = 0; x->args->tensors && i < t->n; i++) {
        printf("%s%-48s %-6s [", i ? "" : "\n", t->at[i].name, t->at[i].type_name);
        for (uint32_t d = t->at[i].n_dims; d > 0; d--)
            printf("%" PRIu64 "%s", t->at[i].ne[d - 1], d > 1 ? ", " : "]\n");
    }
}

static bool show(struct inspection *x, struct err *err)
{
    if (!x->args->json) {
        bool ok = print_text(x, err);
        print_lists(x);
        return ok;
    }
    json_t *o = inspection_json(x);
    if (!o)
        return fail(err, ERR_MEMORY, "out of memory for the report");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return true;
}

/* The weights are bound (names and shapes checked, nothing read) if there are any. */
static bool count_touched(struct inspection *x, struct err *err)
{
    struct model *m = x->m;
    const struct tensors *t = m->gguf.n_files ? &m->gguf.tensors : &m->safetensors.tensors;
    if (!t->n)
        return true;
    if (!weights_bind(&m->weights, &m->plan, t, !m->gguf.n_files, m->path, err))
        return false;
    x->touched_bytes = weights_touched_bytes(&m->weights, &m->plan);
    return true;
}

static bool run_inspect(const void *args, const struct operands *rest, struct err *err)
{
    struct inspection x = { .args = args };
    const struct inspect_args *a = args;
    enum kv_type kv_type;
    struct model m;
    const char *path;
    if (rest->n && a->model)
        return fail(err, ERR_USAGE, "give the model once: \"%s\" or -m \"%s\"", rest->at[0],
                    a->model);
    if (!model_path_find(rest->n ? rest->at[0] : a->model, &path, err)
        || !model_open_plan(&m, path, err))
        return false;
    x.m = &m;
    uint32_t ctx = a->ctx == OPT_UNSET ? session_default_context(&m.plan) : (uint32_t)a->ctx;
    bool ok = ctx <= m.plan.context
              || fail(err, ERR_LIMIT, "--ctx %u, but %s was made for at most %u", ctx, path,
                      m.plan.context);
    check(kv_type_find(a->kv_type, &kv_type));
    plan_count(&m.plan, &x.counts);
    memory_plan_make(&x.mp, &m.plan, m.weight_bytes, ctx, ctx < SESSION_CHUNK ? ctx : SESSION_CHUNK,
                     kv_type, sys_cpus(), false);
    ok = ok && count_touched(&x, err) && show(&x, err);
    model_close(&m);
    return ok;
}

#define AT(f) offsetof(struct inspect_args, f)
static const struct opt inspect_opts[] = {
    O_TEXT("model", 'm', AT(model), NULL, "FILE|FOLDER",
           "the model, if not given as an operand; a config.json alone will do"),
    O_INT("ctx", 0, AT(ctx), 1, 1 << 28, NULL, "TOKENS",
          "plan memory for this context; without it the model's, at most 8192"),
    O_CHOICE("kv-type", 0, AT(kv_type), choice_kv_type, "f16",
             KV_TYPE_HELP),
    O_FLAG("metadata", 0, AT(metadata), "list a GGUF file's metadata"),
    O_FLAG("tensors", 0, AT(tensors), "list every tensor with type and shape"),
    O_FLAG("json", 0, AT(json), "print one JSON object"),
    O_END
};
#undef AT

static const struct example examples[] = {
    { "kexa inspect", "the default model" },
    { "kexa inspect recipes/k-exaone-236b/config.json --ctx 262144",
      "what K-EXAONE with its whole context would need" },
    { "kexa inspect model.gguf --tensors --json", "everything, for a script" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", inspect_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command inspect_command = {
    "inspect", "show what a model is and what memory it would take", "[MODEL]", 0, 1,
    "Reads a GGUF file, a Hugging Face folder or a config.json, checks every name and shape, "
    "and prints the layer plan, parameters in all and per token, and the memory a session "
    "would take.  No weights are loaded.",
    examples, groups, sizeof(struct inspect_args), run_inspect
};
