/* ppl: how well a model predicts a text, and how far it is from reference logits. */
#include "cmd/commands.h"
#include "cmd/shared_options.h"
#include "run/run.h"

#include <math.h>

enum { TEXT_MAX = 1 << 30, ROWS = 64 };

struct ppl_args {
    struct model_args model;
    const char *file, *kl;
    int64_t stride;
    bool json;
};

/* Sums in f64, in the order of the text. */
struct sums {
    size_t scored, windows;
    double nll, nll_squared;
    size_t compared, same_top;            /* rows against the reference */
    double kl, kl_max, ref_nll;
    size_t kl_max_at;
};

struct ppl {
    const struct ppl_args *args;
    struct model *m;
    struct session *s;
    struct ids ids;
    size_t lead;                          /* 1: ids[0] is a BOS that begins every window */
    size_t width, stride;                 /* text tokens in a window, and to the next one */
    struct npy ref;
    float *rows;                          /* [ROWS][vocab] */
    struct sums sums;
    struct progress bar;
    uint64_t start_ns;
};

#define AT(f) offsetof(struct ppl_args, f)
static const struct opt ppl_opts[] = {
    O_TEXT("file", 'f', AT(file), NULL, "FILE", "the text; - is standard input"),
    O_INT("stride", 0, AT(stride), 1, 1 << 24, NULL, "TOKENS",
          "from the beginning of one window to the next; without it half a window"),
    O_TEXT("kl", 0, AT(kl), NULL, "REF.npy",
           "compare with reference logits, f32 [tokens][vocabulary], as `kexa logits -f` "
           "writes them; the text must fit in one window"),
    O_FLAG("json", 0, AT(json), "print one JSON object"),
    O_END
};
#undef AT

/* log of the sum of exp; false when an element is NaN or +infinity, or all are -infinity. */
static bool log_sum(const float *x, size_t n, double *max, double *out)
{
    double sum = 0;
    *max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        *max = x[i] > *max ? x[i] : *max;
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - *max);          /* a NaN or infinity anywhere shows here */
    *out = *max + log(sum);
    return isfinite(*out);
}

static size_t top(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* Row t of the model against row t of the reference. */
static bool compare_row(struct ppl *p, size_t t, const float *x, double log_z, struct err *err)
{
    size_t n = p->m->plan.vocab;
    const float *r = (const float *)(const void *)p->ref.data + t * n;
    double max, ref_z, kl = 0;
    if (!log_sum(r, n, &max, &ref_z))
        return fail(err, ERR_FORMAT, "%s: row %zu holds NaN or infinity", p->args->kl, t);
    for (size_t i = 0; i < n; i++) {
        double log_p = r[i] - ref_z, weight = exp(log_p);
        if (weight > 0)
            kl += weight * (log_p - (x[i] - log_z));
    }
    struct sums *s = &p->sums;
    s->kl += kl;
    if (kl > s->kl_max) {
        s->kl_max = kl;
        s->kl_max_at = t;
    }
    s->same_top += top(x, n) == top(r, n);
    s->compared++;
    if (t + 1 < p->ids.n)
        s->ref_nll += ref_z - r[p->ids.at[t + 1]];
    return true;
}

/* The logits after token t of the text: what they said about token t + 1. */
static bool score_row(struct ppl *p, size_t t, const float *x, struct err *err)
{
    double max, log_z;
    if (!log_sum(x, p->m->plan.vocab, &max, &log_z))
        return fail(err, ERR_FORMAT, "%s: the logits after token %zu of the text hold NaN or "
                    "infinity", p->m->path, t);
    if (t + 1 < p->ids.n) {
        double nll = log_z - x[p->ids.at[t + 1]];
        p->sums.nll += nll;
        p->sums.nll_squared += nll * nll;
        p->sums.scored++;
    }
    return !p->args->kl || compare_row(p, t, x, log_z, err);
}

/*
 * Tokens begin .. end - 1 after the lead; rows from `first` on are wanted, where `first` is
 * the token whose row is the first to say something new.
 */
static bool run_window(struct ppl *p, size_t begin, size_t first, size_t end, struct err *err)
{
    size_t vocab = p->m->plan.vocab;
    bool ok = session_truncate(p->s, 0, err);
    if (begin > 0 && p->lead)
        ok = ok && session_add(p->s, p->ids.at, 1, err);
    ok = ok && session_add(p->s, p->ids.at + begin, first - begin, err);
    for (size_t at = first; ok && at < end; at += ROWS) {
        struct feed f = { .s = p->s, .ids = p->ids.at + at, .logits = p->rows };
        f.n = end - at < ROWS ? end - at : ROWS;
        ok = session_add_many(&f, 1, err);
        for (size_t i = 0; ok && i < f.n; i++)
            if (at + i + 1 < end || end == p->ids.n)
                ok = score_row(p, at + i, p->rows + i * vocab, err);
        progress_at(&p->bar, at + f.n < end ? at + f.n : end);
    }
    p->sums.windows++;
    return ok;
}

/*
 * Windows begin at 0, stride, 2 stride, ...; each scores the tokens no window before it has,
 * so every token but the first of the text is scored once, with at least width - stride
 * tokens before it once the text is longer than a window.
 */
static bool run_windows(struct ppl *p, struct err *err)
{
    size_t n = p->ids.n, begin = 0, done = 0, end = 0;   /* rows below `done` are scored */
    bool ok = true;
    progress_begin(&p->bar, "ppl", "tokens", n);
    while (ok && end < n) {
        size_t room = begin ? p->width : p->width + p->lead;
        end = n - begin < room ? n : begin + room;
        ok = run_window(p, begin, done > begin ? done : begin, end, err);
        done = end - 1;
        begin += p->stride + (begin ? 0 : p->lead);
    }
    progress_end(&p->bar);
    return ok;
}

static bool open_reference(struct ppl *p, struct err *err)
{
    if (!npy_open(&p->ref, p->args->kl, err))
        return false;
    if (p->ids.n > p->width + p->lead)
        return fail(err, ERR_USAGE, "--kl needs the text in one window: it has %zu tokens, so give "
                    "--ctx %zu or a shorter text", p->ids.n, p->ids.n);
    if (strcmp(p->ref.dtype, "f4") || p->ref.n_dims != 2 || p->ref.shape[0] != p->ids.n
        || p->ref.shape[1] != p->m->plan.vocab)
        return fail(err, ERR_FORMAT, "%s: %u dimensions of %s, %llu rows; expected f4, %zu rows "
                    "(one for each token of the text) of %u", p->args->kl, p->ref.n_dims,
                    p->ref.dtype, (unsigned long long)p->ref.shape[0], p->ids.n,
                    p->m->plan.vocab);
    return true;
}

static bool read_text(struct ppl *p, struct err *err)
{
    struct buf text = { 0 };
    struct encode_options o = { .add_special = true };
    bool ok = file_read(&text, p->args->file, TEXT_MAX, err);
    if (ok && !p->m->tokenizer)
        ok = fail(err, p->m->no_tokenizer.code, "%s", p->m->no_tokenizer.msg);
    ok = ok && tokenizer_encode(p->m->tokenizer, (struct bytes){ (const uint8_t *)text.at,
                                                                 text.len }, o, &p->ids, err);
    buf_release(&text);
    if (ok && p->ids.n < 2)
        ok = fail(err, ERR_USAGE, "%s: %zu tokens; perplexity needs 2 or more", p->args->file,
                  p->ids.n);
    if (ok) {
        struct tokenizer_info info = tokenizer_info(p->m->tokenizer);
        p->lead = info.add_bos && p->ids.at[0] == info.bos;
    }
    return ok;
}

/* The window: what --ctx says, but no longer than the text. */
static bool open_window(struct ppl *p, enum kv_type kv_type, struct err *err)
{
    const struct ppl_args *a = p->args;
    uint64_t ctx = a->model.ctx == OPT_UNSET ? session_default_context(&p->m->plan)
                                             : (uint64_t)a->model.ctx;
    if (ctx > p->m->plan.context)
        return fail(err, ERR_LIMIT, "--ctx %llu, but %s was made for a context of at most %u",
                    (unsigned long long)ctx, p->m->path, p->m->plan.context);
    ctx = ctx < p->ids.n ? ctx : p->ids.n;
    if (ctx < 2 + p->lead)
        return fail(err, ERR_USAGE, "--ctx %llu is too small: a window needs %zu tokens",
                    (unsigned long long)ctx, 2 + p->lead);
    p->width = (size_t)ctx - p->lead;
    p->stride = a->stride == OPT_UNSET ? (p->width + 1) / 2 : (size_t)a->stride;
    if (p->stride >= p->width && p->ids.n > ctx)
        return fail(err, ERR_USAGE, "--stride %zu must be less than the window's %zu tokens",
                    p->stride, p->width);
    struct session_options o = { .context = (uint32_t)ctx, .chunk = 256, .kv_type = kv_type,
                                 .snapshot_budget = 1 };
    p->rows = mem_take((size_t)ROWS * p->m->plan.vocab, sizeof *p->rows);
    if (!p->rows)
        return fail(err, ERR_MEMORY, "out of memory for %d rows of logits", ROWS);
    p->s = session_open(p->m, &o, err);
    return p->s != NULL;
}

static double mean(double sum, size_t n)
{
    return n ? sum / (double)n : 0;
}

/* Of the perplexity: its own size times the standard error of the mean log-probability. */
static double perplexity_error(const struct sums *s)
{
    double m = mean(s->nll, s->scored), var = mean(s->nll_squared, s->scored) - m * m;
    return exp(m) * sqrt((var > 0 ? var : 0) / (double)s->scored);
}

static void print_text(const struct ppl *p)
{
    const struct sums *s = &p->sums;
    printf("perplexity %.4f +- %.4f\n", exp(mean(s->nll, s->scored)), perplexity_error(s));
    printf("%zu of %zu tokens scored, %zu window%s of %zu, stride %zu\n", s->scored, p->ids.n,
           s->windows, s->windows == 1 ? "" : "s", p->width + p->lead, p->stride);
    if (p->args->kl)
        printf("KL(reference || model): mean %.4g, most %.4g after token %zu; same likeliest token "
               "%.2f%%\nreference's perplexity %.4f\n", mean(s->kl, s->compared), s->kl_max,
               s->kl_max_at, 100 * mean((double)s->same_top, s->compared),
               exp(mean(s->ref_nll, s->scored)));
}

static bool print_json(const struct ppl *p, struct err *err)
{
    const struct sums *s = &p->sums;
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "file",
                          p->m->path, "tokens", (json_int_t)p->ids.n, "scored",
                          (json_int_t)s->scored, "windows", (json_int_t)s->windows, "window",
                          (json_int_t)(p->width + p->lead), "stride", (json_int_t)p->stride,
                          "mean_nll", mean(s->nll, s->scored), "perplexity",
                          exp(mean(s->nll, s->scored)), "perplexity_error", perplexity_error(s),
                          "seconds", (double)(now_ns() - p->start_ns) * 1e-9);
    if (o && p->args->kl)
        json_object_set_new(o, "kl", json_pack("{s:f, s:f, s:I, s:f, s:f}",
            "mean", mean(s->kl, s->compared), "max", s->kl_max, "max_after_token",
            (json_int_t)s->kl_max_at, "same_top", mean((double)s->same_top, s->compared),
            "reference_perplexity", exp(mean(s->ref_nll, s->scored))));
    if (!o)
        return fail(err, ERR_FORMAT, "the perplexity is infinite, which JSON cannot say");
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(o);
    return true;
}

static bool with_model(struct ppl *p, struct err *err)
{
    const struct model_args *a = &p->args->model;
    int n_threads = a->threads == OPT_UNSET ? sys_cpus() : (int)a->threads;
    struct memory_plan mp;
    enum kv_type kv_type;
    check(kv_type_find(a->kv_type, &kv_type));
    uint32_t ctx = a->ctx == OPT_UNSET ? session_default_context(&p->m->plan) : (uint32_t)a->ctx;
    memory_plan_make(&mp, &p->m->plan, p->m->weight_bytes, ctx, 256, kv_type, n_threads, false);
    memory_plan_snapshots(&mp, 1);
    bool ok = memory_plan_check(&mp, p->m->path, err)
              && model_bind(p->m, n_threads, strcmp(a->numerics, "f32") ? NUMERICS_NATIVE
                                                                        : NUMERICS_F32, err)
              && read_text(p, err) && open_window(p, kv_type, err)
              && (!p->args->kl || open_reference(p, err));
    p->start_ns = now_ns();
    ok = ok && run_windows(p, err);
    if (ok && p->args->json)
        ok = print_json(p, err);
    else if (ok)
        print_text(p);
    npy_close(&p->ref);
    session_close(p->s);
    mem_give(p->rows);
    ids_release(&p->ids);
    return ok;
}

static bool run_ppl(const void *args, const struct operands *rest, struct err *err)
{
    struct model m;
    struct ppl p = { .args = args, .m = &m };
    const char *path;
    (void)rest;
    if (!p.args->file)
        return fail(err, ERR_USAGE, "give -f FILE, the text to predict");
    if (!model_path_find(p.args->model.model, &path, err) || !model_open_plan(&m, path, err))
        return false;
    bool ok = with_model(&p, err);
    model_close(&m);
    return ok;
}

static const struct example examples[] = {
    { "kexa ppl -f text.txt", "of the default model" },
    { "kexa ppl -f text.txt --ctx 512 --stride 256 --kv-type q8_0",
      "with short windows and small keys and values" },
    { "kexa ppl -m q4.gguf -f text.txt --kl reference.npy",
      "how far a quantised model is from logits that another one wrote" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Text and output", ppl_opts, 0 },
    { "Model", model_opts, offsetof(struct ppl_args, model) },
    { NULL, NULL, 0 }
};

const struct command ppl_command = {
    "ppl", "perplexity of a text, and distance from reference logits", NULL, 0, 0,
    "Perplexity is exp of the mean negative log-probability of each token given those before "
    "it.  A text longer than --ctx is read in windows that begin every --stride tokens (each "
    "with the BOS token where the model wants one); a window scores the tokens no earlier one "
    "has, so all but the first see at least --ctx minus --stride tokens.  Figures of different "
    "windows or tokenizers cannot be compared.  Sums are float64; NaN anywhere is an error.",
    examples, groups, sizeof(struct ppl_args), run_ppl
};
