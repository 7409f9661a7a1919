/* The run itself: steps, samples, and an end that can be gone on from. */
#include "cmd/interrupt.h"
#include "cmd/pretrain.h"
#include "cmd/pretrain_line.h"
#include "run/run.h"

#include <inttypes.h>
#include <signal.h>

enum { LOST_MAX = 16 };

struct going {
    struct pretrain *p;
    struct trainer *t;
    struct pretrain_line line;
    const volatile int *stop;
    int n_lost;                           /* steps in a row without a finite loss */
};

/* What the model says after ids, at temperature 0.8; *text gets valid UTF-8. */
static bool speak(struct going *g, struct session *s, const struct ids *ids, struct buf *text,
                  struct err *err)
{
    struct sampler_options o;
    struct detok detok = { 0 };
    uint32_t id, n = s->options.context - (uint32_t)ids->n;
    size_t n_ends;
    const uint32_t *ends = tokenizer_end_ids(g->p->tokenizer, &n_ends);
    sampler_options_init(&o);
    o.temperature = 0.8;
    o.top_p = 0.95;
    o.seed = g->p->recipe.run.seed + trainer_step_number(g->t);
    if (!session_sampling(s, &o, err) || !session_add(s, ids->at, ids->n, err))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!session_sample(s, &id, NULL, err))
            return false;
        for (size_t e = 0; e < n_ends; e++)
            if (ends[e] == id)
                n = 0;
        if (n && id < tokenizer_size(g->p->tokenizer))
            detok_put(&detok, tokenizer_token_bytes(g->p->tokenizer, id), text);
        if (n && !session_add(s, &id, 1, err))
            return false;
    }
    detok_end(&detok, text);
    return buf_ok(text, err);
}

/* At least a token to begin with, and room for one more. */
static bool encode_prompt(const struct pretrain *p, const char *prompt, struct ids *ids,
                          struct err *err)
{
    struct encode_options encode = { .add_special = true };
    if (!tokenizer_encode(p->tokenizer, bytes_of(prompt), encode, ids, err))
        return false;
    return (ids->n && ids->n < p->plan.context)
           || fail(err, ERR_USAGE, "%s: run.prompt \"%.60s\" is %zu tokens; 1 to %u fit",
                   p->recipe.file, prompt, ids->n, p->plan.context - 1);
}

bool pretrain_check_prompts(const struct pretrain *p, struct err *err)
{
    const struct recipe_run *run = &p->recipe.run;
    struct ids ids = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && run->sample_every && i < run->n_prompts; i++) {
        ids.n = 0;
        ok = encode_prompt(p, run->prompt[i], &ids, err);
    }
    ids_release(&ids);
    return ok;
}

/* A session of the serving engine on the trainer's own weights. */
static bool sample_prompt(struct going *g, const char *prompt, struct err *err)
{
    struct ids ids = { 0 };
    struct buf text = { 0 };
    struct session *s = NULL;
    struct model *m = trainer_model(g->t);
    bool ok = encode_prompt(g->p, prompt, &ids, err);
    if (ok) {
        uint64_t context = ids.n + g->p->recipe.run.sample_tokens;
        struct session_options o = { .chunk = 64, .kv_type = KV_F32 };
        o.context = context < m->plan.context ? (uint32_t)context : m->plan.context;
        s = session_open(m, &o, err);
    }
    ok = ok && s && speak(g, s, &ids, &text, err);
    ok = ok && trainer_log_sample(g->t, prompt, text.at ? text.at : "", err)
         && pretrain_line_sample(&g->line, trainer_step_number(g->t), prompt,
                                 text.at ? text.at : "", err);
    session_close(s);
    ids_release(&ids);
    buf_release(&text);
    return ok;
}

static bool sample_all(struct going *g, struct err *err)
{
    const struct recipe_run *run = &g->p->recipe.run;
    uint64_t step = trainer_step_number(g->t);
    if (!run->sample_every || (step % run->sample_every && step != run->steps))
        return true;
    for (size_t i = 0; i < run->n_prompts; i++)
        if (!sample_prompt(g, run->prompt[i], err))
            return false;
    return true;
}

/* OUT/report.html; a run without one is still a run. */
static void write_report(const struct going *g)
{
    struct err err = { 0 };
    if (!run_report_write(g->p->recipe.run.out, NULL, &err))
        fprintf(stderr, "kexa: no report: %s\n", err.msg);
}

/* Ctrl-C: the step and its samples are done, the state is saved, and how to go on is said. */
static bool stop_here(struct going *g, struct err *err)
{
    const struct train_recipe *r = &g->p->recipe;
    uint64_t step = trainer_step_number(g->t);
    if (!trainer_checkpoint(g->t, err) || !trainer_end(g->t, "stopped", err)
        || !pretrain_line_end(&g->line, step, "stopped", err))
        return false;
    if (step)
        write_report(g);
    return fail(err, ERR_CANCELLED, "stopped after step %" PRIu64 " of %" PRIu64 ", which is "
                "saved; the same command with --resume goes on in %s", step, r->run.steps,
                r->run.out);
}

/* Steps whose loss or gradient is not finite change nothing; many in a row never end. */
static bool check_finite(struct going *g, const struct step_stats *s, struct err *err)
{
    bool finite = isfinite(s->loss) && isfinite(s->grad_norm);
    g->n_lost = finite ? 0 : g->n_lost + 1;
    return g->n_lost < LOST_MAX
           || fail(err, ERR_LIMIT, "loss or gradient were not finite for %d steps, up to step "
                   "%" PRIu64 "; begin again with a smaller optimizer.lr or with run.dtype = f32",
                   LOST_MAX, s->step);
}

static bool take_steps(struct going *g, struct err *err)
{
    struct step_stats s;
    while (trainer_step_number(g->t) < g->p->recipe.run.steps) {
        if (*g->stop || ferror(stdout))   /* nobody sees it any more: a lost terminal, a pipe */
            return stop_here(g, err);
        if (!trainer_step(g->t, &s, err) || !pretrain_line_step(&g->line, &s, err)
            || !check_finite(g, &s, err) || !sample_all(g, err) || !trainer_save_due(g->t, err))
            return false;
    }
    return true;
}

/* final/ gets its name last: a run that has it is whole, one without it can be gone on with. */
static bool finish(struct going *g, struct err *err)
{
    const struct train_recipe *r = &g->p->recipe;
    if (!trainer_checkpoint(g->t, err) || !trainer_end(g->t, "done", err))
        return false;
    write_report(g);
    if (!trainer_finish(g->t, err) || !pretrain_line_end(&g->line, r->run.steps, "done", err))
        return false;
    if (!g->p->args->json)
        printf("the model is in %s/final: `kexa run -m %s/final` runs it, `kexa convert %s/final "
               "model.gguf` makes one file of it; %s/report.html shows the run\n", r->run.out,
               r->run.out, r->run.out, r->run.out);
    return true;
}

bool pretrain_run(struct pretrain *p, struct err *err)
{
    struct going g = { .p = p, .stop = interrupt_catch() };
    signal(SIGPIPE, SIG_IGN);             /* the state is saved first */
    struct trainer_options o = { .resume = p->args->resume, .roof_flops = p->roof.flops };
    if (!trainer_open(&g.t, &p->recipe, &o, err))
        return false;
    if (*trainer_notes(g.t))
        fprintf(stderr, "kexa: %s", trainer_notes(g.t));
    pretrain_line_begin(&g.line, &p->recipe, &p->roof, p->args->json);
    bool ok = take_steps(&g, err) && finish(&g, err);
    pretrain_line_clear(&g.line);
    trainer_close(g.t);
    return ok;
}
