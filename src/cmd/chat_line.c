#include "cmd/chat_line.h"

#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_HISTORY = 1000 };

struct chat_line {
    EditLine *el;                         /* NULL: plain lines */
    History *history;
    char history_path[4096];              /* "": none is kept */
    const char *prompt;
    bool interrupted;
};

/* ---- the history file ---------------------------------------------------------------- */

static void open_history(struct chat_line *l)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    HistEvent e;
    int n = -1;
    if (state && state[0] == '/')
        n = snprintf(l->history_path, sizeof l->history_path, "%s/kexa/history", state);
    else if (home && home[0] == '/')
        n = snprintf(l->history_path, sizeof l->history_path, "%s/.local/state/kexa/history",
                     home);
    history(l->history, &e, H_SETSIZE, MOST_HISTORY);
    history(l->history, &e, H_SETUNIQUE, 1);
    if (n < 0 || (size_t)n >= sizeof l->history_path
        || !folder_make_above(l->history_path, 0700, NULL)) {
        l->history_path[0] = 0;
        return;
    }
    int fd = open(l->history_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        fchmod(fd, 0600);
        close(fd);
        history(l->history, &e, H_LOAD, l->history_path);
    }
}

static void remember(struct chat_line *l, const char *line)
{
    HistEvent e;
    history(l->history, &e, H_ENTER, line);
    if (l->history_path[0])
        history(l->history, &e, H_SAVE, l->history_path);
}

/* ---- libedit ------------------------------------------------------------------------- */

static char *show_prompt(EditLine *el)
{
    struct chat_line *l;
    el_get(el, EL_CLIENTDATA, &l);
    return (char *)l->prompt;
}

/* Ctrl-C at the prompt: gives the line up. */
static unsigned char interrupt(EditLine *el, wint_t c)
{
    struct chat_line *l;
    (void)c;
    el_get(el, EL_CLIENTDATA, &l);
    l->interrupted = true;
    return CC_EOF;
}

/* Ctrl-Z: what the terminal would do; libedit's own handler restores it on the way. */
static unsigned char suspend(EditLine *el, wint_t c)
{
    (void)el, (void)c;
    raise(SIGTSTP);
    return CC_REDISPLAY;
}

/*
 * While a line is edited Ctrl-C is a key like any other: libedit would pass the signal on to
 * the whole process group, and so to the script that started us.
 */
static void bind_keys(EditLine *el)
{
    static const char *const keys[][2] = {
        { "^C", "kexa-interrupt" }, { "^Z", "kexa-suspend" }, { "^R", "em-inc-search-prev" },
        { "^W", "ed-delete-prev-word" }, { "\\e[3~", "ed-delete-next-char" },
        { "\\e[1;5C", "em-next-word" }, { "\\e[1;5D", "ed-prev-word" },
        { "\\e[H", "ed-move-to-beg" }, { "\\e[F", "ed-move-to-end" },
    };
    /* The narrow el_set would copy these names and never free them. */
    el_wset(el, EL_ADDFN, L"kexa-interrupt", L"Give the line up", interrupt);
    el_wset(el, EL_ADDFN, L"kexa-suspend", L"Stop until told to go on", suspend);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        el_set(el, EL_BIND, keys[i][0], keys[i][1], NULL);
    el_set(el, EL_SETTY, "-d", "-isig", NULL);
}

/* Wide characters need a UTF-8 locale; a machine without one set still has C.UTF-8. */
static void use_utf8(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))
        setlocale(LC_CTYPE, "C.UTF-8");
}

static bool open_editor(struct chat_line *l)
{
    use_utf8();
    l->el = el_init("kexa", stdin, stdout, stderr);
    l->history = history_init();
    if (!l->el || !l->history)
        return false;
    open_history(l);
    el_set(l->el, EL_CLIENTDATA, l);
    el_set(l->el, EL_SIGNAL, 1);
    el_set(l->el, EL_EDITOR, "emacs");
    el_set(l->el, EL_PROMPT, show_prompt);
    el_set(l->el, EL_HIST, history, l->history);
    bind_keys(l->el);
    el_source(l->el, NULL);
    return true;
}

struct chat_line *chat_line_open(bool edit, struct err *err)
{
    struct chat_line *l = mem_take(1, sizeof *l);
    if (l && (!edit || open_editor(l)))
        return l;
    chat_line_close(l);
    fail(err, ERR_MEMORY, "no memory for line editing");
    return NULL;
}

void chat_line_close(struct chat_line *l)
{
    if (l && l->history)
        history_end(l->history);
    if (l && l->el)
        el_end(l->el);
    mem_give(l);
}

static enum chat_line_end next_edited(struct chat_line *l, const char *prompt, struct buf *out)
{
    int n;
    l->prompt = prompt;
    for (;;) {
        l->interrupted = false;
        const char *line = el_gets(l->el, &n);
        if (!line || n <= 0) {
            printf(l->interrupted ? "^C\n" : "\n");
            return l->interrupted ? LINE_INTERRUPTED : LINE_CLOSED;
        }
        n -= line[n - 1] == '\n';
        bool more = n && line[n - 1] == '\\';
        buf_put(out, line, (size_t)n - more);
        if (!more)
            break;
        buf_text(out, "\n");
        l->prompt = "... ";
    }
    if (out->len && !out->failed)
        remember(l, out->at);
    return LINE_READ;
}

static enum chat_line_end next_plain(struct buf *out)
{
    int c;
    while ((c = getc(stdin)) != EOF && c != '\n') {
        char byte = (char)c;
        buf_put(out, &byte, 1);
    }
    if (c == EOF && !out->len)
        return LINE_CLOSED;
    if (out->len && out->at[out->len - 1] == '\r')
        out->at[--out->len] = 0;
    return LINE_READ;
}

enum chat_line_end chat_line_next(struct chat_line *l, const char *prompt, struct buf *out)
{
    buf_clear(out);
    buf_text(out, "");
    return l->el ? next_edited(l, prompt, out) : next_plain(out);
}

void chat_line_put(struct chat_line *l, const char *text)
{
    if (l->el)
        el_push(l->el, text);
}
