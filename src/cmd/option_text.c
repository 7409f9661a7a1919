/* What --help prints. */
#include "cmd/options.h"

#define COLUMNS_WIDE 80

void option_value_name(const struct opt *o, char *out, size_t size)
{
    *out = 0;
    if (o->kind == OPT_FLAG)
        return;
    if (o->kind != OPT_CHOICE) {
        snprintf(out, size, "%s", o->arg);
        return;
    }
    size_t at = 0;
    for (size_t i = 0; o->choice(i) && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "|" : "", o->choice(i));
}

void option_range_text(const struct opt *o, char *out, size_t size)
{
    size_t at = 0;
    *out = 0;
    if (o->kind == OPT_INT || o->kind == OPT_FLOAT) {
        if (o->high >= 0x1p31)
            at = (size_t)snprintf(out, size, "%.17g or more", o->low);
        else
            at = (size_t)snprintf(out, size, "%.10g to %.10g", o->low, o->high);
    }
    if (o->kind == OPT_LIST)
        at = (size_t)snprintf(out, size, "may be given several times");
    if (o->preset && at < size)
        snprintf(out + at, size - at, "%sdefault %s", at ? "; " : "", o->preset);
}

/* Prints text in lines of at most COLUMNS_WIDE, every line after the first indented. */
static void print_wrapped(FILE *out, const char *text, int column, int indent)
{
    while (*text) {
        int spaces = (int)strspn(text, " "), word = (int)strcspn(text + spaces, " \n");
        if (column > indent && column + spaces + word >= COLUMNS_WIDE) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else {
            fprintf(out, "%*s", spaces, "");
            column += spaces;
        }
        fwrite(text + spaces, 1, (size_t)word, out);
        column += word;
        text += spaces + word;
        if (*text == '\n') {
            fprintf(out, "\n%*s", text[1] && text[1] != '\n' ? indent : 0, "");
            column = indent;
            text++;
        }
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct opt *o)
{
    char value[200], range[200], help[900];
    option_value_name(o, value, sizeof value);
    option_range_text(o, range, sizeof range);
    int n = o->letter ? fprintf(out, "  -%c, --%s", o->letter, o->name)
                      : fprintf(out, "      --%s", o->name);
    if (*value)
        n += fprintf(out, " %s", value);
    if (n > 26) {
        fputc('\n', out);
        n = 0;
    }
    fprintf(out, "%*s", 28 - n, "");
    snprintf(help, sizeof help, *range ? "%s (%s)" : "%s", o->help, range);
    print_wrapped(out, help, 28, 28);
}

void options_help(FILE *out, const struct command *c)
{
    fprintf(out, "kexa %s: %s\n\nUsage: kexa %s [OPTION]...%s%s\n\n", c->name, c->about, c->name,
            c->operands ? " " : "", c->operands ? c->operands : "");
    print_wrapped(out, c->text, 0, 0);
    for (const struct example *e = c->examples; e && e->line; e++)
        fprintf(out, "%s  %s\n      %s\n", e == c->examples ? "\nExamples:\n" : "", e->line,
                e->what);
    for (const struct opt_group *g = c->groups; g && g->title; g++) {
        fprintf(out, "\n%s:\n", g->title);
        for (const struct opt *o = g->opts; o->name; o++)
            print_option(out, o);
    }
    fprintf(out, "%s  -h, --help                show this help\n", c->groups ? "" : "\nOptions:\n");
}
