/* convert: a model file as the other kind of model file. */
#include "cmd/commands.h"
#include "model/model.h"

#include <signal.h>
#include <stdlib.h>

struct convert_args {
    const char *type, *split;
    bool json, no_tokenizer;
};

static volatile sig_atomic_t stop_asked;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static bool stopped(void)
{
    return stop_asked != 0;
}

static void catch_signals(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction a = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &a, NULL);
}

static const char *choice_type(size_t i)
{
    static const char *const words[] = { "f32", "bf16", "f16" };
    return i < sizeof words / sizeof *words ? words[i] : NULL;
}

/* "4G", "500M", "123456": bytes, with factors of 1000. */
static bool read_size(const char *text, uint64_t *out, struct err *err)
{
    static const char units[] = "KMGT";
    char *end;
    uint64_t factor = 1;
    double v = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
    for (size_t i = 0; unit && i <= (size_t)(unit - units); i++)
        factor *= 1000;
    end += unit != NULL;
    end += *end == 'B';
    if (end == text || *end || !(v * (double)factor >= 1e6 && v * (double)factor < 1e18))
        return fail(err, ERR_USAGE, "--split-max-size %s: expected a size of at least 1M, as in "
                    "4G or 500M", text);
    *out = (uint64_t)(v * (double)factor);
    return true;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), k = strlen(tail);
    return n >= k && !strcmp(text + n - k, tail);
}

/* Whether the source has tokenizer files at all: then they must be understood. */
static bool has_tokenizer(const struct model *m)
{
    char path[4300];
    if (m->gguf.n_files)
        return gguf_find(&m->gguf, "tokenizer.ggml.model") != NULL;
    snprintf(path, sizeof path, "%s/tokenizer.json", m->path);
    return file_exists(path);
}

static bool check_direction(const struct model *m, const char *out, struct err *err)
{
    bool to_gguf = ends_with(out, ".gguf");
    if (to_gguf && m->gguf.n_files)
        return fail(err, ERR_USAGE, "%s is a GGUF file already; give a folder to convert it into",
                    m->path);
    if (!to_gguf && !m->gguf.n_files)
        return fail(err, ERR_USAGE, "%s: a folder becomes a GGUF file; its name must end in .gguf",
                    out);
    return true;
}

/* What a person should know, on standard error. */
static void print_notes(const struct convert_args *a, const struct convert_report *r,
                        const struct model *m)
{
    const char *in = m->path;
    if (r->n_left_out)
        fprintf(stderr, "kexa: %s: %zu tensors were left out, which this family does not use "
                "(%s)\n", in, r->n_left_out, r->left_out);
    if (!r->tokenizer && !a->no_tokenizer)
        fprintf(stderr, "kexa: %s has no tokenizer; the new model has none either\n", in);
    if (r->tokenizer && m->json && tokenizer_info(m->tokenizer).nfc)
        fprintf(stderr, "kexa: %s brings text to NFC, which GGUF has no key for: other text gets "
                "other ids there\n", in);
}

static bool print_report(const struct convert_args *a, const struct convert_report *r,
                         const char *out, struct err *err)
{
    if (!a->json) {
        printf("%s: %zu tensors, %.1f MB\n", out, r->n_tensors, (double)r->n_bytes * 1e-6);
        return true;
    }
    json_t *o = json_pack("{s:s, s:I, s:I, s:b, s:I}", "out", out, "tensors",
                          (json_int_t)r->n_tensors, "bytes", (json_int_t)r->n_bytes, "tokenizer",
                          r->tokenizer, "left_out", (json_int_t)r->n_left_out);
    if (!o)
        return fail(err, ERR_MEMORY, "out of memory for the report");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return true;
}

static bool convert_model(const struct convert_args *a, struct model *m, const char *out,
                          struct err *err)
{
    struct convert_report report;
    struct convert_options o = { .float_type = qtype_named(a->type ? a->type : "f32"),
                                 .stopped = stopped };
    if (a->type && !m->gguf.n_files)
        return fail(err, ERR_USAGE, "--type is for quantised weights of a GGUF file; a folder's "
                    "keep their type");
    if ((a->split && !read_size(a->split, &o.max_bytes, err)) || !check_direction(m, out, err)
        || !model_bind(m, 1, NUMERICS_NATIVE, err))
        return false;
    if (a->no_tokenizer) {
        tokenizer_close(m->tokenizer);
        m->tokenizer = NULL;
    } else if (!m->tokenizer && has_tokenizer(m))
        return fail(err, m->no_tokenizer.code, "%s", m->no_tokenizer.msg);
    catch_signals();
    if (!(m->gguf.n_files ? model_to_folder(m, out, &o, &report, err)
                          : model_to_gguf(m, out, &o, &report, err)))
        return false;
    print_notes(a, &report, m);
    return print_report(a, &report, out, err);
}

static bool run_convert(const void *args, const struct operands *rest, struct err *err)
{
    struct model m;
    if (!model_open_plan(&m, rest->at[0], err))
        return false;
    bool ok = convert_model(args, &m, rest->at[1], err);
    model_close(&m);
    return ok;
}

#define AT(f) offsetof(struct convert_args, f)
static const struct opt convert_opts[] = {
    O_CHOICE("type", 0, AT(type), choice_type, NULL,
             "from GGUF: what quantised weights become; without it f32, which loses nothing"),
    O_TEXT("split-max-size", 0, AT(split), NULL, "SIZE",
           "begin a new file before the weights in it exceed SIZE, as in 4G or 500M"),
    O_FLAG("no-tokenizer", 0, AT(no_tokenizer),
           "leave the tokenizer out, for one that the other kind of file cannot hold"),
    O_FLAG("json", 0, AT(json), "print one JSON object: out, tensors, bytes, tokenizer, left_out"),
    O_END
};
#undef AT

static const struct opt_group groups[] = {
    { "Options", convert_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct example examples[] = {
    { "kexa convert my-model/ my-model.gguf", "a Hugging Face folder as GGUF" },
    { "kexa convert my-model.gguf my-model/", "and back: config, tokenizer and weights" },
    { "kexa convert --type bf16 q4.gguf folder/", "quantised weights become BF16" },
    { NULL, NULL }
};

const struct command convert_command = {
    "convert", "turn a Hugging Face folder into GGUF, or GGUF into a folder", "IN OUT", 2, 2,
    "Writes a model as the other kind of model file.  Tensors keep their types and values; only "
    "quantised weights become floats on the way to a folder.  The tokenizer and its chat "
    "template go along.  OUT appears when it is complete: a failure or Ctrl-C leaves nothing "
    "behind, and what exists is never replaced.",
    examples, groups, sizeof(struct convert_args), run_convert
};
