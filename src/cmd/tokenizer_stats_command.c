/* tokenizer stats: how many bytes of text a token stands for, by language. */
#include "cmd/commands.h"
#include "cmd/vocabulary.h"
#include "format/format.h"
#include "text/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { MAX_STATS_LANGUAGES = 4096 };

struct stats_args {
    struct opt_list on;
    double held_out;
    int64_t threads;
    bool json;
};

/* One language; the last row is all of them. */
struct stats_row {
    char lang[32];
    uint64_t n_documents, n_bytes;
    uint64_t *n_tokens;                   /* of each tokenizer */
};

struct stats {
    const struct stats_args *a;
    struct vocabulary *tok;
    size_t n_tok;
    struct stats_row *row;
    size_t n_rows;
    struct bytes doc;                     /* being counted */
    struct stats_row *now;
    _Atomic bool failed;
};

static struct stats_row *row_of(struct stats *s, const char *lang, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s", *lang ? lang : "-");
    for (size_t i = 0; i < s->n_rows; i++)
        if (!strcmp(s->row[i].lang, name))
            return &s->row[i];
    struct stats_row *row = s->n_rows < MAX_STATS_LANGUAGES
                            ? mem_grow(s->row, s->n_rows + 1, sizeof *row) : NULL;
    if (row)
        s->row = row;
    uint64_t *n = row ? mem_take(s->n_tok, sizeof *n) : NULL;
    if (!n) {
        fail(err, ERR_LIMIT, "no memory for the language \"%.31s\", or more than %d of them", lang,
             MAX_STATS_LANGUAGES);
        return NULL;
    }
    s->row[s->n_rows] = (struct stats_row){ .n_tokens = n };
    memcpy(s->row[s->n_rows].lang, name, sizeof name);
    return &s->row[s->n_rows++];
}

/* The document by tokenizers [begin, end). */
static void count_tokens(void *arg, size_t begin, size_t end, int worker)
{
    struct stats *s = arg;
    struct ids ids = { 0 };
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        ids.n = 0;
        if (!tokenizer_encode(s->tok[i].t, s->doc, (struct encode_options){ false, false }, &ids,
                              NULL))
            s->failed = true;
        s->now->n_tokens[i] += ids.n;
    }
    ids_release(&ids);
}

static bool read_texts(struct stats *s, struct pool *pool, const char *path, struct err *err)
{
    struct jsonl *j = jsonl_open(path, err);
    struct jsonl_record doc = { .path = path };
    struct progress progress;
    bool ok = j != NULL;
    progress_begin(&progress, "counting tokens", "B", ok ? jsonl_total_bytes(j) : 0);
    while (ok && doc.path) {
        ok = jsonl_next(j, &doc, err) && (!doc.path || jsonl_check_utf8(&doc, err));
        if (!ok || !doc.path || !doc.text.len)
            continue;
        if (s->a->held_out > 0 && !document_is_held_out(doc.text, s->a->held_out / 100))
            continue;
        s->doc = doc.text;
        s->now = row_of(s, doc.lang, err);
        ok = s->now != NULL;
        if (!ok)
            break;
        s->now->n_documents++;
        s->now->n_bytes += doc.text.len;
        pool_run(pool, s->n_tok, 1, count_tokens, s);
        if (s->failed)
            ok = fail(err, ERR_MEMORY, "no memory to encode a document of %s", path);
        progress_at(&progress, jsonl_read_bytes(j));
    }
    progress_end(&progress);
    jsonl_close(j);
    return ok;
}

static bool add_total(struct stats *s, struct err *err)
{
    size_t n = s->n_rows;
    struct stats_row *all = row_of(s, "all", err);
    if (!all)
        return false;
    if (s->n_rows == n)
        return fail(err, ERR_USAGE, "a language of the text is called \"all\", which is the name "
                    "of the sum");
    for (size_t i = 0; i < n; i++) {
        all->n_documents += s->row[i].n_documents;
        all->n_bytes += s->row[i].n_bytes;
        for (size_t k = 0; k < s->n_tok; k++)
            all->n_tokens[k] += s->row[i].n_tokens[k];
    }
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct stats_row *)a)->lang, ((const struct stats_row *)b)->lang);
}

static double per_token(const struct stats_row *row, size_t k)
{
    return row->n_tokens[k] ? (double)row->n_bytes / (double)row->n_tokens[k] : 0;
}

static void print_table(const struct stats *s, const struct operands *rest)
{
    for (size_t k = 0; k < s->n_tok; k++)
        printf("%c  %s: %u tokens\n", (int)('A' + k), rest->at[k],
               tokenizer_size(s->tok[k].t));
    printf("\n%-8s %9s %12s", "lang", "documents", "bytes");
    for (size_t k = 0; k < s->n_tok; k++)
        printf("  %9c%s", (int)('A' + k), k ? "     /A" : "");
    printf("   bytes per token\n");
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct stats_row *row = &s->row[i];
        printf("%-8s %9" PRIu64 " %12" PRIu64, row->lang, row->n_documents, row->n_bytes);
        for (size_t k = 0; k < s->n_tok; k++) {
            printf("  %9.4f", per_token(row, k));
            if (k)
                printf("  %.3f", per_token(row, 0) > 0 ? per_token(row, k) / per_token(row, 0) : 0);
        }
        printf("\n");
    }
}

static json_t *row_json(const struct stats *s, const struct stats_row *row)
{
    json_t *tokens = json_array(), *rates = json_array();
    for (size_t k = 0; k < s->n_tok; k++) {
        json_array_append_new(tokens, json_integer((json_int_t)row->n_tokens[k]));
        json_array_append_new(rates, json_real(per_token(row, k)));
    }
    return json_pack("{s:s, s:I, s:I, s:o, s:o}", "lang", row->lang, "documents",
                     (json_int_t)row->n_documents, "bytes", (json_int_t)row->n_bytes, "tokens",
                     tokens, "bytes_per_token", rates);
}

static bool print_json(const struct stats *s, const struct operands *rest, struct err *err)
{
    json_t *names = json_array(), *rows = json_array();
    for (size_t k = 0; k < s->n_tok; k++)
        json_array_append_new(names, json_pack("{s:s, s:i}", "path", rest->at[k], "size",
                                               (int)tokenizer_size(s->tok[k].t)));
    for (size_t i = 0; i < s->n_rows; i++)
        json_array_append_new(rows, row_json(s, &s->row[i]));
    json_t *root = json_pack("{s:o, s:o}", "tokenizers", names, "languages", rows);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    if (text)
        printf("%s\n", text);
    free(text);
    json_decref(root);
    return text || fail(err, ERR_MEMORY, "no memory for the JSON, or a path is no Unicode text");
}

static bool count_all(struct stats *s, struct err *err)
{
    int n = s->a->threads == OPT_UNSET ? sys_cpus() : (int)s->a->threads;
    struct pool *pool = pool_open(n, err);
    bool ok = pool != NULL;
    for (size_t i = 0; ok && i < s->a->on.n; i++)
        ok = read_texts(s, pool, s->a->on.at[i], err);
    pool_close(pool);
    if (ok && !s->n_rows)
        return fail(err, ERR_USAGE, "there is no text to count on: every document is empty%s",
                    s->a->held_out > 0 ? ", or none is held out" : "");
    if (ok)
        qsort(s->row, s->n_rows, sizeof *s->row, compare_rows);
    return ok && add_total(s, err);
}

static bool run_stats(const void *args, const struct operands *rest, struct err *err)
{
    struct stats s = { .a = args };
    if (!s.a->on.n)
        return fail(err, ERR_USAGE, "--on TEXT is missing: the text to count tokens of");
    s.tok = mem_take((size_t)rest->n, sizeof *s.tok);
    bool ok = s.tok || fail(err, ERR_MEMORY, "no memory for %d tokenizers", rest->n);
    for (; ok && s.n_tok < (size_t)rest->n; s.n_tok += ok)
        ok = vocabulary_open(&s.tok[s.n_tok], rest->at[s.n_tok], err);
    ok = ok && count_all(&s, err);
    if (ok && s.a->json)
        ok = print_json(&s, rest, err);
    else if (ok)
        print_table(&s, rest);
    for (size_t i = 0; i < s.n_rows; i++)
        mem_give(s.row[i].n_tokens);
    for (size_t k = 0; k < s.n_tok; k++)
        vocabulary_close(&s.tok[k]);
    mem_give(s.row);
    mem_give(s.tok);
    return ok;
}

#define AT(field) offsetof(struct stats_args, field)
static const struct opt stats_opts[] = {
    O_LIST("on", 0, AT(on), "TEXT",
           "the text: a .jsonl or .jsonl.zst, any other file as one document, or a folder, as for "
           "data pack"),
    O_FLOAT("held-out", 0, AT(held_out), 0, 90, "0", "PERCENT",
            "only the documents that tokenizer train --held-out PERCENT leaves out; 0: all"),
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N",
          "threads, of which each counts for another tokenizer; without it one per CPU"),
    O_FLAG("json", 0, AT(json), "print one JSON object"),
    O_END
};

static const struct opt_group stats_groups[] = {
    { "Options", stats_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct example stats_examples[] = {
    { "kexa tokenizer stats bpe super --on corpus/ --held-out 2",
      "two tokenizers side by side, on documents neither was trained on" },
    { NULL, NULL }
};

const struct command tokenizer_stats_command = {
    "tokenizer stats", "bytes per token of tokenizers, by language", "TOKENIZER...", 1, 26,
    "Encodes text with each tokenizer (a folder, tokenizer.json or GGUF) and prints how many bytes "
    "of it a token stands for, for each \"lang\" of the documents and for all of them; more is "
    "better.  Special tokens in the text count as text.",
    stats_examples, stats_groups, sizeof(struct stats_args), run_stats
};
