#include "cmd/chat_answer.h"
#include "cmd/chat_state.h"

#include <signal.h>
#include <unistd.h>

/* ---- Ctrl-C while the model works ------------------------------------------------------ */

static volatile sig_atomic_t interrupted;
static struct kexa_session *running;      /* for the signal handler; set before it can run */

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
    kexa_session_cancel(running);
}

void chat_catch_interrupt(struct kexa_session *s)
{
    struct sigaction a = { .sa_handler = s ? on_interrupt : SIG_DFL, .sa_flags = SA_RESTART };
    if (s)
        running = s;
    sigaction(SIGINT, &a, NULL);
}

/* ---- showing --------------------------------------------------------------------------- */

/*
 * On a terminal control characters other than tab and line break are shown as U+FFFD, so
 * that no text of a model can move the cursor or talk to the terminal.
 */
static void put_visible(struct chat *c, struct bytes text)
{
    size_t from = 0;
    for (size_t i = 0; c->terminal && i < text.len; i++) {
        uint8_t b = text.at[i], next = i + 1 < text.len ? text.at[i + 1] : 0;
        bool c1 = b == 0xc2 && next >= 0x80 && next < 0xa0;
        if (!c1 && ((b >= 0x20 && b != 0x7f) || b == '\n' || b == '\t'))
            continue;
        fwrite(text.at + from, 1, i - from, stdout);
        fputs("\xef\xbf\xbd", stdout);
        i += c1;
        from = i + 1;
    }
    fwrite(text.at + from, 1, text.len - from, stdout);
    c->at_line_start = text.at[text.len - 1] == '\n';
}

struct shown {
    struct chat *c;
    bool thinking;                        /* what was shown last */
    bool any;
};

/* Thinking is dim on a terminal and not shown in a pipe. */
static void show(void *arg, struct bytes text, bool thinking)
{
    struct shown *s = arg;
    if (thinking && !s->c->terminal)
        return;
    if (thinking && !s->thinking)
        fputs(s->c->dim ? "\033[2m" : "(thinking)\n", stdout);
    if (!thinking && s->thinking)
        printf("%s%s\n", s->c->dim ? "\033[0m" : "", s->c->at_line_start ? "" : "\n");
    s->thinking = thinking;
    s->any = true;
    put_visible(s->c, text);
    fflush(stdout);
}

/* Ends what was shown with a line break, and dimming with it. */
static void end_shown(struct shown *s)
{
    if (s->thinking && s->c->dim)
        fputs("\033[0m", stdout);
    if (!s->any || !s->c->at_line_start)
        putchar('\n');
    s->thinking = false;
    s->c->at_line_start = true;
    fflush(stdout);
}

/* A remark of ours, not the model's. */
static void note(struct chat *c, const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s%s%s\n", c->terminal ? "(" : "kexa: ", text, c->terminal ? ")" : "");
}

/* ---- the prompt ------------------------------------------------------------------------ */

static bool tokenize(struct kexa_model *m, struct bytes text, int flags, struct ids *out,
                     struct err *err)
{
    struct kexa_error e;
    size_t n;
    if (!kexa_tokenize(m, (const char *)text.at, text.len, flags, NULL, 0, &n, &e))
        return fail_engine(err, &e);
    uint32_t *ids = mem_take(n + 1, sizeof *ids);
    if (!ids)
        return fail(err, ERR_MEMORY, "no memory for %zu tokens", n);
    bool ok = kexa_tokenize(m, (const char *)text.at, text.len, flags, ids, n, &n, &e)
           || fail_engine(err, &e);
    for (size_t i = 0; ok && i < n; i++)
        ids_put(out, ids[i]);
    mem_give(ids);
    return ok;
}

/* A special text is a token if it is encoded as one id that stands for that very text. */
static bool encode(void *arg, struct bytes text, bool special, struct ids *out, struct err *err)
{
    struct chat *c = arg;
    size_t before = out->n;
    if (!tokenize(c->model, text, special ? KEXA_PARSE_SPECIAL : 0, out, err))
        return false;
    if (!special || out->failed)
        return true;
    struct bytes one = { 0 };
    if (out->n == before + 1)
        one.at = (const uint8_t *)kexa_model_token(c->model, out->at[before], &one.len);
    if (!one.at || !bytes_eq(one, text))
        out->n = before;
    return true;
}

static bool build_prompt(struct chat *c, struct err *err)
{
    struct chat_prompt p = {
        .messages = c->turns.at, .n_messages = c->turns.n,
        .think = c->think, .add_generation = true,
    };
    chat_text_clear(&c->prompt);
    c->ids.n = 0;
    c->ids.failed = false;
    if (!tokenize(c->model, bytes_of(""), KEXA_ADD_SPECIAL, &c->ids, err))
        return false;
    return chat_render(c->format, &p, &c->prompt, err)
        && chat_text_encode(&c->prompt, encode, c, &c->ids, err);
}

/*
 * Leaves in the session the longest common beginning of what it holds and the prompt; at
 * least the prompt's last token is evaluated again, for its logits.
 */
static bool keep_common(struct chat *c, size_t *common, struct err *err)
{
    const uint32_t *held = kexa_session_tokens(c->session);
    size_t n_held = kexa_session_position(c->session), n = 0;
    struct kexa_error e;
    while (n < n_held && n + 1 < c->ids.n && held[n] == c->ids.at[n])
        n++;
    if (!kexa_session_truncate(c->session, (uint32_t)n, &e)) {
        n = 0;                            /* beyond the rings: all of it again */
        if (!kexa_session_truncate(c->session, 0, &e))
            return fail_engine(err, &e);
    }
    *common = n;
    return true;
}

static void show_progress(void *arg, size_t done, size_t total)
{
    (void)total;
    progress_at(arg, done);
}

static bool evaluate_prompt(struct chat *c, struct err *err)
{
    struct kexa_error e;
    struct progress bar;
    size_t common = 0, room = kexa_session_context(c->session);
    if (c->ids.n >= room)
        return fail(err, ERR_LIMIT, "the conversation with this message is %zu tokens, and the "
                    "context of %zu has no room for an answer; " CHAT_FULL_REMEDY, c->ids.n, room);
    if (!keep_common(c, &common, err))
        return false;
    size_t n = c->ids.n - common;
    uint64_t start = now_ns();
    progress_begin(&bar, "reading the prompt", "tokens", n);
    kexa_session_on_progress(c->session, show_progress, &bar);
    bool ok = kexa_session_add(c->session, c->ids.at + common, n, &e);
    kexa_session_on_progress(c->session, NULL, NULL);
    progress_end(&bar);
    c->last.prompt_tokens = n;
    c->last.kept_tokens = common;
    c->last.prompt_ns = now_ns() - start;
    return ok || fail_engine(err, &e);
}

/* ---- the answer ------------------------------------------------------------------------ */

enum reply_end { REPLY_WHOLE, REPLY_MOST, REPLY_FULL, REPLY_INTERRUPTED };

/*
 * Enough thought: the end of thinking is put into the session as if the model had written it,
 * as the formats write it in a conversation.
 */
static bool close_thinking(struct chat *c, struct chat_answer *a, bool *full, struct err *err)
{
    struct kexa_error e;
    size_t room = kexa_session_context(c->session) - kexa_session_position(c->session);
    chat_text_clear(&c->prompt);
    c->ids.n = 0;
    buf_text(&c->prompt.text, "\n");
    chat_text_special(&c->prompt, c->format->think_end);
    buf_text(&c->prompt.text, "\n\n");
    if (!chat_text_encode(&c->prompt, encode, c, &c->ids, err))
        return false;
    *full = c->ids.n >= room;
    if (*full)
        return true;
    chat_answer_put(a, (struct bytes){ (const uint8_t *)c->prompt.text.at, c->prompt.text.len });
    return kexa_session_add(c->session, c->ids.at, c->ids.n, &e) || interrupted
        || fail_engine(err, &e);
}

static bool generate(struct chat *c, struct chat_answer *a, enum reply_end *end, struct err *err)
{
    int64_t asked = c->args->sampling.max_tokens;
    size_t most = asked == OPT_UNSET ? SIZE_MAX : (size_t)asked, *n = &c->last.answer_tokens;
    struct kexa_error e;
    *end = REPLY_WHOLE;
    while (!a->ended) {
        uint32_t id;
        struct bytes piece;
        *end = interrupted || ferror(stdout) ? REPLY_INTERRUPTED
             : *n >= most ? REPLY_MOST : REPLY_WHOLE;
        if (*end != REPLY_WHOLE)
            return true;
        bool full = false;
        if (a->thinking && *n >= c->most_thinking && !close_thinking(c, a, &full, err))
            return false;
        if (full || interrupted) {
            *end = full ? REPLY_FULL : REPLY_INTERRUPTED;
            return true;
        }
        if (!kexa_session_sample(c->session, &id, NULL, &e))
            return fail_engine(err, &e);
        if (kexa_model_is_end(c->model, id))
            return true;
        piece.at = (const uint8_t *)kexa_model_token(c->model, id, &piece.len);
        chat_answer_put(a, piece);
        ++*n;
        if (kexa_session_position(c->session) == kexa_session_context(c->session)) {
            *end = REPLY_FULL;
            return true;
        }
        if (!a->ended && !kexa_session_add(c->session, &id, 1, &e) && !interrupted)
            return fail_engine(err, &e);
    }
    return true;
}

static void add_speed(struct chat *c)
{
    c->last.n_answers = 1;
    c->all.n_answers++;
    c->all.prompt_tokens += c->last.prompt_tokens;
    c->all.kept_tokens += c->last.kept_tokens;
    c->all.answer_tokens += c->last.answer_tokens;
    c->all.prompt_ns += c->last.prompt_ns;
    c->all.answer_ns += c->last.answer_ns;
}

static bool keep_answer(struct chat *c, const struct chat_answer *a, enum reply_end end,
                        struct err *err)
{
    if (!buf_ok(&a->content, err) || !buf_ok(&a->reasoning, err) || !buf_ok(&a->held, err))
        return false;
    if (end == REPLY_INTERRUPTED && !a->content.len) {
        note(c, "stopped before an answer; your message is taken back");
        chat_turns_drop_last(&c->turns);
        return true;
    }
    return chat_turns_add(&c->turns, CHAT_ASSISTANT, a->content.len ? a->content.at : "",
                          a->reasoning.len ? a->reasoning.at : NULL, err);
}

static bool say_end(struct chat *c, const struct chat_answer *a, enum reply_end end,
                    struct err *err)
{
    uint32_t room = kexa_session_context(c->session);
    char text[120];
    if (end == REPLY_FULL)
        return fail(err, ERR_LIMIT, "the answer is cut short: all %u tokens of the context are "
                    "used; " CHAT_FULL_REMEDY, room);
    snprintf(text, sizeof text, "cut after %zu tokens, as -n asks", c->last.answer_tokens);
    if (end == REPLY_MOST && c->terminal)
        note(c, text);
    else if (end == REPLY_INTERRUPTED && a->content.len)
        note(c, "stopped; what was said stays in the conversation");
    else if (end == REPLY_WHOLE && !a->content.len && c->terminal)
        note(c, "the model ended its turn without an answer");
    return true;
}

/* *stopped: Ctrl-C came while the prompt was read. */
static bool read_prompt(struct chat *c, bool *stopped, struct err *err)
{
    *stopped = false;
    if (build_prompt(c, err) && evaluate_prompt(c, err))
        return true;
    *stopped = interrupted && err->code == ERR_CANCELLED;
    return *stopped;
}

bool chat_reply(struct chat *c, struct err *err)
{
    struct shown shown = { .c = c };
    struct chat_answer a = {
        .stops = c->stops, .think_end = c->format->think_end, .show = show, .arg = &shown,
        .thinking = c->think && c->format->opens_thinking,
    };
    enum reply_end end = REPLY_INTERRUPTED;
    bool stopped = false;
    interrupted = 0;
    c->last = (struct chat_speed){ 0 };
    bool ok = read_prompt(c, &stopped, err);
    uint64_t start = now_ns();
    if (ok && !stopped) {
        ok = generate(c, &a, &end, err);
        chat_answer_end(&a);
        end_shown(&shown);
    }
    c->last.answer_ns = now_ns() - start;
    add_speed(c);
    if (ok)
        ok = keep_answer(c, &a, end, err) && say_end(c, &a, end, err);
    else
        chat_turns_drop_last(&c->turns);
    chat_answer_release(&a);
    return ok;
}
