/* The option parser on a small table of its own. */
#include "../harness.h"
#include "cmd/options.h"

struct inner {
    int64_t n;
};

struct args {
    bool flag;
    int64_t unset;
    double x, nothing;
    const char *text, *pick;
    struct opt_list list;
    struct inner inner;
};

static const char *colours(size_t i)
{
    static const char *const words[] = { "red", "green" };
    return i < 2 ? words[i] : NULL;
}

#define AT(field) offsetof(struct args, field)

static const struct opt opts[] = {
    O_FLAG("flag", 'f', AT(flag), "a flag"),
    O_INT("unset", 0, AT(unset), -5, 5, NULL, "N", "a number without preset"),
    O_FLOAT("x", 'x', AT(x), 0, 1, "0.5", "X", "a share"),
    O_FLOAT("nothing", 0, AT(nothing), 0, 1, NULL, "X", "a share without preset"),
    O_TEXT("text", 't', AT(text), "preset", "TEXT", "a text"),
    O_CHOICE("colour", 0, AT(pick), colours, NULL, "a colour"),
    O_LIST("stop", 0, AT(list), "TEXT", "texts"),
    O_END
};

static const struct opt inner_opts[] = {
    O_INT("count", 'n', offsetof(struct inner, n), 0, 100, "7", "N", "a count"),
    O_END
};

static const struct opt_group groups[] = {
    { "Options", opts, 0 },
    { "Inner", inner_opts, AT(inner) },
    { NULL, NULL, 0 }
};

static const struct command command = {
    "try", "try options", "[WORD]...", 0, 2, "Tries.", NULL, groups, sizeof(struct args), NULL
};

enum { MOST = 12 };

static struct args args;
static struct operands rest;
static bool help;
static struct err err;
static char *words[MOST];

/* Parses a list that ends with NULL; releases what the last call took. */
static bool parse(const char *const *typed)
{
    int n = 0;
    options_release(&command, &args);
    for (; typed[n]; n++)
        words[n] = (char *)(size_t)typed[n];
    memset(&err, 0, sizeof err);
    return options_parse(&command, n, words, &args, &rest, &help, &err);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void test_presets(void)
{
    EXPECT(parse((const char *const[]){ NULL }));
    EXPECT(!args.flag && args.unset == OPT_UNSET && args.x == 0.5 && isnan(args.nothing));
    EXPECT(!strcmp(args.text, "preset") && !args.pick && args.list.n == 0);
    EXPECT(args.inner.n == 7 && rest.n == 0);
}

static void test_forms(void)
{
    EXPECT(PARSE("--flag", "--unset=-3", "-x", "0.25", "-thello", "--colour", "green", "-n9"));
    EXPECT(args.flag && args.unset == -3 && args.x == 0.25 && !strcmp(args.text, "hello"));
    EXPECT(!strcmp(args.pick, "green") && args.inner.n == 9);
    EXPECT(PARSE("--text=", "--unset", "-4"));
    EXPECT(!strcmp(args.text, "") && args.unset == -4);
    EXPECT(PARSE("--stop", "a", "--stop=b", "--stop", "--flag"));
    EXPECT(args.list.n == 3 && !strcmp(args.list.at[1], "b") && !args.flag);
}

static void test_operands(void)
{
    EXPECT(PARSE("one", "-f", "-"));
    EXPECT(rest.n == 2 && !strcmp(rest.at[0], "one") && !strcmp(rest.at[1], "-") && args.flag);
    EXPECT(PARSE("--", "-f", "--flag"));
    EXPECT(rest.n == 2 && !strcmp(rest.at[0], "-f") && !args.flag);
    EXPECT(!PARSE("a", "b", "c") && err.code == ERR_USAGE);
    EXPECT(PARSE("a", "--help", "--wrong") && help);
}

/* Every refusal is a usage error whose sentence names the culprit. */
static void expect_refused(bool ok, const char *part)
{
    EXPECTF(!ok && err.code == ERR_USAGE && strstr(err.msg, part),
            "expected \"%s\" in \"%s\"", part, err.msg);
}

static void test_refusals(void)
{
    expect_refused(PARSE("--flg"), "did you mean --flag");
    expect_refused(PARSE("--quite-another-thing"), "quite-another-thing");
    expect_refused(PARSE("-q"), "-q");
    expect_refused(PARSE("--flag=1"), "no value");
    expect_refused(PARSE("-fx"), "no value");
    expect_refused(PARSE("--unset"), "needs a value");
    expect_refused(PARSE("-x"), "needs a value");
    expect_refused(PARSE("--unset", "6"), "from -5 to 5");
    expect_refused(PARSE("--unset", "3x"), "\"3x\"");
    expect_refused(PARSE("--unset="), "whole number");
    expect_refused(PARSE("--count=99999999999999999999"), "whole number");
    expect_refused(PARSE("--x", "nan"), "not \"nan\"");
    expect_refused(PARSE("--x=1.01"), "from 0 to 1");
    expect_refused(PARSE("--colour=blue"), "red|green");
    expect_refused(PARSE("--colour", "gree"), "\"gree\"");
}

static void test_no_memory(void)
{
    options_release(&command, &args);
    args.list = (struct opt_list){ NULL, 0 };
    mem_fail_after = 0;
    bool ok = PARSE("--stop", "a");
    mem_fail_after = -1;
    EXPECT(!ok && err.code == ERR_MEMORY);
    options_release(&command, &args);
    args.list = (struct opt_list){ NULL, 0 };
    EXPECT(mem_live == 0);
}

static const char *fruit(size_t i, const void *arg)
{
    static const char *const names[] = { "apple", "pear", "plum", "temperature" };
    (void)arg;
    return i < 4 ? names[i] : NULL;
}

static void test_nearest(void)
{
    EXPECT(!strcmp(nearest_word("aple", fruit, NULL), "apple"));
    EXPECT(!strcmp(nearest_word("paer", fruit, NULL), "pear"));
    EXPECT(!strcmp(nearest_word("temp", fruit, NULL), "temperature"));
    EXPECT(nearest_word("zebra", fruit, NULL) == NULL);
    EXPECT(nearest_word("a-very-long-word-that-is-longer-than-thirty-two", fruit, NULL) == NULL);
}

static void test_text_of_options(void)
{
    char text[80];
    option_value_name(&opts[5], text, sizeof text);
    EXPECTF(!strcmp(text, "red|green"), "%s", text);
    option_range_text(&opts[2], text, sizeof text);
    EXPECTF(!strcmp(text, "0 to 1; default 0.5"), "%s", text);
    option_range_text(&opts[0], text, sizeof text);
    EXPECT(!*text);
}

const struct test tests[] = {
    { "presets", test_presets }, { "forms", test_forms }, { "operands", test_operands },
    { "refusals", test_refusals }, { "no memory", test_no_memory }, { "nearest", test_nearest },
    { "text of options", test_text_of_options }, { 0 }
};
