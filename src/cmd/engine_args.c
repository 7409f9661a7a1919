#include "cmd/engine_args.h"

#include <stdlib.h>
#include <sys/random.h>

bool fail_engine(struct err *err, const struct kexa_error *e)
{
    enum err_code code = ERR_INTERNAL;
#define X(name, status, http, word) code = e->exit_status == status ? name : code;
    ERR_CODES(X)
#undef X
    return fail(err, code, "%s", e->message);
}

static void say_plan(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "kexa: memory: %s\n", line);
}

static struct kexa_session_options session_options(const struct model_args *a)
{
    size_t kv_type = 0;
    while (strcmp(choice_kv_type(kv_type), a->kv_type))
        kv_type++;
    return (struct kexa_session_options){
        .context = a->ctx == OPT_UNSET ? 0 : (uint32_t)a->ctx,
        .kv_type = (enum kexa_kv_type)kv_type,
    };
}

struct kexa_model *model_args_open(const struct model_args *a, struct err *err)
{
    const char *path;
    if (!model_path_find(a->model, &path, err))
        return NULL;
    struct kexa_error e;
    struct kexa_session_options so = session_options(a);
    struct kexa_model_options o = {
        .threads = a->threads == OPT_UNSET ? 0 : (int)a->threads,
        .numerics = strcmp(a->numerics, "f32") ? KEXA_NUMERICS_NATIVE : KEXA_NUMERICS_F32,
        .session = &so,
        .on_plan = say_plan,
    };
    if (o.threads > sys_cpus())
        fprintf(stderr, "kexa: %d threads on %d CPUs: more threads than CPUs only wait for each "
                "other\n", o.threads, sys_cpus());
    struct kexa_model *m = kexa_model_open(path, &o, &e);
    if (!m)
        fail_engine(err, &e);
    return m;
}

struct kexa_session *model_args_session(const struct model_args *a, struct kexa_model *m,
                                        struct err *err)
{
    struct kexa_error e;
    struct kexa_session_options o = session_options(a);
    struct kexa_session *s = kexa_session_open(m, &o, &e);
    if (!s)
        fail_engine(err, &e);
    return s;
}

/* "ID=BIAS" */
static bool read_bias(const char *text, uint32_t *id, float *bias, struct err *err)
{
    char *end, *after;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '=' && v <= UINT32_MAX) {
        *bias = strtof(end + 1, &after);
        *id = (uint32_t)v;
        if (end[1] && !*after)
            return true;
    }
    return fail(err, ERR_USAGE, "--logit-bias is \"%.60s\", but must be a token's id, =, and a "
                "number, like 29=-1.5 (`kexa tokenize` shows ids)", text);
}

static uint64_t fresh_seed(void)
{
    uint64_t seed = now_ns();
    ssize_t got = getrandom(&seed, sizeof seed, 0);
    (void)got;                            /* without it the clock must do */
    return seed;
}

static bool set(const struct sampling_args *a, uint32_t *ids, float *bias,
                struct kexa_session *s, struct err *err)
{
    struct kexa_sampling p;
    struct kexa_error e;
    kexa_sampling_init(&p);
    for (size_t i = 0; i < a->logit_bias.n; i++)
        if (!read_bias(a->logit_bias.at[i], &ids[i], &bias[i], err))
            return false;
    p.temperature = (float)a->temp;
    p.top_k = (uint32_t)a->top_k;
    p.top_p = (float)a->top_p;
    p.min_p = (float)a->min_p;
    p.presence = (float)a->presence;
    p.frequency = (float)a->frequency;
    p.repeat = (float)a->repeat;
    p.seed = a->seed == OPT_UNSET ? fresh_seed() : (uint64_t)a->seed;
    p.bias_ids = ids;
    p.bias = bias;
    p.n_bias = a->logit_bias.n;
    return kexa_session_sampling(s, &p, &e) || fail_engine(err, &e);
}

bool sampling_args_set(const struct sampling_args *a, struct kexa_session *s, struct err *err)
{
    size_t n = a->logit_bias.n;
    uint32_t *ids = mem_take(n + 1, sizeof *ids);
    float *bias = mem_take(n + 1, sizeof *bias);
    bool ok = ids && bias ? set(a, ids, bias, s, err)
                          : fail(err, ERR_MEMORY, "no memory for %zu logit biases", n);
    mem_give(ids);
    mem_give(bias);
    return ok;
}
