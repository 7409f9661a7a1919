/* bench: how fast a model reads and writes here, and how near that is to the machine's roof. */
#include "cmd/bench_roof.h"
#include "cmd/commands.h"
#include "cmd/shared_options.h"
#include "run/run.h"

#include <stdlib.h>

enum { LIST_MAX = 16, SHORT_CONTEXT = 32, USUAL_AT = 512 };

struct bench_args {
    struct model_args model;
    const char *at, *batch;
    int64_t prompt, decode, reps;
    bool roof, json;
};

#define AT(f) offsetof(struct bench_args, f)
static const struct opt bench_opts[] = {
    O_TEXT("at", 0, AT(at), NULL, "LIST",
           "context lengths to measure at, ascending; without it 0 and 512, or the most that the "
           "model is made for"),
    O_TEXT("batch", 0, AT(batch), "1,2,4,8", "LIST", "numbers of sequences decoded together"),
    O_INT("prompt", 0, AT(prompt), 1, 1 << 20, "64", "TOKENS", "tokens of a prompt"),
    O_INT("decode", 'n', AT(decode), 1, 1 << 20, "8", "TOKENS", "tokens decoded one by one"),
    O_INT("reps", 'r', AT(reps), 1, 100, "3", "N", "repetitions, of which the median is shown"),
    O_FLAG("roof", 0, AT(roof),
           "also measure how fast memory can be read and what the arithmetic can do at most"),
    O_FLAG("json", 0, AT(json), "print one JSON object"),
    O_END
};
#undef AT

struct bench {
    const struct bench_args *args;
    struct model *m;
    uint32_t at[LIST_MAX], batch[LIST_MAX];
    size_t n_at, n_batch;
    uint32_t context, most;               /* tokens of a session; sessions at once */
    uint32_t *ids;                        /* [context] random, the same each time */
    struct bench_roof roof;
    double weight_gb;                     /* read for one token */
    json_t *rows;
};

static bool read_list(const char *text, const char *name, uint32_t low, uint32_t *out, size_t *n,
                      struct err *err)
{
    const char *at = text;
    for (*n = 0; *n < LIST_MAX; at++) {
        char *end;
        unsigned long v = strtoul(at, &end, 10);
        if (*at < '0' || *at > '9' || v > 1 << 24 || v < low || (*end && *end != ',')
            || (*n && v <= out[*n - 1]))
            break;
        out[(*n)++] = (uint32_t)v;
        at = end;
        if (!*at)
            return true;
    }
    return fail(err, ERR_USAGE, "%s is \"%.60s\"; expected up to %d ascending numbers from %u on, "
                "like 1,2,4", name, text, LIST_MAX, low);
}

/* One figure: shown at once, or kept for the JSON. */
static bool report(struct bench *b, const char *what, uint32_t tokens, uint32_t at, uint32_t batch,
                   struct bench_time t, bool streams, struct err *err)
{
    double rate = tokens / t.seconds;
    double gbs = streams ? b->weight_gb * rate / batch : 0;
    if (b->args->json) {
        json_t *row = json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:f}", "what", what, "tokens",
                                (int)tokens, "context", (int)at, "batch", (int)batch,
                                "tokens_per_second", rate, "seconds", t.seconds, "on_cpu",
                                t.on_cpu);
        if (row && streams)
            json_object_set_new(row, "weights_gb_per_second", json_real(gbs));
        return (row && !json_array_append_new(b->rows, row))
               || fail(err, ERR_MEMORY, "no memory for the report");
    }
    printf("%-8s %6u %6u %9.1f   %4.0f%%", what, at, batch, rate, 100 * t.on_cpu);
    if (streams)
        printf("   weights at %.2f GB/s", gbs);
    if (streams && b->args->roof)
        printf(", %.0f%% of the roof", 100 * gbs / b->roof.read_gbs);
    putchar('\n');
    fflush(stdout);
    return true;
}

static bool prefill(struct bench *b, struct session *s, uint32_t at, struct err *err)
{
    struct bench_time times[100];
    uint32_t n = (uint32_t)b->args->prompt;
    for (int64_t r = 0; r < b->args->reps; r++) {
        struct bench_clock c;
        bench_clock_start(&c);
        if (!session_add(s, b->ids + at, n, err))
            return false;
        times[r] = bench_clock_stop(&c, pool_threads(b->m->pool));
        if (!session_truncate(s, at, err))
            return false;
    }
    return report(b, "prompt", n, at, 1, bench_median(times, (size_t)b->args->reps), false, err);
}

/* n sessions that hold `at` tokens each go on together, a token each in every step. */
static bool decode(struct bench *b, struct session **s, uint32_t n, uint32_t at, const char *what,
                   struct err *err)
{
    struct bench_time times[100];
    struct feed *feeds = mem_take(n, sizeof *feeds);
    bool ok = feeds || fail(err, ERR_MEMORY, "out of memory for %u feeds", n);
    for (int64_t r = 0; ok && r < b->args->reps; r++) {
        struct bench_clock c;
        bench_clock_start(&c);
        for (int64_t k = 0; ok && k < b->args->decode; k++) {
            for (uint32_t i = 0; i < n; i++)
                feeds[i] = (struct feed){ .s = s[i], .ids = b->ids + (at + k + i) % b->context,
                                          .n = 1 };
            ok = session_add_many(feeds, n, err);
        }
        times[r] = bench_clock_stop(&c, pool_threads(b->m->pool));
        for (uint32_t i = 0; ok && i < n; i++)
            ok = session_truncate(s[i], at, err);
    }
    mem_give(feeds);
    return ok && report(b, what, n * (uint32_t)b->args->decode, at, n,
                        bench_median(times, (size_t)b->args->reps), true, err);
}

static struct session_options options(const struct bench *b, uint32_t context)
{
    struct session_options o = { .context = context, .chunk = SESSION_CHUNK };
    check(kv_type_find(b->args->model.kv_type, &o.kv_type));
    return o;
}

static bool run_frontiers(struct bench *b, struct err *err)
{
    struct session_options o = options(b, b->context);
    struct session *s = session_open(b->m, &o, err);
    bool ok = s && session_add(s, b->ids, 1, err);       /* pages of the weights are read */
    for (size_t i = 0; ok && i < b->n_at; i++) {
        uint32_t at = b->at[i];
        ok = (s->n <= at || session_truncate(s, at, err))
             && session_add(s, b->ids + s->n, at - s->n, err)
             && prefill(b, s, at, err) && decode(b, &s, 1, at, "decode", err);
    }
    session_close(s);
    return ok;
}

static bool run_batches(struct bench *b, struct err *err)
{
    struct session **s = mem_take(b->most, sizeof *s);
    struct session_options o = options(b, SHORT_CONTEXT + (uint32_t)b->args->decode);
    bool ok = s || fail(err, ERR_MEMORY, "out of memory for %u sessions", b->most);
    for (uint32_t i = 0; ok && i < b->most; i++) {
        s[i] = i ? session_fork(s[0], err) : session_open(b->m, &o, err);
        ok = s[i] && (i || session_add(s[0], b->ids, SHORT_CONTEXT, err));
    }
    for (size_t i = 0; ok && i < b->n_batch; i++)
        ok = decode(b, s, b->batch[i], SHORT_CONTEXT, "batch", err);
    for (uint32_t i = 0; s && i < b->most; i++)
        session_close(s[i]);
    mem_give(s);
    return ok;
}

static bool run_roof(struct bench *b, struct err *err)
{
    struct bench_roof *r = &b->roof;
    if (!bench_roof_measure(r, b->m, (size_t)b->args->reps, err))
        return false;
    if (b->args->json)
        return true;
    printf("roof: read %.1f GB/s (on CPU %.0f%%), fma %.1f GFLOP/s (%.0f%%), int8 %.1f GOP/s "
           "(%.0f%%)", r->read_gbs, 100 * r->read_cpu, r->fma_gflops, 100 * r->fma_cpu,
           r->int8_gops, 100 * r->int8_cpu);
    if (r->bf16_gflops > 0)
        printf(", bf16 %.1f GFLOP/s (%.0f%%)", r->bf16_gflops, 100 * r->bf16_cpu);
    putchar('\n');
    return true;
}

static bool print_json(struct bench *b, struct err *err)
{
    const struct bench_roof *r = &b->roof;
    json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:i, s:f, s:O}", "model", b->m->path, "threads",
                          pool_threads(b->m->pool), "level", cpu_level_name(cpu_level_chosen()),
                          "kv_type", b->args->model.kv_type, "repetitions", (int)b->args->reps,
                          "weight_gb_per_token", b->weight_gb, "figures", b->rows);
    if (o && b->args->roof)
        json_object_set_new(o, "roof", json_pack(
            "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "read_gb_per_second", r->read_gbs,
            "read_on_cpu", r->read_cpu, "fma_gflop_per_second", r->fma_gflops,
            "fma_on_cpu", r->fma_cpu,
            "int8_gop_per_second", r->int8_gops, "int8_on_cpu", r->int8_cpu,
            "bf16_gflop_per_second", r->bf16_gflops, "bf16_on_cpu", r->bf16_cpu));
    if (!o)
        return fail(err, ERR_MEMORY, "no memory for the report");
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
    return true;
}

static bool run_all(struct bench *b, struct err *err)
{
    b->weight_gb = (double)weights_touched_bytes(&b->m->weights, &b->m->plan) * 1e-9;
    b->rows = json_array();
    b->ids = mem_take(b->context, sizeof *b->ids);
    bool ok = (b->ids && b->rows) || fail(err, ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; ok && i < b->context; i++)
        b->ids[i] = (uint32_t)(rng_u64_at(1, 0, i) % b->m->plan.vocab);
    if (ok && !b->args->json)
        printf("%s: %d threads, level %s, KV %s, medians of %d\n", b->m->path,
               pool_threads(b->m->pool), cpu_level_name(cpu_level_chosen()),
               b->args->model.kv_type, (int)b->args->reps);
    ok = ok && (!b->args->roof || run_roof(b, err));
    if (ok && !b->args->json)
        printf("         at tok  batch     tok/s  on CPU\n");
    ok = ok && run_frontiers(b, err) && run_batches(b, err);
    ok = ok && (!b->args->json || print_json(b, err));
    json_decref(b->rows);
    mem_give(b->ids);
    return ok;
}

/* One long session or `most` short ones, whichever take more. */
static bool check_memory(const struct bench *b, int n_threads, struct err *err)
{
    struct memory_plan mp;
    struct session_options o = options(b, b->context);
    uint32_t together = b->most * (SHORT_CONTEXT + (uint32_t)b->args->decode);
    memory_plan_make(&mp, &b->m->plan, b->m->weight_bytes,
                     b->context > together ? b->context : together, o.chunk, o.kv_type, n_threads,
                     false);
    return memory_plan_check(&mp, b->m->path, err);
}

/* Where --at is not given; `more` tokens follow. */
static void usual_lengths(struct bench *b, uint32_t more)
{
    uint32_t room = b->m->plan.context > more ? b->m->plan.context - more : 0;
    b->at[0] = 0;
    b->at[1] = room < USUAL_AT ? room : USUAL_AT;
    b->n_at = room ? 2 : 1;
}

static bool with_model(struct bench *b, struct err *err)
{
    const struct bench_args *a = b->args;
    int n_threads = a->model.threads == OPT_UNSET ? sys_cpus() : (int)a->model.threads;
    int64_t more = a->prompt > a->decode ? a->prompt : a->decode;
    if (!a->at)
        usual_lengths(b, (uint32_t)more);
    uint64_t longest = b->at[b->n_at - 1] + (uint64_t)more;
    uint64_t batch = SHORT_CONTEXT + (uint64_t)a->decode;
    if (longest > b->m->plan.context || batch > b->m->plan.context)
        return fail(err, ERR_LIMIT, "%llu tokens are needed (--at, --prompt, --decode), but %s was "
                    "made for %u", (unsigned long long)(longest > batch ? longest : batch),
                    b->m->path, b->m->plan.context);
    b->context = (uint32_t)(longest > batch ? longest : batch);
    b->most = b->batch[b->n_batch - 1];
    return check_memory(b, n_threads, err)
           && model_bind(b->m, n_threads, strcmp(a->model.numerics, "f32") ? NUMERICS_NATIVE
                                                                           : NUMERICS_F32, err)
           && run_all(b, err);
}

static bool run_bench(const void *args, const struct operands *rest, struct err *err)
{
    struct model m;
    struct bench b = { .args = args, .m = &m };
    const char *path;
    (void)rest;
    if ((b.args->at && !read_list(b.args->at, "--at", 0, b.at, &b.n_at, err))
        || !read_list(b.args->batch, "--batch", 1, b.batch, &b.n_batch, err)
        || !model_path_find(b.args->model.model, &path, err) || !model_open_plan(&m, path, err))
        return false;
    bool ok = with_model(&b, err);
    model_close(&m);
    return ok;
}

static const struct example examples[] = {
    { "kexa bench --roof", "the default model, in seconds, beside what the machine can do" },
    { "kexa bench --at 0,2048,8000 --prompt 256 -n 64 -r 5 --json", "for a record" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Measurement", bench_opts, 0 },
    { "Model", model_fixed_opts, offsetof(struct bench_args, model) },
    { NULL, NULL, 0 }
};

const struct command bench_command = {
    "bench", "measure prompt and decode speed, also beside the machine's roof", NULL, 0, 0,
    "Reads a prompt and decodes single tokens at each context length of --at, then decodes "
    "--batch sequences of 32 tokens together.  Figures are medians over repetitions; beside "
    "each stands the share of the time that the threads were on a CPU: far below 100% other "
    "work took the machine (or the threads waited for each other), and the figure is too low.  "
    "Weights at GB/s counts the bytes of weights that a step of one token reads; a batch of a "
    "mixture of experts reads more.",
    examples, groups, sizeof(struct bench_args), run_bench
};
