/* logits: what a model thinks of every position of a text, for comparisons. */
#include "cmd/commands.h"
#include "cmd/shared_options.h"
#include "run/run.h"

#include <stdlib.h>

enum { TOKENS_FILE_MAX = 256 << 20 };

struct logits_args {
    struct model_args model;
    const char *tokens, *file, *out;
    bool mtp;
};

#define AT(f) offsetof(struct logits_args, f)
static const struct opt logits_opts[] = {
    O_TEXT("tokens", 0, AT(tokens), NULL, "FILE",
           "token ids: a .npy array of integers, or a text of numbers"),
    O_TEXT("file", 'f', AT(file), NULL, "FILE", "a text to tokenise; - is standard input"),
    O_TEXT("out", 'o', AT(out), NULL, "X.npy", "where the logits go, f32 [tokens][vocabulary]"),
    O_FLAG("mtp", 0, AT(mtp),
           "write the logits of the multi-token prediction block instead, "
           "[tokens - 1][vocabulary]: row t was given the tokens up to t + 1"),
    O_END
};
#undef AT

/* Element i of an integer array of any of the dtypes npy.h reads. */
static int64_t npy_integer(const struct npy *a, uint64_t i)
{
    union { int32_t i4; uint32_t u4; int64_t i8; uint16_t u2; } v;
    size_t size = (size_t)(a->dtype[1] - '0');
    memcpy(&v, a->data + i * size, size);
    return !strcmp(a->dtype, "i4") ? v.i4 : !strcmp(a->dtype, "u4") ? v.u4
         : !strcmp(a->dtype, "i8") ? v.i8 : v.u2;
}

static bool put_id(struct ids *ids, int64_t v, const char *path, struct err *err)
{
    if (v < 0 || v > UINT32_MAX)
        return fail(err, ERR_FORMAT, "%s: %lld is no token id", path, (long long)v);
    ids_put(ids, (uint32_t)v);
    return !ids->failed || fail(err, ERR_MEMORY, "%s: out of memory for the ids", path);
}

static bool read_npy_ids(const char *path, struct ids *ids, struct err *err)
{
    struct npy a;
    bool ok = true;
    if (!npy_open(&a, path, err))
        return false;
    if (a.dtype[0] != 'i' && a.dtype[0] != 'u')
        ok = fail(err, ERR_FORMAT, "%s: elements are %s; token ids must be integers", path,
                  a.dtype);
    for (uint64_t i = 0; ok && i < a.n_elements; i++)
        ok = put_id(ids, npy_integer(&a, i), path, err);
    npy_close(&a);
    return ok;
}

static bool read_text_ids(const char *path, struct ids *ids, struct err *err)
{
    struct buf text = { 0 };
    bool ok = file_read(&text, path, TOKENS_FILE_MAX, err);
    char *at = text.at ? text.at : (char[]){ "" };
    while (ok) {
        at += strspn(at, " \t\r\n,[]");
        if (!*at)
            break;
        char *end;
        long long v = strtoll(at, &end, 10);
        if (end == at)
            ok = fail(err, ERR_FORMAT, "%s: \"%.20s\" where a token id is expected", path, at);
        else
            ok = put_id(ids, v, path, err);
        at = end;
    }
    buf_release(&text);
    return ok;
}

static bool is_npy(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".npy");
}

static bool read_ids(const struct logits_args *a, const struct model *m, struct ids *ids,
                     struct err *err)
{
    if (a->tokens)
        return is_npy(a->tokens) ? read_npy_ids(a->tokens, ids, err)
                                 : read_text_ids(a->tokens, ids, err);
    struct buf text = { 0 };
    struct encode_options o = { .add_special = true };
    bool ok = file_read(&text, a->file, TOKENS_FILE_MAX, err);
    if (ok && !m->tokenizer)
        ok = fail(err, m->no_tokenizer.code, "%s", m->no_tokenizer.msg);
    ok = ok && tokenizer_encode(m->tokenizer,
                                (struct bytes){ (const uint8_t *)text.at, text.len }, o, ids, err);
    buf_release(&text);
    return ok;
}

/* Chunks of the ids through the session, their rows into the file. */
static bool write_rows(struct session *s, const struct ids *ids, bool mtp, struct npy_writer *w,
                       struct err *err)
{
    size_t vocab = s->m->plan.vocab, chunk = s->kv.chunk;
    float *rows = mem_take(chunk * vocab, sizeof *rows);
    struct progress bar;
    bool ok = rows || fail(err, ERR_MEMORY, "out of memory for %zu rows of logits", chunk);
    progress_begin(&bar, "logits", "tokens", ids->n);
    for (size_t at = 0; ok && at < ids->n; at += chunk) {
        size_t n = ids->n - at < chunk ? ids->n - at : chunk, skip = mtp && at == 0;
        struct feed f = { .s = s, .ids = ids->at + at, .n = n, .logits = mtp ? NULL : rows,
                          .mtp_logits = mtp ? rows : NULL };
        ok = session_add_many(&f, 1, err)
             && npy_writer_put(w, rows + skip * vocab, (n - skip) * vocab * sizeof *rows, err);
        progress_at(&bar, at + n);
    }
    progress_end(&bar);
    mem_give(rows);
    return ok;
}

static bool write_logits(const struct logits_args *a, struct model *m, const struct ids *ids,
                         enum kv_type kv_type, struct err *err)
{
    struct npy_writer w;
    struct session_options o = { .context = (uint32_t)ids->n, .chunk = 64, .kv_type = kv_type,
                                 .mtp = a->mtp, .snapshot_budget = 1 };
    if (ids->n < 1u + a->mtp || ids->n > m->plan.context)
        return fail(err, ERR_USAGE, "%zu tokens; this model takes %u to %u", ids->n,
                    1u + a->mtp, m->plan.context);
    uint64_t shape[2] = { ids->n - a->mtp, m->plan.vocab };
    struct session *s = session_open(m, &o, err);
    bool ok = s && npy_writer_begin(&w, a->out, "f4", shape, 2, err);
    if (ok) {
        ok = write_rows(s, ids, a->mtp, &w, err);
        if (ok)
            ok = npy_writer_end(&w, err);
        else
            npy_writer_drop(&w);
    }
    session_close(s);
    return ok;
}

static bool with_model(const struct logits_args *a, struct model *m, struct err *err)
{
    struct ids ids = { 0 };
    struct memory_plan mp;
    int n_threads = a->model.threads == OPT_UNSET ? sys_cpus() : (int)a->model.threads;
    enum kv_type kv_type;
    check(kv_type_find(a->model.kv_type, &kv_type));
    memory_plan_make(&mp, &m->plan, m->weight_bytes, 1, 64, kv_type, n_threads, a->mtp);
    memory_plan_snapshots(&mp, 1);        /* nobody goes back */
    bool ok = memory_plan_check(&mp, m->path, err)
              && model_bind(m, n_threads, strcmp(a->model.numerics, "f32") ? NUMERICS_NATIVE
                                                                           : NUMERICS_F32, err)
              && read_ids(a, m, &ids, err) && write_logits(a, m, &ids, kv_type, err);
    ids_release(&ids);
    return ok;
}

static bool run_logits(const void *args, const struct operands *rest, struct err *err)
{
    const struct logits_args *a = args;
    const char *path;
    struct model m;
    (void)rest;
    if (!a->out)
        return fail(err, ERR_USAGE, "--out is missing: where should the logits go?");
    if (!a->tokens == !a->file)
        return fail(err, ERR_USAGE, "give --tokens FILE or -f FILE, one of them");
    if (!model_path_find(a->model.model, &path, err) || !model_open_plan(&m, path, err))
        return false;
    bool ok = with_model(a, &m, err);
    model_close(&m);
    return ok;
}

static const struct example examples[] = {
    { "kexa logits -f text.txt --out logits.npy", "logits after every token of a text" },
    { "kexa logits --tokens ids.npy --numerics f32 --kv-type f32 --out x.npy",
      "without any rounding of activations, for comparison with a reference" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Input and output", logits_opts, 0 },
    { "Model", model_fixed_opts, offsetof(struct logits_args, model) },
    { NULL, NULL, 0 }
};

const struct command logits_command = {
    "logits", "write the logits of every position to a file", NULL, 0, 0,
    "Evaluates a text or a list of token ids and writes a NumPy array, f32, one row for each "
    "token: row t is what the model expects after tokens 0 to t.  The file appears when it is "
    "complete.  The context is as long as the input.",
    examples, groups, sizeof(struct logits_args), run_logits
};
