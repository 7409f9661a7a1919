/* tokenizer train: text in, a tokenizer folder out. */
#include "cmd/commands.h"
#include "cmd/interrupt.h"
#include "cmd/text_input.h"
#include "cmd/vocabulary.h"
#include "format/format.h"
#include "text/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

struct train_args {
    const char *out, *extend;
    int64_t vocab, words, least, keep, memory, threads;
    double superwords, held_out;
    bool lines;
    struct opt_list weights, special;
};

/* "ko=2" */
static bool read_weight(const char *text, struct language_weight *w, struct err *err)
{
    const char *eq = strchr(text, '=');
    char *end = NULL;
    w->weight = eq ? strtod(eq + 1, &end) : -1;
    if (!eq || eq == text || end == eq + 1 || *end || !(w->weight >= 0 && w->weight <= 1000))
        return fail(err, ERR_USAGE, "--weight takes LANG=X with X from 0 to 1000, as in ko=2, not "
                    "\"%.80s\"", text);
    w->lang = mem_copy_text(text, (size_t)(eq - text));
    return w->lang || fail(err, ERR_MEMORY, "no memory for --weight");
}

static void give_weights(struct language_weight *w, size_t n)
{
    for (size_t i = 0; w && i < n; i++)
        mem_give((char *)(uintptr_t)w[i].lang);
    mem_give(w);
}

static bool read_weights(const struct opt_list *list, struct language_weight **out,
                         struct err *err)
{
    struct language_weight *w = mem_take(list->n + 1, sizeof *w);
    bool ok = w || fail(err, ERR_MEMORY, "no memory for --weight");
    for (size_t i = 0; ok && i < list->n; i++)
        ok = read_weight(list->at[i], &w[i], err);
    for (size_t i = 0; ok && i < list->n; i++)
        for (size_t k = 0; ok && k < i; k++)
            if (!strcmp(w[i].lang, w[k].lang))
                ok = fail(err, ERR_USAGE, "--weight gives %s twice", w[i].lang);
    if (!ok) {
        give_weights(w, list->n);
        return false;
    }
    *out = w;
    return true;
}

/* ---- the folder ---------------------------------------------------------------------- */

static const char *const made_files[] = {
    "tokenizer.json", "tokenizer_config.json", "generation_config.json"
};
enum { N_MADE_FILES = sizeof made_files / sizeof *made_files };

/* Whether a new file can be written there. */
static bool try_file(const char *path, struct err *err)
{
    struct file_out f = { 0 };
    if (file_exists(path))
        return fail(err, ERR_USAGE, "%s is there already; remove it or name another folder", path);
    bool ok = file_out_begin(&f, path, err);
    file_out_drop(&f);
    return ok;
}

/* Makes the folder; what would fail after the training fails before it. */
static bool take_folder(const char *folder, size_t *n_made, struct err *err)
{
    struct buf path = { 0 };
    if (!folder_make(folder, 0777, n_made, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < N_MADE_FILES; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, made_files[i]);
        ok = buf_ok(&path, err) && try_file(path.at, err);
    }
    buf_release(&path);
    if (!ok)
        folder_unmake(folder, *n_made);
    return ok;
}

/* After a failure: none of the files was there before. */
static void leave_folder(const char *folder, size_t n_made)
{
    struct buf path = { 0 };
    for (size_t i = 0; i < N_MADE_FILES; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, made_files[i]);
        if (path.at && !path.failed)
            unlink(path.at);
    }
    buf_release(&path);
    folder_unmake(folder, n_made);
}

/* ---- the report ---------------------------------------------------------------------- */

static void say_read(const char *stage, const struct train_read *r, double share)
{
    fprintf(stderr, "kexa: %s: %" PRIu64 " documents, %.1f MB", stage, r->n_documents,
            (double)r->n_text_bytes / 1e6);
    if (r->n_held_out)
        fprintf(stderr, "; %" PRIu64 " held out", r->n_held_out);
    if (share < 1)
        fprintf(stderr, "; %.1f%% of the text, chosen by a hash, because --memory allows no more",
                100 * share);
    fprintf(stderr, "\n");
}

static void say_result(const struct train_report *r, const char *out)
{
    text_input_say_beside(r->words.n_documents ? r->words.n_beside : r->spans.n_beside);
    if (r->words.n_documents) {
        say_read("stage one, inside words", &r->words, r->words_share);
        fprintf(stderr, "kexa: %" PRIu64 " different words; %.1f s to read, %.1f s to learn\n",
                r->n_words, (double)r->read_ns[0] * 1e-9, (double)r->learn_ns[0] * 1e-9);
    }
    if (r->spans.n_documents) {
        say_read("stage two, across words", &r->spans, r->spans_share);
        fprintf(stderr, "kexa: different pieces of %" PRIu64 " tokens; %.1f s to read, %.1f s to "
                "learn\n", r->n_slots, (double)r->read_ns[1] * 1e-9,
                (double)r->learn_ns[1] * 1e-9);
    }
    fprintf(stderr, "kexa: %s: %u tokens, %u merges", out, r->n_ids, r->n_merges);
    if (r->n_kept)
        fprintf(stderr, " (%u kept)", r->n_kept);
    fprintf(stderr, ", %u superwords (%.1f%%)\n", r->n_superwords,
            100.0 * r->n_superwords / r->n_ids);
}

/* ---- the command --------------------------------------------------------------------- */

static bool train(const struct train_args *a, const struct operands *rest,
                  const struct language_weight *weights, const struct tokenizer *extend,
                  struct err *err)
{
    struct train_report report;
    size_t n_made;
    struct train_options o = {
        .source = { .paths = (const char *const *)rest->at, .n_paths = (size_t)rest->n,
                    .weights = weights, .n_weights = a->weights.n, .held_out = a->held_out / 100 },
        .n_ids = (uint32_t)a->vocab, .superwords = a->superwords,
        .lines = a->lines, .max_words = (unsigned)a->words, .least = (uint64_t)a->least,
        .special = a->special.at, .n_special = a->special.n, .extend = extend,
        .max_bytes = (size_t)a->memory << 20,
        .n_threads = a->threads == OPT_UNSET ? sys_cpus() : (int)a->threads,
        .stop = interrupt_catch() };
    if (extend)
        o.n_keep = a->keep == OPT_UNSET ? tokenizer_info(extend).n_merges : (uint32_t)a->keep;
    if (!take_folder(a->out, &n_made, err))
        return false;
    struct tokenizer *t = tokenizer_train(&o, &report, err);
    bool ok = t && tokenizer_save_hf(t, a->out, err);
    if (!ok)
        leave_folder(a->out, n_made);
    tokenizer_close(t);
    if (ok)
        say_result(&report, a->out);
    return ok;
}

static bool run_train(const void *args, const struct operands *rest, struct err *err)
{
    const struct train_args *a = args;
    struct language_weight *weights = NULL;
    struct vocabulary extend = { 0 };
    if (!a->out)
        return fail(err, ERR_USAGE, "-o FOLDER is missing: where to write the tokenizer");
    if (a->keep != OPT_UNSET && !a->extend)
        return fail(err, ERR_USAGE, "--keep says how many merges of --extend to keep; give both");
    if (a->lines && a->superwords == 0)
        return fail(err, ERR_USAGE, "--lines is about stage two, and --superwords 0 leaves it out");
    bool ok = read_weights(&a->weights, &weights, err) &&
              (!a->extend || vocabulary_open(&extend, a->extend, err)) &&
              train(a, rest, weights, extend.t, err);
    vocabulary_close(&extend);
    give_weights(weights, a->weights.n);
    return ok;
}

#define AT(field) offsetof(struct train_args, field)
static const struct opt train_opts[] = {
    O_TEXT("out", 'o', AT(out), NULL, "FOLDER",
           "the folder for the tokenizer; made if it is not there; no file in it is replaced"),
    O_INT("vocab", 'v', AT(vocab), 274, 1 << 22, "65536", "N",
          "tokens in all, the special ones and the 256 bytes included"),
    O_FLOAT("superwords", 0, AT(superwords), 0, 1, "0.5", "SHARE",
            "share of the tokens that stage two learns, across spaces; 0 is plain BPE"),
    O_FLAG("lines", 0, AT(lines),
           "let stage two go over punctuation too, up to a digit or the end of the line; the "
           "tokenizer then has a pattern of kexa's own, which llama.cpp does not know"),
    O_INT("words", 0, AT(words), 2, TRAIN_MAX_WORDS, "4", "N", "most words in a token"),
    O_LIST("weight", 0, AT(weights), "LANG=X",
           "count each document whose \"lang\" is LANG X times; others count once, 0 leaves them "
           "out"),
    O_LIST("special", 0, AT(special), "TEXT",
           "one more special token, besides those of the K-EXAONE chat format"),
    O_TEXT("extend", 0, AT(extend), NULL, "TOKENIZER",
           "begin with the merges of a tokenizer: a folder, tokenizer.json or GGUF"),
    O_INT("keep", 0, AT(keep), 0, 1 << 22, NULL, "N",
          "keep only its first N merges and learn the rest"),
    O_FLOAT("held-out", 0, AT(held_out), 0, 90, "0", "PERCENT",
            "leave out this share of the documents, by a hash of their text, as data pack "
            "--held-out does with --seed 0; tokenizer stats --held-out reads just those"),
    O_INT("least", 0, AT(least), 1, 1 << 30, "2", "N", "merge only pairs that occur N times"),
    O_INT("memory", 0, AT(memory), 64, 1 << 24, "2048", "MIB",
          "memory to use, about; if all of the text does not fit, a part of the documents (of "
          "one over 1 MiB, a part of it) is used, chosen by a hash of their text"),
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N",
          "threads that read; the result is the same for any number; without it one per CPU"),
    O_END
};

static const struct opt_group train_groups[] = {
    { "Options", train_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct example train_examples[] = {
    { "kexa tokenizer train -o tok --vocab 65536 corpus/",
      "the .jsonl of a folder, or its .txt and .md; half of the tokens are for inside words" },
    { "kexa tokenizer train -o bpe --vocab 32768 --superwords 0 --weight vi=3 a.jsonl b.jsonl",
      "plain BPE in which Vietnamese counts three times" },
    { "kexa tokenizer train -o new --extend old --keep 71680 --vocab 153600 corpus/",
      "keeps the first 71,680 merges of old, as K-EXAONE kept 70% of EXAONE's" },
    { NULL, NULL }
};

const struct command tokenizer_train_command = {
    "tokenizer train", "learn a BPE or SuperBPE tokenizer from text", "TEXT...", 1, 1 << 20,
    "Learns a byte-level tokenizer with K-EXAONE's pre-tokenizer and special tokens from JSONL "
    "(\"text\", \"lang\"), also zstd-compressed, or text files, and writes tokenizer.json, "
    "tokenizer_config.json and generation_config.json to a folder.  Stage one learns merges inside "
    "words, stage two goes on across single spaces (SuperBPE).  The pair that occurs most often is "
    "merged next, on ties the one with the smaller ids; the same text and options give the same "
    "tokenizer, whatever the number of threads.",
    train_examples, train_groups, sizeof(struct train_args), run_train
};
