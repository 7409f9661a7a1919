/* run: continue a text. */
#include "cmd/chat_answer.h"
#include "cmd/commands.h"
#include "cmd/engine_args.h"

#include <jansson.h>
#include <signal.h>

#define PROMPT_BYTES_MAX ((size_t)64 << 20)

struct run_args {
    struct model_args model;
    struct sampling_args sampling;
    const char *file;
    bool json, echo;
};

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_CONTEXT, FINISH_INTERRUPTED };
static const char *const finish_names[] = { "stop", "length", "context", "interrupted" };

struct run {
    const struct run_args *args;
    struct kexa_model *model;
    struct kexa_session *session;
    const char **stops;
    uint32_t *prompt;
    size_t n_prompt, n_answer;
    json_t *tokens;                       /* for --json: id, text, logprob of each */
    enum finish finish;
    uint64_t prompt_ns, answer_ns;
};

static volatile sig_atomic_t interrupted;
static struct kexa_session *running;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
    kexa_session_cancel(running);
}

static void show(void *arg, struct bytes text, bool thinking)
{
    const struct run *r = arg;
    (void)thinking;
    if (!r->args->json && text.len) {
        fwrite(text.at, 1, text.len, stdout);
        fflush(stdout);
    }
}

static void on_progress(void *arg, size_t done, size_t total)
{
    (void)total;
    progress_at(arg, done);
}

/* The operands, the file or standard input. */
static bool read_prompt(const struct run_args *a, const struct operands *rest, struct buf *out,
                        struct err *err)
{
    if (rest->n && a->file)
        return fail(err, ERR_USAGE, "give either a text or -f FILE, not both");
    if (!rest->n)
        return file_read(out, a->file ? a->file : "-", PROMPT_BYTES_MAX, err);
    for (int i = 0; i < rest->n; i++)
        buf_printf(out, "%s%s", i ? " " : "", rest->at[i]);
    return buf_ok(out, err);
}

static bool tokenize_prompt(struct run *r, const struct buf *text, struct err *err)
{
    int flags = KEXA_ADD_SPECIAL | KEXA_PARSE_SPECIAL;
    struct kexa_error e;
    const char *at = text->at ? text->at : "";
    if (!kexa_tokenize(r->model, at, text->len, flags, NULL, 0, &r->n_prompt, &e))
        return fail_engine(err, &e);
    if (!r->n_prompt)
        return fail(err, ERR_USAGE, "the prompt is empty; give a text, -f FILE or standard input");
    r->prompt = mem_take(r->n_prompt, sizeof *r->prompt);
    if (!r->prompt)
        return fail(err, ERR_MEMORY, "no memory for %zu tokens", r->n_prompt);
    return kexa_tokenize(r->model, at, text->len, flags, r->prompt, r->n_prompt, &r->n_prompt, &e)
           || fail_engine(err, &e);
}

static bool evaluate_prompt(struct run *r, struct err *err)
{
    struct kexa_error e;
    struct progress bar;
    uint64_t start = now_ns();
    progress_begin(&bar, "reading the prompt", "tokens", r->n_prompt);
    kexa_session_on_progress(r->session, on_progress, &bar);
    bool ok = kexa_session_add(r->session, r->prompt, r->n_prompt, &e) || fail_engine(err, &e);
    kexa_session_on_progress(r->session, NULL, NULL);
    progress_end(&bar);
    r->prompt_ns = now_ns() - start;
    return ok;
}

static bool keep_token(struct run *r, uint32_t id, struct bytes piece, float logprob)
{
    if (!r->tokens)
        return true;
    json_t *bytes = json_array();
    for (size_t i = 0; i < piece.len; i++)
        json_array_append_new(bytes, json_integer(piece.at[i]));
    return json_array_append_new(r->tokens, json_pack("{s:I, s:o, s:f}", "id", (json_int_t)id,
                                                      "bytes", bytes, "logprob",
                                                      (double)logprob)) == 0;
}

/* Why the next token is not to be made, if so.  An output that takes no more ends it too;
 * kexa.c says so. */
static bool is_over(struct run *r, const struct chat_answer *a)
{
    int64_t most = r->args->sampling.max_tokens;
    bool full = kexa_session_position(r->session) == kexa_session_context(r->session);
    r->finish = interrupted ? FINISH_INTERRUPTED
              : a->ended ? FINISH_STOP
              : most != OPT_UNSET && (int64_t)r->n_answer >= most ? FINISH_LENGTH
              : FINISH_CONTEXT;
    return interrupted || a->ended || r->finish == FINISH_LENGTH || full || ferror(stdout);
}

static bool generate(struct run *r, struct chat_answer *a, struct err *err)
{
    struct kexa_error e;
    while (!is_over(r, a)) {
        uint32_t id;
        float logprob = 0;
        struct bytes piece;
        if (!kexa_session_sample(r->session, &id, r->tokens ? &logprob : NULL, &e))
            return fail_engine(err, &e);
        if (kexa_model_is_end(r->model, id)) {
            r->finish = FINISH_STOP;
            return true;
        }
        piece.at = (const uint8_t *)kexa_model_token(r->model, id, &piece.len);
        chat_answer_put(a, piece);
        r->n_answer++;
        if (!keep_token(r, id, piece, logprob))
            return fail(err, ERR_MEMORY, "no memory for the answer's tokens");
        if (!a->ended && !kexa_session_add(r->session, &id, 1, &e) && !interrupted)
            return fail_engine(err, &e);
    }
    return true;
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

static void print_timings(const struct run *r)
{
    uint32_t held = kexa_session_position(r->session), room = kexa_session_context(r->session);
    double p = seconds(r->prompt_ns), a = seconds(r->answer_ns);
    fprintf(stderr, "kexa: prompt %zu tokens in %.2f s (%.1f/s); answer %zu tokens in %.2f s "
            "(%.1f/s); context %u of %u\n", r->n_prompt, p, p > 0 ? (double)r->n_prompt / p : 0,
            r->n_answer, a, a > 0 ? (double)r->n_answer / a : 0, held, room);
    if (r->finish == FINISH_CONTEXT && !ferror(stdout))
        fprintf(stderr, "kexa: cut short: all %u tokens of the context are used; --ctx N gives "
                "more room\n", room);
}

static bool print_json(struct run *r, const struct chat_answer *a, struct err *err)
{
    struct kexa_model_info info;
    kexa_model_info(r->model, &info);
    json_t *o = json_pack("{s:s, s:s#, s:s, s:I, s:I, s:f, s:f, s:O}", "model", info.name, "text",
                          a->content.at ? a->content.at : "", (int)a->content.len,
                          "finish_reason", finish_names[r->finish],
                          "prompt_tokens", (json_int_t)r->n_prompt,
                          "answer_tokens", (json_int_t)r->n_answer,
                          "prompt_seconds", seconds(r->prompt_ns),
                          "answer_seconds", seconds(r->answer_ns), "tokens", r->tokens);
    if (!o)
        return fail(err, ERR_MEMORY, "no memory for the report");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return true;
}

static bool answer(struct run *r, struct err *err)
{
    struct chat_answer a = { .stops = r->stops, .show = show, .arg = r };
    struct sigaction catch = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
    running = r->session;
    sigaction(SIGINT, &catch, NULL);
    bool ok = evaluate_prompt(r, err);
    uint64_t start = now_ns();
    if (ok && r->args->echo && !r->args->json)
        for (size_t i = 0; i < r->n_prompt; i++) {
            struct bytes b;
            b.at = (const uint8_t *)kexa_model_token(r->model, r->prompt[i], &b.len);
            show(r, b, false);
        }
    ok = ok && generate(r, &a, err);
    chat_answer_end(&a);
    r->answer_ns = now_ns() - start;
    catch.sa_handler = SIG_DFL;
    sigaction(SIGINT, &catch, NULL);
    if (ok && r->args->json)
        ok = print_json(r, &a, err);
    else if (ok)
        putchar('\n');
    fflush(stdout);
    if (ok)
        print_timings(r);
    chat_answer_release(&a);
    return ok;
}

static bool collect_stops(struct run *r, struct err *err)
{
    const struct opt_list *given = &r->args->sampling.stop;
    r->stops = mem_take(given->n + 1, sizeof *r->stops);
    r->tokens = r->args->json ? json_array() : NULL;
    if (!r->stops || (r->args->json && !r->tokens))
        return fail(err, ERR_MEMORY, "no memory for %zu stop texts", given->n);
    for (size_t i = 0; i < given->n; i++)
        r->stops[i] = given->at[i];
    return true;
}

static bool run_run(const void *args, const struct operands *rest, struct err *err)
{
    struct run r = { .args = args };
    struct buf text = { 0 };
    bool ok = read_prompt(r.args, rest, &text, err) && collect_stops(&r, err);
    ok = ok && (r.model = model_args_open(&r.args->model, err)) != NULL;
    ok = ok && tokenize_prompt(&r, &text, err);
    ok = ok && (r.session = model_args_session(&r.args->model, r.model, err)) != NULL;
    ok = ok && sampling_args_set(&r.args->sampling, r.session, err) && answer(&r, err);
    if (ok && r.finish == FINISH_INTERRUPTED)
        ok = fail(err, ERR_CANCELLED, "stopped");
    kexa_session_close(r.session);
    kexa_model_close(r.model);
    json_decref(r.tokens);
    mem_give(r.stops);
    mem_give(r.prompt);
    buf_release(&text);
    return ok;
}

#define AT(f) offsetof(struct run_args, f)
static const struct opt run_opts[] = {
    O_TEXT("file", 'f', AT(file), NULL, "FILE", "read the prompt from FILE; - is standard input"),
    O_FLAG("echo", 0, AT(echo), "print the prompt before the answer"),
    O_FLAG("json", 0, AT(json), "print one JSON object with the text, its tokens and timings"),
    O_END
};
#undef AT

static const struct example examples[] = {
    { "kexa run \"The sea is\" -n 40", "continues the text by at most 40 tokens" },
    { "kexa run -m model.gguf --temp 0 -f prompt.txt",
      "another model, always the likeliest token" },
    { "echo \"Once upon a time\" | kexa run --seed 7 --json",
      "for a script, repeatable" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Input and output", run_opts, 0 },
    { "Model", model_opts, offsetof(struct run_args, model) },
    { "Sampling", sampling_opts, offsetof(struct run_args, sampling) },
    { NULL, NULL, 0 }
};

const struct command run_command = {
    "run", "continue a text", "[TEXT]...", 0, 1 << 20,
    "Reads a prompt and writes what the model expects to follow, until the model ends its turn, "
    "a stop text comes, -n tokens are made or the context is full.  The prompt goes to the model "
    "as it is, control tokens included; for a conversation in the model's own format use "
    "`kexa chat`.  Timings go to standard error.",
    examples, groups, sizeof(struct run_args), run_run
};
