#include "cmd/chat_turns.h"
#include "format/format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FILE_BYTES = 64 << 20 };

static const char *const role_word[] = {
    [CHAT_SYSTEM] = "system", [CHAT_USER] = "user",
    [CHAT_ASSISTANT] = "assistant", [CHAT_TOOL] = "tool",
};
enum { N_ROLES = sizeof role_word / sizeof *role_word };

static void put_messages(const struct chat_turns *t, struct buf *out)
{
    buf_text(out, "[");
    for (size_t i = 0; i < t->n; i++) {
        const struct chat_message *m = &t->at[i];
        buf_printf(out, "%s\n {\"role\": \"%s\", \"content\": ", i ? "," : "",
                   role_word[m->role]);
        chat_json_quote(m->content, out);
        if (m->reasoning) {
            buf_text(out, ", \"reasoning_content\": ");
            chat_json_quote(m->reasoning, out);
        }
        buf_text(out, "}");
    }
    buf_text(out, "\n]\n");
}

static bool read_message(const json_t *m, size_t i, const char *path, struct chat_turns *t,
                         struct err *err)
{
    const json_t *role = json_object_get(m, "role"), *content = json_object_get(m, "content");
    const json_t *reasoning = json_object_get(m, "reasoning_content");
    int r = 0;
    while (r < N_ROLES && (!json_is_string(role) || strcmp(json_string_value(role), role_word[r])))
        r++;
    if (r == N_ROLES)
        return fail(err, ERR_FORMAT, "%s: message %zu has the role %.60s, but it must be "
                    "\"system\", \"user\", \"assistant\" or \"tool\"", path, i,
                    json_is_string(role) ? json_string_value(role) : "(none)");
    if (!json_is_string(content) || (reasoning && !json_is_string(reasoning)))
        return fail(err, ERR_FORMAT, "%s: the %s of message %zu is not a text", path,
                    json_is_string(content) ? "reasoning_content" : "content", i);
    if (json_object_get(m, "tool_calls"))
        return fail(err, ERR_UNSUPPORTED, "%s: message %zu has tool calls, which the chat "
                    "command cannot continue", path, i);
    return chat_turns_add(t, (enum chat_role)r, json_string_value(content),
                          json_string_value(reasoning), err);
}

static bool read_messages(const json_t *root, const char *path, struct chat_turns *t,
                          struct err *err)
{
    const json_t *list = json_is_array(root) ? root : json_object_get(root, "messages");
    if (!json_is_array(list))
        return fail(err, ERR_FORMAT, "%s is not a conversation: expected a JSON array of "
                    "{\"role\", \"content\"} messages, as /save writes", path);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_message(json_array_get(list, i), i, path, t, err))
            return false;
    return true;
}

bool chat_turns_load(struct chat_turns *t, const char *path, struct err *err)
{
    struct chat_turns got = { 0 };
    json_t *root = json_load_path(path, MOST_FILE_BYTES, err);
    if (!root)
        return false;
    bool ok = read_messages(root, path, &got, err);
    json_decref(root);
    struct chat_turns *old = ok ? t : &got;
    chat_turns_release(old);
    if (ok)
        *t = got;
    return ok;
}

/* What is at the path may be replaced: nothing, or a conversation. */
static bool may_replace(const char *path, struct err *err)
{
    struct chat_turns there = { 0 };
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT || fail_errno(err, ERR_IO, "cannot save to %s", path);
    if (!S_ISREG(st.st_mode))
        return fail(err, ERR_USAGE, "%s is there and is no plain file; choose another name",
                    path);
    if (st.st_size && !chat_turns_load(&there, path, NULL))
        return fail(err, ERR_USAGE, "%s is there and is not a saved conversation; choose another "
                    "name or remove it first", path);
    chat_turns_release(&there);
    return true;
}

static bool write_all(int fd, const struct buf *b)
{
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->at + at, b->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return fsync(fd) == 0;
}

/* mkstemp makes the file 0600. */
static bool write_renamed(const char *path, char *beside, const struct buf *text,
                          struct err *err)
{
    int fd = mkstemp(beside);
    if (fd < 0)
        return fail_errno(err, ERR_IO, "cannot save to %s", path);
    bool ok = write_all(fd, text);
    ok = close(fd) == 0 && ok;
    ok = ok && rename(beside, path) == 0;
    if (!ok) {
        fail_errno(err, ERR_IO, "cannot save to %s", path);
        unlink(beside);
    }
    return ok;
}

bool chat_turns_save(const struct chat_turns *t, const char *path, struct err *err)
{
    struct buf text = { 0 }, beside = { 0 };
    put_messages(t, &text);
    buf_printf(&beside, "%s.XXXXXX", path);
    bool ok = buf_ok(&text, err) && buf_ok(&beside, err) && may_replace(path, err)
           && write_renamed(path, beside.at, &text, err);
    buf_release(&text);
    buf_release(&beside);
    return ok;
}
