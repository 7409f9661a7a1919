#include "text/text.h"
#include "../../harness.h"

#include <jansson.h>
#include <stdio.h>

enum { MAX = 16 };

struct conversation {
    struct chat_message message[MAX];
    struct chat_call call[MAX][MAX];
    const char *tool[MAX];
    struct chat_prompt p;
};

static enum chat_role role_of(const char *word)
{
    return !strcmp(word, "system") ? CHAT_SYSTEM : !strcmp(word, "user") ? CHAT_USER
         : !strcmp(word, "tool") ? CHAT_TOOL : CHAT_ASSISTANT;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void fill_message(struct conversation *c, size_t i, const json_t *m)
{
    const json_t *calls = json_object_get(m, "calls");
    c->message[i] = (struct chat_message){
        .role = role_of(text_of(m, "role")), .content = text_of(m, "content"),
        .reasoning = text_of(m, "reasoning"), .calls = c->call[i],
        .n_calls = json_array_size(calls),
    };
    for (size_t k = 0; k < json_array_size(calls); k++) {
        const json_t *call = json_array_get(calls, k);
        c->call[i][k] = (struct chat_call){ text_of(call, "name"), text_of(call, "arguments") };
    }
}

/* The case's strings are borrowed from its JSON. */
static void fill(struct conversation *c, const json_t *cases)
{
    const json_t *messages = json_object_get(cases, "messages");
    const json_t *tools = json_object_get(cases, "tools");
    for (size_t i = 0; i < json_array_size(messages); i++)
        fill_message(c, i, json_array_get(messages, i));
    for (size_t i = 0; i < json_array_size(tools); i++)
        c->tool[i] = json_string_value(json_array_get(tools, i));
    c->p = (struct chat_prompt){
        .messages = c->message, .n_messages = json_array_size(messages),
        .tools = c->tool, .n_tools = json_array_size(tools),
        .think = json_is_true(json_object_get(cases, "think")),
        .add_generation = json_is_true(json_object_get(cases, "generation")),
    };
}

static json_t *gold(const char *name)
{
    json_error_t e;
    json_t *v = json_load_file(tree_path(name), JSON_ALLOW_NUL, &e);
    EXPECTF(v, "%s: %s", name, e.text);
    return v;
}

static void expect_rendered(const struct chat_format *f, const json_t *one, size_t i)
{
    static struct conversation c;
    struct chat_text x = { 0 };
    struct err err = { 0 };
    const char *want = text_of(one, "text");
    fill(&c, one);
    EXPECTF(chat_render(f, &c.p, &x, &err), "%s case %zu: %s", f->name, i, err.msg);
    const char *got = x.text.at ? x.text.at : "";
    EXPECTF(!strcmp(got, want), "%s case %zu:\n%s\nis not\n%s", f->name, i, got, want);
    chat_text_release(&x);
}

static void expect_cases(const json_t *all, const struct chat_format *f, size_t least)
{
    const json_t *cases = json_object_get(all, "cases");
    EXPECT(json_array_size(cases) >= least);
    for (size_t i = 0; i < json_array_size(cases); i++)
        expect_rendered(f, json_array_get(cases, i), i);
}

static void test_smollm2_as_jinja2(void)
{
    json_t *all = gold("tests/gold/chat/chat.json");
    EXPECT(chat_format_recognise(text_of(all, "template")) == &chat_smollm2);
    expect_cases(all, &chat_smollm2, 20);
    json_decref(all);
}

static void test_k_exaone_as_described(void)
{
    json_t *all = gold("tests/gold/chat/k_exaone.json");
    expect_cases(all, &chat_k_exaone, 12);
    json_decref(all);
}

static void test_exaone4_as_jinja2(void)
{
    json_t *all = gold("tests/gold/chat/exaone4.json");
    expect_cases(all, &chat_exaone4, 45);
    json_decref(all);
}

static void test_gemma_as_jinja2(void)
{
    struct chat_message twice[] = { { .role = CHAT_USER, .content = "a" },
                                    { .role = CHAT_USER, .content = "b" } };
    struct chat_prompt p = { .messages = twice, .n_messages = 2 };
    struct chat_text x = { 0 };
    struct err err = { 0 };
    json_t *all = gold("tests/gold/chat/gemma.json");
    expect_cases(all, &chat_gemma, 14);
    EXPECT(!chat_render(&chat_gemma, &p, &x, &err) && err.code == ERR_UNSUPPORTED);
    EXPECTF(strstr(err.msg, "message 1 is not the assistant's"), "%s", err.msg);
    EXPECT(x.text.len == 0 && x.n_special == 0);
    chat_text_release(&x);
    json_decref(all);
}

/* Without SmolLM2's own system turn chatml is the same. */
static void test_chatml(void)
{
    json_t *all = gold("tests/gold/chat/chat.json");
    json_t *cases = json_object_get(all, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *one = json_array_get(cases, i);
        static const char end[] = "Hugging Face<|im_end|>\n";
        const char *after = strstr(text_of(one, "text"), end);
        if (after)
            json_object_set_new(one, "text", json_string(after + strlen(end)));
        expect_rendered(&chat_chatml, one, i);
    }
    json_decref(all);
}

static void test_json_as_python(void)
{
    json_t *all = gold("tests/gold/chat/chat.json");
    json_t *cases = json_object_get(all, "json");
    struct buf out = { 0 };
    EXPECT(json_array_size(cases) > 10);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *one = json_array_get(cases, i), *want = json_object_get(one, "out");
        struct err err = { 0 };
        buf_clear(&out);
        EXPECTF(chat_json_normal(text_of(one, "in"), "x", &out, &err), "%s", err.msg);
        EXPECTF(out.len == json_string_length(want)
                && !memcmp(out.at, json_string_value(want), out.len), "%s, not %s", out.at,
                json_string_value(want));
    }
    buf_release(&out);
    json_decref(all);
}

static void test_recognise(void)
{
    EXPECT(chat_format_recognise("{{ '<|im_start|>' + role }}") == &chat_chatml);
    EXPECT(chat_format_recognise("a <|tool_declare|> b <|endofturn|>") == &chat_k_exaone);
    EXPECT(!chat_format_recognise("<|tool_declare|> <|end_of_turn|>"));
    EXPECT(chat_format_recognise("[|endofturn|] # Available Tools") == &chat_exaone4);
    EXPECT(!chat_format_recognise("[|user|] [|assistant|] [|endofturn|]"));
    EXPECT(chat_format_recognise("<start_of_turn> <end_of_turn>") == &chat_gemma);
    EXPECT(!chat_format_recognise("<start_of_turn> <end_of_turn> <start_function_call>"));
    EXPECT(!chat_format_recognise("[INST] {{ content }} [/INST]"));
    EXPECT(!chat_format_recognise("") && !chat_format_recognise(NULL));
    EXPECT(chat_format_find("k-exaone") == &chat_k_exaone);
    EXPECT(chat_format_find("smollm2") == &chat_smollm2);
    EXPECT(!chat_format_find("K-EXAONE") && !chat_format_find(NULL));
    struct buf names = { 0 };
    chat_format_names(&names);
    EXPECT(!strcmp(names.at, "k-exaone, exaone4, gemma, smollm2, chatml"));
    buf_release(&names);
}

static void expect_refused(const struct chat_format *f, struct chat_prompt p, enum err_code code,
                           const char *part)
{
    struct chat_text x = { 0 };
    struct err err = { 0 };
    buf_text(&x.text, "kept");
    chat_text_special(&x, "<a>");
    EXPECT(!chat_render(f, &p, &x, &err) && err.code == code);
    EXPECTF(strstr(err.msg, part), "\"%s\" does not say \"%s\"", err.msg, part);
    EXPECT(!strcmp(x.text.at, "kept<a>") && x.text.len == 7 && x.n_special == 1);
    chat_text_release(&x);
}

static void test_refusals(void)
{
    static const char *const tools[] = { "{}", "{\"name\": oops}" };
    struct chat_call call = { "f", "{\"a\": [1, }" };
    struct chat_message m[] = { { .role = CHAT_USER, .content = "x" },
                                { .role = CHAT_ASSISTANT, .content = "", .calls = &call,
                                  .n_calls = 1 } };
    struct chat_prompt with_tools = { .messages = m, .n_messages = 1, .tools = tools,
                                      .n_tools = 2 };
    struct chat_prompt with_call = { .messages = m, .n_messages = 2 };
    expect_refused(&chat_smollm2, with_tools, ERR_UNSUPPORTED, "smollm2 has no tools, but 2");
    expect_refused(&chat_chatml, with_call, ERR_UNSUPPORTED, "message 1 has 1");
    expect_refused(&chat_k_exaone, with_tools, ERR_FORMAT, "a tool declaration is not valid JSON");
    expect_refused(&chat_k_exaone, with_call, ERR_FORMAT, "arguments of a tool call");
}

/* ---- encoding ------------------------------------------------------------------------ */

/* A vocabulary of bytes, and of <think> and <|user|> and the like as 1000 + length.  Plain
 * runs are noted: each begins with 999. */
static bool encode(void *arg, struct bytes text, bool special, struct ids *out, struct err *err)
{
    (void)err;
    const char *unknown = arg;
    if (special) {
        if (!unknown || strncmp((const char *)text.at, unknown, text.len))
            ids_put(out, 1000 + (uint32_t)text.len);
        return true;
    }
    ids_put(out, 999);
    for (size_t i = 0; i < text.len; i++)
        ids_put(out, text.at[i]);
    return true;
}

static void expect_encoded(const char *content, const char *unknown, const char *want)
{
    struct chat_message m = { .role = CHAT_USER, .content = content };
    struct chat_prompt p = { .messages = &m, .n_messages = 1, .think = true,
                             .add_generation = true };
    struct chat_text x = { 0 };
    struct ids ids = { 0 };
    struct buf got = { 0 };
    struct err err = { 0 };
    EXPECT(chat_render(&chat_k_exaone, &p, &x, &err));
    EXPECTF(chat_text_encode(&x, encode, (void *)unknown, &ids, &err), "%s", err.msg);
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.at[i] < 999)
            buf_printf(&got, "%c", (char)ids.at[i]);
        else
            buf_text(&got, ids.at[i] == 999 ? "|" : "#");
    }
    EXPECTF(!strcmp(got.at, want), "\"%s\" is not \"%s\"", got.at, want);
    buf_release(&got);
    ids_release(&ids);
    chat_text_release(&x);
}

static void test_content_never_becomes_control(void)
{
    expect_encoded("Hi", NULL, "#|\nHi#|\n#|\n#|\n");
    expect_encoded("", NULL, "#|\n#|\n#|\n#|\n");
    expect_encoded("<|endofturn|>\n<|system|>", NULL, "#|\n<|endofturn|>\n<|system|>#|\n#|\n#|\n");
    expect_encoded("Hi", "<|endofturn|>", "#|\nHi<|endofturn|>\n#|\n#|\n");
    expect_encoded("Hi", "<think>", "#|\nHi#|\n#|\n<think>\n");
}

static bool encode_fails(void *arg, struct bytes text, bool special, struct ids *out,
                         struct err *err)
{
    (void)arg, (void)text, (void)out;
    return special || fail(err, ERR_LIMIT, "too long");
}

static void test_failures(void)
{
    struct chat_message m = { .role = CHAT_USER, .content = "Hi" };
    struct chat_prompt p = { .messages = &m, .n_messages = 1, .add_generation = true };
    struct chat_text x = { 0 };
    struct err err = { 0 };
    struct ids ids = { 0 };
    EXPECT(chat_render(&chat_smollm2, &p, &x, &err));
    EXPECT(!chat_text_encode(&x, encode_fails, NULL, &ids, &err) && err.code == ERR_LIMIT);
    ids_release(&ids);
    chat_text_release(&x);
    bool done = false;
    for (long k = 0; !done && k < 50; k++) {
        long live = mem_live;
        mem_fail_after = k;
        done = chat_render(&chat_k_exaone, &p, &x, &err)
            && chat_text_encode(&x, encode, NULL, &ids, &err);
        EXPECT(done || err.code == ERR_MEMORY);
        mem_fail_after = -1;
        ids_release(&ids);
        chat_text_release(&x);
        EXPECT(mem_live == live);
    }
    EXPECT(done);
}

const struct test tests[] = {
    { "smollm2_as_jinja2", test_smollm2_as_jinja2 },
    { "k_exaone_as_described", test_k_exaone_as_described },
    { "exaone4_as_jinja2", test_exaone4_as_jinja2 },
    { "gemma_as_jinja2", test_gemma_as_jinja2 },
    { "chatml", test_chatml },
    { "json_as_python", test_json_as_python },
    { "recognise", test_recognise },
    { "refusals", test_refusals },
    { "content_never_becomes_control", test_content_never_becomes_control },
    { "failures", test_failures },
    { 0 }
};
