/* Taking back what was said last: /retry, /undo, /edit. */
#include "cmd/chat_state.h"

/* The last question and what answered it, taken out of the conversation. */
struct taken {
    struct chat_message question, answer;
    bool answered;
};

static bool take_last(struct chat *c, struct taken *t, struct err *err)
{
    struct chat_turns *turns = &c->turns;
    *t = (struct taken){ 0 };
    t->answered = turns->n && turns->at[turns->n - 1].role == CHAT_ASSISTANT;
    size_t at = turns->n - t->answered;
    if (!at || turns->at[at - 1].role != CHAT_USER)
        return fail(err, ERR_USAGE, "the conversation does not end with a message of yours and its "
                    "answer, so there is nothing to take back");
    if (t->answered)
        t->answer = chat_turns_take_last(turns);
    t->question = chat_turns_take_last(turns);
    return true;
}

static void give_back(struct chat *c, struct taken *t)
{
    chat_turns_give_back(&c->turns, t->question);
    if (t->answered)
        chat_turns_give_back(&c->turns, t->answer);
}

static void release(struct taken *t)
{
    chat_message_release(&t->question);
    chat_message_release(&t->answer);
}

/* Asks in place of what was taken; if there is no answer, all is as it was. */
static bool ask(struct chat *c, struct taken *t, const char *question, struct err *err)
{
    size_t before = c->turns.n;
    bool ok = chat_turns_add(&c->turns, CHAT_USER, question, NULL, err) && chat_reply(c, err);
    if (c->turns.n == before)
        give_back(c, t);
    else
        release(t);
    return ok;
}

bool chat_retry(struct chat *c, struct err *err)
{
    struct taken t;
    return take_last(c, &t, err) && ask(c, &t, t.question.content, err);
}

bool chat_undo(struct chat *c, struct err *err)
{
    struct taken t;
    if (!take_last(c, &t, err))
        return false;
    printf("Taken back: %s\n", t.question.content);
    release(&t);
    return true;
}

bool chat_edit(struct chat *c, const char *text, struct err *err)
{
    struct taken t;
    if (!*text && !c->terminal)
        return fail(err, ERR_USAGE, "/edit needs the new message, where there is no terminal to "
                    "change the old one");
    if (!take_last(c, &t, err))
        return false;
    if (*text)
        return ask(c, &t, text, err);
    chat_line_put(c->line, t.question.content);
    release(&t);
    return true;
}
