/* tokenizer stats: how many bytes of text a token stands for, by language. */
#include "cmd/commands.h"
#include "cmd/text_input.h"
#include "cmd/vocabulary.h"
#include "format/format.h"
#include "text/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { MAX_STATS_LANGUAGES = 4096, BATCH_BYTES = 4 << 20, BATCH_DOCS = 4096, GRAIN = 16 };

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

struct stats_doc {
    size_t at, len;                       /* in the batch's text */
    size_t row;
};

struct stats {
    const struct stats_args *a;
    struct vocabulary *tok;
    size_t n_tok;
    struct stats_row *row;
    size_t n_rows;
    struct buf text;                      /* of the documents to be counted together */
    struct stats_doc doc[BATCH_DOCS];
    size_t n_docs;
    size_t n_beside;                      /* text files not read */
    uint64_t *count;                      /* tokens: [n_tok][BATCH_DOCS] */
    _Atomic bool failed;
};

static bool find_row(struct stats *s, const char *lang, size_t *at, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s", *lang ? lang : "-");
    for (*at = 0; *at < s->n_rows; ++*at)
        if (!strcmp(s->row[*at].lang, name))
            return true;
    struct stats_row *row = s->n_rows < MAX_STATS_LANGUAGES
                            ? mem_grow(s->row, s->n_rows + 1, sizeof *row) : NULL;
    if (row)
        s->row = row;
    uint64_t *n = row ? mem_take(s->n_tok, sizeof *n) : NULL;
    if (!n)
        return fail(err, ERR_LIMIT, "no memory for the language \"%.31s\", or more than %d of them",
                    lang, MAX_STATS_LANGUAGES);
    s->row[s->n_rows] = (struct stats_row){ .n_tokens = n };
    memcpy(s->row[s->n_rows++].lang, name, sizeof name);
    return true;
}

/* Piece i: document i % n_docs by tokenizer i / n_docs. */
static void count_tokens(void *arg, size_t begin, size_t end, int worker)
{
    struct stats *s = arg;
    struct ids ids = { 0 };
    struct encode_options plain = { false, false };
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        size_t tok = i / s->n_docs, d = i % s->n_docs;
        struct bytes text = { (const uint8_t *)s->text.at + s->doc[d].at, s->doc[d].len };
        ids.n = 0;
        if (!tokenizer_encode(s->tok[tok].t, text, plain, &ids, NULL))
            s->failed = true;
        s->count[tok * BATCH_DOCS + d] = ids.n;
    }
    ids_release(&ids);
}

static bool count_batch(struct stats *s, struct pool *pool, struct err *err)
{
    pool_run(pool, s->n_docs * s->n_tok, GRAIN, count_tokens, s);
    if (s->failed)
        return fail(err, ERR_MEMORY, "no memory to encode documents");
    for (size_t i = 0; i < s->n_docs; i++) {
        struct stats_row *row = &s->row[s->doc[i].row];
        row->n_documents++;
        row->n_bytes += s->doc[i].len;
        for (size_t k = 0; k < s->n_tok; k++)
            row->n_tokens[k] += s->count[k * BATCH_DOCS + i];
    }
    s->n_docs = 0;
    buf_clear(&s->text);
    return true;
}

static bool put_document(struct stats *s, const struct jsonl_record *doc, struct err *err)
{
    struct stats_doc d = { .at = s->text.len, .len = doc->text.len };
    if (!jsonl_check_utf8(doc, err))
        return false;
    if (!d.len || (s->a->held_out > 0 && !document_is_held_out(doc->text, s->a->held_out / 100)))
        return true;
    if (!find_row(s, doc->lang, &d.row, err))
        return false;
    buf_put(&s->text, doc->text.at, d.len);
    s->doc[s->n_docs++] = d;
    return buf_ok(&s->text, err);
}

static bool read_texts(struct stats *s, struct pool *pool, const char *path, struct err *err)
{
    struct jsonl *j = jsonl_open(path, err);
    struct jsonl_record doc = { .path = path };
    struct progress progress;
    bool ok = j != NULL;
    s->n_beside += ok ? jsonl_beside(j) : 0;
    progress_begin(&progress, "counting tokens", "B", ok ? jsonl_total_bytes(j) : 0);
    while (ok && doc.path) {
        ok = jsonl_next(j, &doc, err) && (!doc.path || put_document(s, &doc, err));
        if (!ok || (doc.path && s->n_docs < BATCH_DOCS && s->text.len < BATCH_BYTES))
            continue;
        ok = count_batch(s, pool, err);
        progress_at(&progress, jsonl_read_bytes(j));
    }
    progress_end(&progress);
    jsonl_close(j);
    return ok;
}

static bool add_total(struct stats *s, struct err *err)
{
    size_t n = s->n_rows, at;
    if (!find_row(s, "all", &at, err))
        return false;
    struct stats_row *all = &s->row[at];
    if (at < n)
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

static void stats_release(struct stats *s)
{
    for (size_t i = 0; i < s->n_rows; i++)
        mem_give(s->row[i].n_tokens);
    for (size_t k = 0; k < s->n_tok; k++)
        vocabulary_close(&s->tok[k]);
    mem_give(s->row);
    mem_give(s->tok);
    mem_give(s->count);
    buf_release(&s->text);
    mem_give(s);
}

static bool run_stats(const void *args, const struct operands *rest, struct err *err)
{
    const struct stats_args *a = args;
    if (!a->on.n)
        return fail(err, ERR_USAGE, "--on TEXT is missing: the text to count tokens of");
    struct stats *s = mem_take(1, sizeof *s);
    if (!s)
        return fail(err, ERR_MEMORY, "no memory for documents to count");
    s->a = a;
    s->tok = mem_take((size_t)rest->n, sizeof *s->tok);
    s->count = mem_take((size_t)rest->n * BATCH_DOCS, sizeof *s->count);
    bool ok = (s->tok && s->count) || fail(err, ERR_MEMORY, "no memory for %d tokenizers", rest->n);
    for (; ok && s->n_tok < (size_t)rest->n; s->n_tok += ok)
        ok = vocabulary_open(&s->tok[s->n_tok], rest->at[s->n_tok], err);
    ok = ok && count_all(s, err);
    if (ok)
        text_input_say_beside(s->n_beside);
    if (ok && a->json)
        ok = print_json(s, rest, err);
    else if (ok)
        print_table(s, rest);
    stats_release(s);
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
          "threads; the counts are the same for any number; without it one per CPU"),
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
