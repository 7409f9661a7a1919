/* synth: a model with random weights, for tests and benchmarks. */
#include "cmd/commands.h"
#include "cmd/interrupt.h"
#include "run/run.h"

#include <inttypes.h>

struct synth_args {
    const char *recipe;
    int64_t layers, vocab, seed, threads;
};

#define AT(f) offsetof(struct synth_args, f)
static const struct opt synth_opts[] = {
    O_TEXT("recipe", 0, AT(recipe), "Q8_0", "TYPE|RECIPE",
           "weight types, as `kexa quantize` takes them"),
    O_INT("layers", 0, AT(layers), 1, LAYERS_MAX, NULL, "N",
          "keep only the first N layers (and the MTP block)"),
    O_INT("vocab", 0, AT(vocab), SYNTH_VOCAB_MIN, 1 << 24, NULL, "N",
          "another size of the vocabulary"),
    O_INT("seed", 0, AT(seed), 0, 0x1p53, "1", "N", "the same seed gives the same file"),
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N",
          "threads; without it all CPUs; the file is the same for any number"),
    O_END
};
#undef AT

static bool write_model(const struct synth_args *a, struct model *m, const char *out,
                        struct err *err)
{
    struct synth_options o = { .seed = (uint64_t)a->seed, .stop = interrupt_catch() };
    struct synth_report r;
    char name[200] = "random weights, ";
    struct buf size = { 0 };
    o.n_threads = a->threads == OPT_UNSET ? sys_cpus() : (int)a->threads;
    snprintf(name + strlen(name), sizeof name - strlen(name), "%s", m->plan.family->name);
    uint32_t layers = a->layers == OPT_UNSET ? 0 : (uint32_t)a->layers;
    uint32_t vocab = a->vocab == OPT_UNSET ? 0 : (uint32_t)a->vocab;
    uint64_t start = now_ns();
    if (!recipe_find(&o.recipe, a->recipe, err) || !synth_shrink(&m->plan, layers, vocab, err)
        || !synth_file(&m->plan, name, out, &o, &r, err))
        return false;
    double s = (double)(now_ns() - start) * 1e-9;
    put_size(&size, r.bytes);
    printf("%s: %.3f G weights in %" PRIu64 " tensors, %s, %.2f bits a weight\n", out,
           (double)r.weights * 1e-9, r.tensors, size.at ? size.at : "?",
           8.0 * (double)r.bytes / (double)r.weights);
    fprintf(stderr, "kexa: %.1f s, %.0f MB/s\n", s, (double)r.bytes * 1e-6 / s);
    buf_release(&size);
    return true;
}

static bool run_synth(const void *args, const struct operands *rest, struct err *err)
{
    struct model m;
    if (!model_open_plan(&m, rest->at[0], err))
        return false;
    bool ok = write_model(args, &m, rest->at[1], err);
    model_close(&m);
    return ok;
}

static const struct example examples[] = {
    { "kexa synth recipes/k-exaone-236b/config.json tiny.gguf --layers 4 --vocab 4096 "
      "--recipe k-exaone", "four layers of K-EXAONE as it would be stored" },
    { "kexa synth config.json model.gguf --recipe Q4_K --seed 2", "any known configuration" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", synth_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command synth_command = {
    "synth", "write a model with random weights", "CONFIG OUT.gguf", 2, 2,
    "Takes the shape of a model from a config.json (or a GGUF file or a Hugging Face folder) and "
    "writes a GGUF file of that shape with random weights and a tokenizer of single bytes, for "
    "tests and benchmarks of models too large to fetch.  What it says is noise, but speed and "
    "memory are those of the real model.  The bytes are a function of configuration, recipe and "
    "seed, the same on every machine.  Nothing is held in memory; the file appears under its "
    "name when it is complete.",
    examples, groups, sizeof(struct synth_args), run_synth
};
