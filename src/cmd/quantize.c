/* quantize: a model file in other types. */
#include "cmd/commands.h"
#include "cmd/interrupt.h"
#include "run/run.h"

#include <inttypes.h>
#include <unistd.h>

enum { TEXT_MAX = 64 << 20 };

struct quantize_args {
    const char *imatrix, *imatrix_out;
    int64_t threads;
};

#define AT(f) offsetof(struct quantize_args, f)
static const struct opt quantize_opts[] = {
    O_TEXT("imatrix", 0, AT(imatrix), NULL, "FILE",
           "weigh errors by importance: a text to measure it on with IN, or a file that "
           "--imatrix-out or llama.cpp wrote"),
    O_TEXT("imatrix-out", 0, AT(imatrix_out), NULL, "FILE",
           "keep the measured importance, a GGUF file"),
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N",
          "threads; without it all CPUs; the file is the same for any number"),
    O_END
};
#undef AT

static bool is_gguf(const char *path)
{
    char magic[4] = "";
    FILE *f = fopen(path, "rb");
    bool yes = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "GGUF", 4);
    if (f)
        fclose(f);
    return yes;
}

static bool read_text(const struct model *m, const char *path, struct ids *ids, struct err *err)
{
    struct buf text = { 0 };
    struct encode_options o = { .add_special = true };
    bool ok = file_read(&text, path, TEXT_MAX, err);
    if (ok && !m->tokenizer)
        ok = fail(err, m->no_tokenizer.code, "%s", m->no_tokenizer.msg);
    ok = ok && tokenizer_encode(m->tokenizer,
                                (struct bytes){ (const uint8_t *)text.at, text.len }, o, ids, err);
    if (ok && !ids->n)
        ok = fail(err, ERR_USAGE, "%s: no text to measure importance on", path);
    buf_release(&text);
    return ok;
}

/* The importance of the model at `in` on a text. */
static bool measure(struct imatrix *im, const char *in, const char *text, int n_threads,
                    const volatile int *stop, struct err *err)
{
    struct model m;
    struct memory_plan mp;
    struct ids ids = { 0 };
    if (!model_open_plan(&m, in, err))
        return false;
    memory_plan_make(&mp, &m.plan, m.weight_bytes, imatrix_stretch(&m.plan), 64, KV_F32, n_threads,
                     false);
    bool ok = memory_plan_check(&mp, in, err) && model_bind(&m, n_threads, NUMERICS_F32, err)
              && read_text(&m, text, &ids, err) && imatrix_measure(im, &m, &ids, stop, err);
    if (ok)
        fprintf(stderr, "kexa: importance measured on %zu tokens\n", ids.n);
    ids_release(&ids);
    model_close(&m);
    return ok;
}

static bool get_importance(const struct quantize_args *a, const char *in, int n_threads,
                           const volatile int *stop, struct imatrix *im, struct err *err)
{
    if (!a->imatrix)
        return !a->imatrix_out
               || fail(err, ERR_USAGE, "--imatrix-out needs --imatrix TEXT to measure it on");
    if (is_gguf(a->imatrix))
        return imatrix_load(im, a->imatrix, err);
    return measure(im, in, a->imatrix, n_threads, stop, err)
           && (!a->imatrix_out || imatrix_save(im, a->imatrix_out, a->imatrix, err));
}

static void print_report(const char *out, const struct requant_report *r)
{
    struct buf in_size = { 0 }, out_size = { 0 };
    put_size(&in_size, r->bytes_in);
    put_size(&out_size, r->bytes_out);
    printf("%s: %.1f M weights, %s from %s, %.2f bits a weight\n", out,
           (double)r->weights * 1e-6, out_size.at ? out_size.at : "?",
           in_size.at ? in_size.at : "?", 8.0 * (double)r->bytes_out / (double)r->weights);
    for (size_t i = 0; r->types[i].type; i++) {
        buf_clear(&out_size);
        put_size(&out_size, r->types[i].bytes);
        printf("  %-5s %5" PRIu64 " tensors  %s\n", r->types[i].type->name, r->types[i].n,
               out_size.at ? out_size.at : "?");
    }
    if (r->with_importance)
        printf("  %" PRIu64 " of them weighed by importance\n", r->with_importance);
    buf_release(&in_size);
    buf_release(&out_size);
}

static const volatile int *stop_flag;     /* convert asks by a function */

static bool stopped(void)
{
    return *stop_flag != 0;
}

/* A Hugging Face folder as a GGUF file that lives until OUT is written. */
static bool convert_folder(const char *in, const char *temp, int n_threads, struct err *err)
{
    struct model m;
    struct convert_options o = { .float_type = qtype_find(QT_F32), .stopped = stopped };
    struct convert_report report;
    if (!model_open_plan(&m, in, err))
        return false;
    bool ok = model_bind(&m, n_threads, NUMERICS_NATIVE, err)
              && model_to_gguf(&m, temp, &o, &report, err);
    if (ok && !report.tokenizer)
        fprintf(stderr, "kexa: %s has no tokenizer; the new model has none either\n", in);
    model_close(&m);
    return ok;
}

static bool quantize(const struct quantize_args *a, const char *in, const char *out,
                     struct requant_options *o, struct err *err)
{
    struct requant_report report;
    struct imatrix im = { 0 };
    struct gguf g = { 0 };
    bool ok = gguf_open(&g, in, err) && get_importance(a, in, o->n_threads, o->stop, &im, err);
    o->importance = im.n ? &im : NULL;
    ok = ok && requant_file(&g, out, o, &report, err);
    if (ok)
        print_report(out, &report);
    imatrix_release(&im);
    gguf_close(&g);
    return ok;
}

static bool quantize_folder(const struct quantize_args *a, const char *in, const char *out,
                            struct requant_options *o, struct err *err)
{
    struct buf temp = { 0 };
    buf_printf(&temp, "%s.source-%ld.gguf", out, (long)getpid());
    bool ok = buf_ok(&temp, err);
    if (ok) {
        ok = convert_folder(in, temp.at, o->n_threads, err) && quantize(a, temp.at, out, o, err);
        unlink(temp.at);
    }
    buf_release(&temp);
    return ok;
}

static bool run_quantize(const void *args, const struct operands *rest, struct err *err)
{
    const struct quantize_args *a = args;
    const char *in = rest->at[0], *out = rest->at[1];
    struct requant_options o = { .stop = interrupt_catch() };
    stop_flag = o.stop;
    o.n_threads = a->threads == OPT_UNSET ? sys_cpus() : (int)a->threads;
    if (file_exists(out))                 /* said now, not after an hour of measuring */
        return fail(err, ERR_USAGE, "%s: exists already; remove it or choose another name", out);
    if (!recipe_find(&o.recipe, rest->at[2], err))
        return false;
    return file_is_dir(in) ? quantize_folder(a, in, out, &o, err) : quantize(a, in, out, &o, err);
}

static const struct example examples[] = {
    { "kexa quantize model-bf16.gguf model-q4_k.gguf Q4_K", "every matrix in four bits" },
    { "kexa quantize model-bf16.gguf model-q4_0.gguf Q4_0 --imatrix text.txt",
      "the same size and closer to the original, by what matters on a text" },
    { "kexa quantize my-model/ my-model.gguf Q8_0", "from a Hugging Face folder" },
    { "kexa quantize k-exaone-bf16.gguf k-exaone.gguf k-exaone",
      "routed experts Q4_K, everything else Q8_0" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", quantize_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command quantize_command = {
    "quantize", "write a model in smaller weight types", "IN OUT TYPE|RECIPE", 3, 3,
    "Reads a GGUF file and writes another one; a Hugging Face folder becomes a GGUF file beside "
    "OUT first, which needs room for both and is removed again.  The type is F32, F16, BF16, "
    "Q8_0, Q6_K, Q4_K, Q4_1 or Q4_0 and holds for every matrix; norms, biases and routers are "
    "F32.  The recipe k-exaone stores routed experts as Q4_K and all other matrices as Q8_0.  "
    "Matrices whose rows do not fit a type's blocks become Q8_0, or F16 where that does not fit "
    "either.  Start from F32, F16 or BF16 weights: what an earlier quantisation lost stays lost.  "
    "The file appears under its name when it is complete.",
    examples, groups, sizeof(struct quantize_args), run_quantize
};
