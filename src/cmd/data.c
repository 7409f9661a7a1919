/* data: text as token shards to train on, and what is in them. */
#include "cmd/commands.h"
#include "cmd/interrupt.h"
#include "cmd/text_input.h"
#include "cmd/vocabulary.h"
#include "data/data.h"

#include <jansson.h>

struct data_args {
    const char *tokenizer, *out;
    double held_out;                      /* percent */
    int64_t seed, shard_tokens, threads, context;
    bool eos, skip_bad, json;
};

#define AT(f) offsetof(struct data_args, f)
static const struct opt pack_opts[] = {
    O_TEXT("tokenizer", 0, AT(tokenizer), NULL, "T",
           "the tokenizer: a tokenizer.json, the folder that holds it, or a GGUF file"),
    O_TEXT("out", 'o', AT(out), NULL, "DIR", "the folder for the shards; made if it is not there"),
    O_FLAG("eos", 0, AT(eos),
           "end each document with the end-of-text token: <|endoftext|> if there is one, else "
           "the tokenizer's end of sequence"),
    O_FLOAT("held-out", 0, AT(held_out), 0, 50, "0.5", "PERCENT",
            "share of the documents that are kept for measuring, by a hash of their text"),
    O_INT("seed", 0, AT(seed), 0, 0x1p53, "0", "N", "another seed holds out other documents"),
    O_INT("shard-tokens", 0, AT(shard_tokens), 1, 0x1p40, "268435456", "N",
          "begin a new shard before one holds more tokens than this"),
    O_FLAG("skip-bad", 0, AT(skip_bad),
           "pass over lines that are no document and text files that are no UTF-8, and count them; "
           "without it they end the run, as does a file that cannot be opened or unpacked with it "
           "too"),
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N",
          "threads; without it all CPUs; the files are the same for any number"),
    O_END
};
static const struct opt stats_opts[] = {
    O_INT("context", 0, AT(context), 2, PACKING_CONTEXT_MAX, NULL, "N",
          "tokens of a row, to see how full rows get; without it 4096"),
    O_END
};
static const struct opt json_opts[] = {
    O_FLAG("json", 0, AT(json), "print one JSON value"),
    O_END
};
#undef AT

static bool print_json(json_t *v, struct err *err)
{
    if (!v)
        return fail(err, ERR_MEMORY, "no memory for the JSON output, or a path is no Unicode text");
    json_dumpf(v, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(v);
    return true;
}

/* ---- pack ---------------------------------------------------------------------------- */

static bool find_eos(const struct tokenizer *t, const char *path, int64_t *id, struct err *err)
{
    *id = tokenizer_find(t, "<|endoftext|>");
    if (*id == NO_TOKEN)
        *id = tokenizer_info(t).eos;
    return *id != NO_TOKEN || fail(err, ERR_USAGE, "%s: --eos: this tokenizer names no "
                                   "end-of-text token", path);
}

static json_t *count_json(const struct pack_count *c)
{
    return json_pack("{s:I, s:I, s:I}", "documents", (json_int_t)c->n_docs, "tokens",
                     (json_int_t)c->n_tokens, "bytes", (json_int_t)c->n_bytes);
}

static void print_count(const char *what, const struct pack_count *c)
{
    printf("%s: %llu documents, %llu tokens, %.2f bytes a token\n", what,
           (unsigned long long)c->n_docs, (unsigned long long)c->n_tokens,
           c->n_tokens ? (double)c->n_bytes / (double)c->n_tokens : 0.0);
}

static bool print_report(const struct data_args *a, const struct pack_options *o,
                         const struct pack_report *r, struct err *err)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)tokenizer_hash(o->tokenizer));
    if (r->n_bad)
        fprintf(stderr, "kexa: %llu documents were passed over; the first: %s\n",
                (unsigned long long)r->n_bad, r->first_bad.msg);
    text_input_say_beside(r->n_beside);
    if (o->held_out > 0 && !r->held_out.n_docs)
        fprintf(stderr, "kexa: none of the %llu documents is held out, so that no run on them is "
                "measured; whole documents are, so give more of them or more --held-out\n",
                (unsigned long long)r->train.n_docs);
    if (a->json)
        return print_json(json_pack("{s:s, s:s, s:I, s:o, s:o, s:I, s:I, s:I}", "out", o->out,
                                    "tokenizer", hash, "eos", (json_int_t)o->eos, "train",
                                    count_json(&r->train), "held_out", count_json(&r->held_out),
                                    "shards", (json_int_t)r->n_shards, "empty",
                                    (json_int_t)r->n_empty, "bad", (json_int_t)r->n_bad), err);
    printf("%s: %zu shard%s, tokenizer %s\n", o->out, r->n_shards, r->n_shards == 1 ? "" : "s",
           hash);
    print_count("to train on", &r->train);
    print_count("held out", &r->held_out);
    if (r->n_empty)
        printf("left out: %llu empty documents\n", (unsigned long long)r->n_empty);
    return true;
}

static bool run_pack(const struct data_args *a, const struct operands *rest, struct err *err)
{
    struct vocabulary v;
    struct pack_report r;
    if (!a->tokenizer || !a->out || rest->n < 2)
        return fail(err, ERR_USAGE, "kexa data pack needs --tokenizer T, --out DIR and at least "
                    "one file or folder of text");
    if (a->context != OPT_UNSET)
        return fail(err, ERR_USAGE, "--context is for kexa data stats: rows are packed when shards "
                    "are read");
    if (!vocabulary_open(&v, a->tokenizer, err))
        return false;
    struct pack_options o = {
        .tokenizer = v.t, .tokenizer_path = a->tokenizer,
        .input = (const char *const *)(rest->at + 1), .n_inputs = (size_t)rest->n - 1,
        .out = a->out, .held_out = a->held_out / 100, .seed = (uint64_t)a->seed,
        .shard_tokens = (uint64_t)a->shard_tokens, .eos = -1, .skip_bad = a->skip_bad,
        .threads = a->threads == OPT_UNSET ? sys_cpus() : (int)a->threads,
        .stop = interrupt_catch(),
    };
    bool ok = (!a->eos || find_eos(v.t, a->tokenizer, &o.eos, err)) && pack_run(&o, &r, err)
              && print_report(a, &o, &r, err);
    vocabulary_close(&v);
    return ok;
}

/* ---- stats --------------------------------------------------------------------------- */

static json_t *info_json(const char *path, bool held_out, const struct loader_source_info *x)
{
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:f}", "path", path, "held_out", held_out,
                     "documents", (json_int_t)x->n_docs, "tokens", (json_int_t)x->n_tokens,
                     "rows", (json_int_t)x->n_rows, "pieces", (json_int_t)x->n_pieces, "fill",
                     x->fill);
}

static void print_info(const char *path, bool held_out, uint32_t context,
                       const struct loader_source_info *x)
{
    printf("%s, %s: %llu documents, %llu tokens; %llu rows of %u, %.2f%% full\n", path,
           held_out ? "held out" : "to train on", (unsigned long long)x->n_docs,
           (unsigned long long)x->n_tokens, (unsigned long long)x->n_rows, context, 100 * x->fill);
}

static bool stats_of(const struct data_args *a, const char *path, bool held_out, json_t *list,
                     struct err *err)
{
    struct loader *l;
    struct loader_source s = { path, 1, 0 };
    struct loader_config c = { .source = &s, .n_sources = 1, .held_out = held_out,
                               .context = a->context == OPT_UNSET ? 4096 : (uint32_t)a->context };
    if (!loader_open(&l, &c, err))
        return false;
    struct loader_source_info x = loader_source_info(l, 0);
    loader_close(l);
    if (!list)
        print_info(path, held_out, c.context, &x);
    else if (json_array_append_new(list, info_json(path, held_out, &x)) != 0)
        return fail(err, ERR_MEMORY, "no memory for the JSON output");
    return true;
}

/* Which kinds of documents are behind a path. */
static bool find_kinds(const char *path, bool *train, bool *held_out, struct err *err)
{
    struct manifest m;
    struct shard s;
    *train = *held_out = false;
    if (!file_is_dir(path)) {
        if (!shard_open(&s, path, NULL, err))
            return false;
        *train = !s.kind.held_out;
        *held_out = s.kind.held_out;
        shard_close(&s);
        return true;
    }
    if (!manifest_load(&m, path, err))
        return false;
    for (size_t i = 0; i < m.n; i++)
        *(m.shard[i].held_out ? held_out : train) = true;
    manifest_release(&m);
    return true;
}

static bool run_stats(const struct data_args *a, const struct operands *rest, struct err *err)
{
    if (a->tokenizer || a->out || rest->n < 2)
        return fail(err, ERR_USAGE, "kexa data stats takes folders of shards, or shards, and no "
                    "--tokenizer or --out");
    json_t *list = a->json ? json_array() : NULL;
    bool ok = !a->json || list || fail(err, ERR_MEMORY, "no memory for the JSON output");
    for (int i = 1; ok && i < rest->n; i++) {
        bool train, held_out;
        ok = find_kinds(rest->at[i], &train, &held_out, err)
             && (!train || stats_of(a, rest->at[i], false, list, err))
             && (!held_out || stats_of(a, rest->at[i], true, list, err));
    }
    if (ok && a->json)
        return print_json(list, err);
    json_decref(list);
    return ok;
}

static bool run_data(const void *args, const struct operands *rest, struct err *err)
{
    if (!strcmp(rest->at[0], "pack"))
        return run_pack(args, rest, err);
    if (!strcmp(rest->at[0], "stats"))
        return run_stats(args, rest, err);
    return fail(err, ERR_USAGE, "kexa data %s: there are pack and stats", rest->at[0]);
}

static const struct opt_group groups[] = {
    { "pack", pack_opts, 0 },
    { "stats", stats_opts, 0 },
    { "Options", json_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct example examples[] = {
    { "kexa data pack --tokenizer tok/ --eos --out packed/ corpus/*.jsonl.zst",
      "shards of a corpus, with half a percent held out" },
    { "kexa data pack --tokenizer tok/ --out packed/ notes/", "a folder of .txt and .md files" },
    { "kexa data stats --context 2048 packed/", "check the shards; how full rows of 2048 get" },
    { NULL, NULL }
};

const struct command data_command = {
    "data", "text as token shards to train on", "pack|stats INPUT...", 1, 1 << 30,
    "pack turns documents into token shards.  An INPUT is a .jsonl or .jsonl.zst file (one object "
    "a line, with the document in \"text\"), any other file (one document, UTF-8), or a folder: "
    "every .jsonl and .jsonl.zst below it, or, where there is none, every .txt and .md.  "
    "DIR gets train-00000.kxs and so on, heldout.kxs, and manifest.json with counts by source, "
    "language, licence and attribution; nothing has its name before all is complete.  stats "
    "checks shards and says what they hold.",
    examples, groups, sizeof(struct data_args), run_data
};
