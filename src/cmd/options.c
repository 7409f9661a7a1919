#include "cmd/options.h"

#include <errno.h>
#include <stdlib.h>

/* An option met on the command line and the struct its field is in. */
struct target {
    const struct opt *opt;
    char *base;
};

static struct target find_option(const struct command *c, void *args, const char *name,
                                 size_t len, char letter)
{
    for (const struct opt_group *g = c->groups; g && g->title; g++)
        for (const struct opt *o = g->opts; o->name; o++)
            if (letter ? o->letter == letter
                       : strlen(o->name) == len && !strncmp(o->name, name, len))
                return (struct target){ o, (char *)args + g->at };
    return (struct target){ NULL, NULL };
}

/* The i-th long name of a command. */
static const char *option_word(size_t i, const void *arg)
{
    const struct command *c = arg;
    for (const struct opt_group *g = c->groups; g && g->title; g++)
        for (const struct opt *o = g->opts; o->name; o++)
            if (i-- == 0)
                return o->name;
    return i == 0 ? "help" : NULL;
}

static bool unknown_option(const struct command *c, const char *typed, size_t len,
                           struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), typed);
    const char *near = nearest_word(name, option_word, c);
    if (near)
        return fail(err, ERR_USAGE, "%s has no option --%s; did you mean --%s?  "
                    "`kexa %s --help` lists them all", c->name, name, near, c->name);
    return fail(err, ERR_USAGE, "%s has no option --%s; `kexa %s --help` lists them all",
                c->name, name, c->name);
}

static bool set_int(const struct opt *o, char *base, const char *text, struct err *err)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return fail(err, ERR_USAGE, "--%s takes a whole number, not \"%.80s\"", o->name, text);
    if ((double)v < o->low || (double)v > o->high)
        return fail(err, ERR_USAGE, "--%s is %lld, but must be from %.17g to %.17g",
                    o->name, v, o->low, o->high);
    *(int64_t *)(void *)(base + o->at) = v;
    return true;
}

static bool set_float(const struct opt *o, char *base, const char *text, struct err *err)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v))
        return fail(err, ERR_USAGE, "--%s takes a number, not \"%.80s\"", o->name, text);
    if (v < o->low || v > o->high)
        return fail(err, ERR_USAGE, "--%s is %g, but must be from %g to %g",
                    o->name, v, o->low, o->high);
    *(double *)(void *)(base + o->at) = v;
    return true;
}

static bool set_choice(const struct opt *o, char *base, const char *text, struct err *err)
{
    for (size_t i = 0; o->choice(i); i++) {
        if (!strcmp(o->choice(i), text)) {
            *(const char **)(void *)(base + o->at) = o->choice(i);
            return true;
        }
    }
    char all[200];
    option_value_name(o, all, sizeof all);
    return fail(err, ERR_USAGE, "--%s is one of %s, not \"%.80s\"", o->name, all, text);
}

static bool add_text(const struct opt *o, char *base, const char *text, struct err *err)
{
    struct opt_list *list = (struct opt_list *)(void *)(base + o->at);
    const char **grown = mem_grow(list->at, list->n + 1, sizeof *grown);
    if (!grown)
        return fail(err, ERR_MEMORY, "no memory for the values of --%s", o->name);
    list->at = grown;
    list->at[list->n++] = text;
    return true;
}

static bool set_value(const struct opt *o, char *base, const char *text, struct err *err)
{
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)(void *)(base + o->at) = true;
        return true;
    case OPT_INT:
        return set_int(o, base, text, err);
    case OPT_FLOAT:
        return set_float(o, base, text, err);
    case OPT_TEXT:
        *(const char **)(void *)(base + o->at) = text;
        return true;
    case OPT_CHOICE:
        return set_choice(o, base, text, err);
    case OPT_LIST:
        return add_text(o, base, text, err);
    }
    return fail(err, ERR_INTERNAL, "--%s has an unknown kind in its table", o->name);
}

static bool set_presets(const struct command *c, void *args, struct err *err)
{
    memset(args, 0, c->args_size);
    for (const struct opt_group *g = c->groups; g && g->title; g++) {
        char *base = (char *)args + g->at;
        for (const struct opt *o = g->opts; o->name; o++) {
            if (o->kind == OPT_INT)
                *(int64_t *)(void *)(base + o->at) = OPT_UNSET;
            else if (o->kind == OPT_FLOAT)
                *(double *)(void *)(base + o->at) = NAN;
            if (o->preset && !set_value(o, base, o->preset, err))
                return false;
        }
    }
    return true;
}

/* One option at argv[i]; *used is how many arguments it took. */
static bool parse_long(const struct command *c, int left, char **argv, void *args, int *used,
                       struct err *err)
{
    const char *name = argv[0] + 2, *eq = strchr(name, '=');
    size_t len = eq ? (size_t)(eq - name) : strlen(name);
    struct target t = find_option(c, args, name, len, 0);
    if (!t.opt)
        return unknown_option(c, name, len, err);
    *used = 1;
    if (t.opt->kind == OPT_FLAG && eq)
        return fail(err, ERR_USAGE, "--%s takes no value", t.opt->name);
    if (t.opt->kind == OPT_FLAG || eq)
        return set_value(t.opt, t.base, eq ? eq + 1 : "", err);
    if (left < 2)
        return fail(err, ERR_USAGE, "--%s needs a value: %s", t.opt->name, t.opt->help);
    *used = 2;
    return set_value(t.opt, t.base, argv[1], err);
}

static bool parse_short(const struct command *c, int left, char **argv, void *args, int *used,
                        struct err *err)
{
    const char *arg = argv[0];
    struct target t = find_option(c, args, NULL, 0, arg[1]);
    if (!t.opt)
        return fail(err, ERR_USAGE, "%s has no option -%.20s; `kexa %s --help` lists them all",
                    c->name, arg + 1, c->name);
    *used = 1;
    if (t.opt->kind == OPT_FLAG && arg[2])
        return fail(err, ERR_USAGE, "-%c takes no value, but \"%.80s\" follows it", arg[1],
                    arg + 2);
    if (t.opt->kind == OPT_FLAG || arg[2])
        return set_value(t.opt, t.base, arg + 2, err);
    if (left < 2)
        return fail(err, ERR_USAGE, "-%c needs a value: %s", arg[1], t.opt->help);
    *used = 2;
    return set_value(t.opt, t.base, argv[1], err);
}

static bool check_operands(const struct command *c, const struct operands *rest, struct err *err)
{
    if (rest->n > c->max_operands) {
        if (!c->max_operands)
            return fail(err, ERR_USAGE, "%s takes no operand, but was given \"%.80s\"; "
                        "`kexa %s --help` shows how it is used", c->name, rest->at[0], c->name);
        return fail(err, ERR_USAGE, "%s takes at most %d operand%s (%s), but was given %d; "
                    "does the text need quotes?", c->name, c->max_operands,
                    c->max_operands == 1 ? "" : "s", c->operands, rest->n);
    }
    if (rest->n < c->min_operands)
        return fail(err, ERR_USAGE, "%s needs %s; `kexa %s --help` shows how it is used",
                    c->name, c->operands, c->name);
    return true;
}

bool options_parse(const struct command *c, int argc, char **argv, void *args,
                   struct operands *rest, bool *help, struct err *err)
{
    *rest = (struct operands){ argv, 0 };
    *help = false;
    if (!set_presets(c, args, err))
        return false;
    for (int i = 0, used; i < argc; i += used) {
        const char *arg = argv[i];
        used = 1;
        if (!strcmp(arg, "--")) {
            while (++i < argc)
                rest->at[rest->n++] = argv[i];
            break;
        }
        if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
            *help = true;
            return true;
        }
        if (arg[0] != '-' || !arg[1]) {
            rest->at[rest->n++] = argv[i];
        } else if (!(arg[1] == '-' ? parse_long : parse_short)(c, argc - i, argv + i, args,
                                                              &used, err)) {
            return false;
        }
    }
    return check_operands(c, rest, err);
}

void options_release(const struct command *c, void *args)
{
    for (const struct opt_group *g = c->groups; g && g->title; g++)
        for (const struct opt *o = g->opts; o->name; o++)
            if (o->kind == OPT_LIST)
                mem_give(((struct opt_list *)(void *)((char *)args + g->at + o->at))->at);
}
