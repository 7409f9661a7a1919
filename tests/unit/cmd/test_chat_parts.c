#include "cmd/chat_answer.h"
#include "cmd/chat_turns.h"
#include "../../harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the streaming answer ---------------------------------------------------------------- */

struct seen {
    struct buf text;                      /* thinking in {}, answer plain */
    bool thinking;
};

static void see(void *arg, struct bytes text, bool thinking)
{
    struct seen *s = arg;
    if (thinking != s->thinking)
        buf_text(&s->text, thinking ? "{" : "}");
    s->thinking = thinking;
    buf_put(&s->text, text.at, text.len);
}

static const char *const no_stops[] = { NULL };
static const char *const stops[] = { "<|end|>", "STOP", "", "aab", NULL };

/* Feeds text in pieces; bit i of cuts ends a piece after byte i (as far as bits go). */
static void expect_answer(const char *text, const char *const *stop_list, bool thinking,
                          uint32_t cuts, const char *want)
{
    struct seen seen = { 0 };
    struct chat_answer a = { .stops = stop_list, .think_end = "</think>", .show = see,
                             .arg = &seen, .thinking = thinking };
    size_t len = strlen(text), from = 0;
    buf_text(&seen.text, "");
    for (size_t i = 0; i <= len; i++) {
        if (i < len && !(cuts >> i % 32 & 1))
            continue;
        size_t end = i < len ? i + 1 : len;
        chat_answer_put(&a, (struct bytes){ (const uint8_t *)text + from, end - from });
        from = end;
    }
    chat_answer_end(&a);
    EXPECTF(!strcmp(seen.text.at, want), "\"%s\" cut by %x shows \"%s\", not \"%s\"", text, cuts,
            seen.text.at, want);
    size_t shown = a.reasoning.len + a.content.len + (a.reasoning.len > 0)
                 + (a.reasoning.len && a.content.len);
    EXPECTF(shown == seen.text.len, "%zu bytes kept, %zu shown", shown, seen.text.len);
    EXPECT(a.held.len == 0);
    chat_answer_release(&a);
    buf_release(&seen.text);
}

static void test_answer_any_cut(void)
{
    static const struct {
        const char *text, *want;
        bool thinking;
    } cases[] = {
        { "Hello.", "Hello.", false },
        { "Hello<|end|>more STOP", "Hello", false },
        { "<|end|>", "", false },
        { "a <|en d| <|end", "a <|en d| <|end", false },
        { "aaab", "a", false },
        { "SSTOSTOP!", "SSTO", false },
        { "why\n</think>\n\nso\n", "{why\n}so\n", true },
        { "why</think>", "{why", true },
        { "</think>\n\n", "", true },
        { "w </thin </think>a</think>b", "{w </thin }a</think>b", true },
        { "no end", "{no end", true },
        { "x<|end|></think>y", "{x", true },
        { "\xed\x95\x9c\xea\xb8\x80<|end|>", "\xed\x95\x9c\xea\xb8\x80", false },
        { "\xed\x95<|end|>", "\xef\xbf\xbd", false },
        { "a\xed\x95", "a\xef\xbf\xbd", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t k = 0; k < 3000; k++) {
            uint32_t cuts = k < 2 ? 0 - k : (uint32_t)rng_u64_at(7, i, k);
            expect_answer(cases[i].text, stops, cases[i].thinking, cuts, cases[i].want);
        }
    expect_answer("STOP </think>", no_stops, false, 0, "STOP </think>");
}

/* What cannot be part of a stop text is shown at once. */
static void test_answer_holds_no_more_than_needed(void)
{
    struct seen seen = { 0 };
    struct chat_answer a = { .stops = stops, .show = see, .arg = &seen };
    chat_answer_put(&a, bytes_of("Hi ST"));
    EXPECT(!strcmp(seen.text.at, "Hi "));
    chat_answer_put(&a, bytes_of("U"));
    EXPECT(!strcmp(seen.text.at, "Hi STU"));
    chat_answer_put(&a, bytes_of("ST"));
    chat_answer_end(&a);
    EXPECT(!strcmp(seen.text.at, "Hi STUST") && !a.ended);
    chat_answer_release(&a);
    buf_release(&seen.text);
}

/* ---- conversations ------------------------------------------------------------------------ */

static char folder[] = "/tmp/kexa-test-chat-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    EXPECT(f);
    if (!f)
        return;
    fputs(text, f);
    fclose(f);
}

static void test_turns(void)
{
    struct chat_turns t = { 0 };
    EXPECT(!chat_turns_system_text(&t) && chat_turns_system(&t, NULL, NULL) && t.n == 0);
    EXPECT(chat_turns_add(&t, CHAT_USER, "a", NULL, NULL));
    EXPECT(chat_turns_system(&t, "s", NULL) && t.n == 2);
    EXPECT(!strcmp(chat_turns_system_text(&t), "s") && !strcmp(t.at[1].content, "a"));
    EXPECT(chat_turns_system(&t, "z", NULL) && t.n == 2);
    EXPECT(!strcmp(chat_turns_system_text(&t), "z") && !strcmp(t.at[1].content, "a"));
    EXPECT(chat_turns_system(&t, NULL, NULL) && t.n == 1 && !strcmp(t.at[0].content, "a"));
    chat_turns_drop_last(&t);
    chat_turns_drop_last(&t);
    EXPECT(t.n == 0);
    chat_turns_release(&t);
}

static void test_save_and_load(void)
{
    struct chat_turns t = { 0 }, back = { 0 };
    struct err err = { 0 };
    struct stat st;
    const char *path = path_of("talk.json");
    EXPECT(chat_turns_add(&t, CHAT_SYSTEM, "quote \" \\ \x01\n", NULL, &err));
    EXPECT(chat_turns_add(&t, CHAT_USER, "\xed\x95\x9c\xea\xb8\x80", NULL, &err));
    EXPECT(chat_turns_add(&t, CHAT_ASSISTANT, "", "why", &err));
    EXPECT(chat_turns_add(&t, CHAT_TOOL, "7", NULL, &err));
    for (int i = 0; i < 2; i++)           /* the second time over the first */
        EXPECTF(chat_turns_save(&t, path, &err), "%s", err.msg);
    EXPECT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    EXPECT(chat_turns_add(&back, CHAT_USER, "old", NULL, &err));
    EXPECTF(chat_turns_load(&back, path, &err), "%s", err.msg);
    EXPECT(back.n == t.n);
    for (size_t i = 0; i < t.n && i < back.n; i++) {
        EXPECT(back.at[i].role == t.at[i].role);
        EXPECT(!strcmp(back.at[i].content, t.at[i].content));
        EXPECT(!t.at[i].reasoning == !back.at[i].reasoning);
    }
    EXPECT(!strcmp(back.at[2].reasoning, "why"));
    chat_turns_release(&t);
    chat_turns_release(&back);
}

static void test_bad_files(void)
{
    static const char *const bad[][2] = {
        { "", "" }, { "{}", "not a conversation" }, { "[1]", "role (none)" },
        { "[{\"role\": \"robot\", \"content\": \"x\"}]", "message 0 has the role robot" },
        { "[{\"role\": \"user\"}]", "the content of message 0 is not a text" },
        { "[{\"role\": \"user\", \"content\": []}]", "the content of message 0" },
        { "[{\"role\": \"assistant\", \"content\": \"\", \"reasoning_content\": 1}]",
          "the reasoning_content of message 0" },
        { "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": []}]", "tool calls" },
        { "[{\"role\": \"user\", \"content\": \"\\u0000\"}]", "" },
        { "[{\"role\": \"user\", \"content\": \"x\"}", "" },
    };
    struct chat_turns t = { 0 };
    EXPECT(chat_turns_add(&t, CHAT_USER, "kept", NULL, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = { 0 };
        write_file("bad.json", bad[i][0]);
        EXPECTF(!chat_turns_load(&t, path_of("bad.json"), &err), "%s", bad[i][0]);
        EXPECTF(strstr(err.msg, bad[i][1]) && strstr(err.msg, "bad.json"), "%s", err.msg);
        EXPECT(t.n == 1 && !strcmp(t.at[0].content, "kept"));
        if (bad[i][0][0]) {
            EXPECT(!chat_turns_save(&t, path_of("bad.json"), &err));
            EXPECTF(strstr(err.msg, "not a saved conversation"), "%s", err.msg);
        }
    }
    struct err err = { 0 };
    EXPECT(!chat_turns_load(&t, path_of("none.json"), &err) && err.code == ERR_IO);
    EXPECT(!chat_turns_save(&t, folder, &err) && strstr(err.msg, "no plain file"));
    EXPECT(!chat_turns_save(&t, path_of("no/where.json"), &err) && err.code == ERR_IO);
    chat_turns_release(&t);
}

static void test_no_memory(void)
{
    struct err err = { 0 };
    write_file("ok.json", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}");
    bool done = false;
    for (long k = 0; !done && k < 30; k++) {
        struct chat_turns t = { 0 };
        long live = mem_live;
        const char *path = path_of("ok.json");
        mem_fail_after = k;
        done = chat_turns_load(&t, path, &err) && chat_turns_system(&t, "s", &err)
            && chat_turns_save(&t, path, &err);
        mem_fail_after = -1;
        EXPECTF(done || err.code == ERR_MEMORY || err.code == ERR_USAGE, "%s", err.msg);
        chat_turns_release(&t);
        EXPECT(mem_live == live);
    }
    EXPECT(done);
}

static void test_folder_made(void)
{
    EXPECT(mkdtemp(folder));
}

static void test_folder_removed(void)
{
    static const char *const names[] = { "talk.json", "bad.json", "ok.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    EXPECT(rmdir(folder) == 0);           /* nothing was left beside the files */
}

const struct test tests[] = {
    { "answer_any_cut", test_answer_any_cut },
    { "answer_holds_no_more_than_needed", test_answer_holds_no_more_than_needed },
    { "turns", test_turns },
    { "folder_made", test_folder_made },
    { "save_and_load", test_save_and_load },
    { "bad_files", test_bad_files },
    { "no_memory", test_no_memory },
    { "folder_removed", test_folder_removed },
    { 0 }
};
