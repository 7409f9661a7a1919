#include "cmd/chat_turns.h"

void chat_message_release(struct chat_message *m)
{
    mem_give((char *)m->content);
    mem_give((char *)m->reasoning);
}

void chat_turns_release(struct chat_turns *t)
{
    for (size_t i = 0; i < t->n; i++)
        chat_message_release(&t->at[i]);
    mem_give(t->at);
    *t = (struct chat_turns){ 0 };
}

static bool room_for_one(struct chat_turns *t)
{
    if (t->n < t->cap)
        return true;
    size_t cap = t->cap ? t->cap * 2 : 16;
    struct chat_message *p = mem_grow(t->at, cap, sizeof *p);
    if (!p)
        return false;
    t->at = p;
    t->cap = cap;
    return true;
}

static bool insert(struct chat_turns *t, size_t at, enum chat_role role, const char *content,
                   const char *reasoning, struct err *err)
{
    struct chat_message m = { .role = role };
    bool ok = room_for_one(t);
    m.content = mem_copy_text(content, strlen(content));
    m.reasoning = reasoning ? mem_copy_text(reasoning, strlen(reasoning)) : NULL;
    if (!ok || !m.content || (reasoning && !m.reasoning)) {
        chat_message_release(&m);
        return fail(err, ERR_MEMORY, "no memory to keep a message of %zu bytes",
                    strlen(content));
    }
    memmove(t->at + at + 1, t->at + at, (t->n - at) * sizeof *t->at);
    t->at[at] = m;
    t->n++;
    return true;
}

bool chat_turns_add(struct chat_turns *t, enum chat_role role, const char *content,
                    const char *reasoning, struct err *err)
{
    return insert(t, t->n, role, content, reasoning, err);
}

void chat_turns_drop_last(struct chat_turns *t)
{
    if (t->n)
        chat_message_release(&t->at[--t->n]);
}

struct chat_message chat_turns_take_last(struct chat_turns *t)
{
    check(t->n > 0);
    return t->at[--t->n];
}

void chat_turns_give_back(struct chat_turns *t, struct chat_message m)
{
    check(t->n < t->cap);
    t->at[t->n++] = m;
}

const char *chat_turns_system_text(const struct chat_turns *t)
{
    return t->n && t->at[0].role == CHAT_SYSTEM ? t->at[0].content : NULL;
}

bool chat_turns_system(struct chat_turns *t, const char *content, struct err *err)
{
    bool had = chat_turns_system_text(t);
    if (content && !insert(t, 0, CHAT_SYSTEM, content, NULL, err))
        return false;
    if (had) {
        size_t old = content ? 1 : 0;
        chat_message_release(&t->at[old]);
        memmove(t->at + old, t->at + old + 1, (t->n - old - 1) * sizeof *t->at);
        t->n--;
    }
    return true;
}
