/*
 * llama_probe: llama.cpp's logits and speed, for comparison with kexa's.
 *
 *   llama_probe logits MODEL TOKENS.npy OUT.npy [key=value...]
 *   llama_probe speed MODEL [key=value...]
 *
 * keys: threads=1 flash=0|1|auto kv=f16|f32 ubatch=512 prompt=512 decode=128 rounds=3
 *       clock=wall|cpu (cpu: seconds of this process on a CPU; for 1 thread on a busy machine)
 * TOKENS.npy is u4 or i4 [T]; OUT.npy is f4 [T, V], one run over all T positions.
 * speed prints one line per round: prompt tok/s (one batch of `prompt` tokens into an empty
 * context) and decode tok/s (`decode` single tokens into an empty context), as llama-bench
 * counts them.  Built by build_llama_cpp; not part of kexa.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llama.h"

struct options {
    int threads, ubatch, prompt, decode, rounds;
    enum llama_flash_attn_type flash;
    enum ggml_type kv;
};

static clockid_t used_clock = CLOCK_MONOTONIC;

static void die(const char *what, const char *name)
{
    fprintf(stderr, "llama_probe: %s: %s\n", what, name);
    exit(1);
}

static void parse_option(struct options *o, const char *arg)
{
    if (sscanf(arg, "threads=%d", &o->threads) == 1 || sscanf(arg, "ubatch=%d", &o->ubatch) == 1
        || sscanf(arg, "prompt=%d", &o->prompt) == 1 || sscanf(arg, "decode=%d", &o->decode) == 1
        || sscanf(arg, "rounds=%d", &o->rounds) == 1)
        return;
    if (strcmp(arg, "kv=f32") == 0)
        o->kv = GGML_TYPE_F32;
    else if (strcmp(arg, "clock=cpu") == 0)
        used_clock = CLOCK_PROCESS_CPUTIME_ID;
    else if (strcmp(arg, "flash=1") == 0)
        o->flash = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    else if (strcmp(arg, "flash=auto") == 0)
        o->flash = LLAMA_FLASH_ATTN_TYPE_AUTO;
    else if (strcmp(arg, "kv=f16") != 0 && strcmp(arg, "flash=0") != 0
             && strcmp(arg, "clock=wall") != 0)
        die("unknown option", arg);
}

/* Header of a version 1.0 .npy with one dimension of 4-byte integers; returns its length. */
static long read_npy_header(FILE *f, const char *path)
{
    unsigned char head[10];
    char text[1024] = "";
    if (fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY\1", 7) != 0)
        die("not a version 1.0 .npy file", path);
    size_t n = head[8] + 256u * head[9];
    if (n >= sizeof text || fread(text, 1, n, f) != n || !strstr(text, "4'"))
        die("not 4-byte integers", path);
    const char *shape = strchr(text, '(');
    return shape ? strtol(shape + 1, NULL, 10) : 0;
}

static llama_token *read_tokens(const char *path, long *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        die("cannot open", path);
    *n = read_npy_header(f, path);
    llama_token *tokens = (llama_token *)calloc((size_t)*n + 1, sizeof *tokens);
    if (!tokens || fread(tokens, sizeof *tokens, (size_t)*n, f) != (size_t)*n)
        die("shorter than its header says", path);
    fclose(f);
    return tokens;
}

static void write_npy_header(FILE *f, long rows, long columns)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %ld), }", rows,
                     columns);
    memset(text + n, ' ', sizeof text - (size_t)n);
    text[117] = '\n';                    /* 10 + 118 = 128 bytes */
    fwrite("\x93NUMPY\1\0\x76\0", 1, 10, f);
    fwrite(text, 1, 118, f);
}

static struct llama_context *open_context(struct llama_model *model, const struct options *o,
                                          long n_tokens)
{
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = (uint32_t)n_tokens + 8;
    p.n_batch = p.n_ubatch = (uint32_t)o->ubatch;
    p.n_threads = p.n_threads_batch = o->threads;
    p.flash_attn_type = o->flash;
    p.type_k = p.type_v = o->kv;
    struct llama_context *context = llama_init_from_model(model, p);
    if (!context)
        die("llama.cpp made no context", "see above");
    return context;
}

static void fill_batch(struct llama_batch *b, const llama_token *tokens, long from, long n,
                       bool all_logits)
{
    b->n_tokens = (int32_t)n;
    for (long i = 0; i < n; i++) {
        b->token[i] = tokens[from + i];
        b->pos[i] = (llama_pos)(from + i);
        b->n_seq_id[i] = 1;
        b->seq_id[i][0] = 0;
        b->logits[i] = all_logits || i == n - 1;
    }
}

static void run_logits(struct llama_model *model, const struct options *o, const char *in,
                       const char *out)
{
    long n, n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    llama_token *tokens = read_tokens(in, &n);
    struct llama_context *context = open_context(model, o, n);
    struct llama_batch batch = llama_batch_init(o->ubatch, 0, 1);
    FILE *f = fopen(out, "wb");
    if (!f)
        die("cannot write", out);
    write_npy_header(f, n, n_vocab);
    for (long at = 0; at < n; at += o->ubatch) {
        long count = n - at < o->ubatch ? n - at : o->ubatch;
        fill_batch(&batch, tokens, at, count, true);
        if (llama_decode(context, batch) != 0)
            die("llama_decode failed", in);
        for (long i = 0; i < count; i++)
            fwrite(llama_get_logits_ith(context, (int32_t)i), sizeof(float), (size_t)n_vocab, f);
    }
    if (fclose(f) != 0)
        die("cannot write", out);
    llama_batch_free(batch);
    llama_free(context);
    free(tokens);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(used_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Tokens per second for n tokens fed in batches of `step` into an empty context. */
static double measure(struct llama_context *context, struct llama_batch *batch,
                      const llama_token *tokens, long n, long step)
{
    llama_memory_clear(llama_get_memory(context), true);
    double start = seconds();
    for (long at = 0; at < n; at += step) {
        fill_batch(batch, tokens, at, n - at < step ? n - at : step, false);
        if (llama_decode(context, *batch) != 0)
            die("llama_decode failed", "speed");
        (void)llama_get_logits_ith(context, batch->n_tokens - 1);
    }
    return (double)n / (seconds() - start);
}

static void run_speed(struct llama_model *model, const struct options *o)
{
    long most = o->prompt > o->decode ? o->prompt : o->decode;
    long n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_context *context = open_context(model, o, most);
    struct llama_batch batch = llama_batch_init(o->ubatch, 0, 1);
    llama_token *tokens = (llama_token *)calloc((size_t)most, sizeof *tokens);
    if (!tokens)
        die("no memory", "speed");
    for (long i = 0; i < most; i++)
        tokens[i] = (llama_token)((i * 7919 + 11) % n_vocab);
    measure(context, &batch, tokens, 16, 1);
    for (int round = 0; round < o->rounds; round++) {
        double prompt = measure(context, &batch, tokens, o->prompt, o->ubatch);
        double decode = measure(context, &batch, tokens, o->decode, 1);
        printf("threads %d prompt %.1f tok/s decode %.1f tok/s\n", o->threads, prompt, decode);
        fflush(stdout);
    }
    free(tokens);
    llama_batch_free(batch);
    llama_free(context);
}

static void log_errors(enum ggml_log_level level, const char *text, void *data)
{
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR || getenv("LLAMA_PROBE_VERBOSE"))
        fputs(text, stderr);
}

int main(int argc, char **argv)
{
    struct options o = {1, 512, 512, 128, 3, LLAMA_FLASH_ATTN_TYPE_DISABLED, GGML_TYPE_F16};
    bool logits = argc >= 5 && strcmp(argv[1], "logits") == 0;
    if (!logits && !(argc >= 3 && strcmp(argv[1], "speed") == 0))
        die("usage", "logits MODEL TOKENS.npy OUT.npy [key=value...] | speed MODEL [key=value...]");
    for (int i = logits ? 5 : 3; i < argc; i++)
        parse_option(&o, argv[i]);
    llama_log_set(log_errors, NULL);
    llama_backend_init();
    struct llama_model *model =
        llama_model_load_from_file(argv[2], llama_model_default_params());
    if (!model)
        die("llama.cpp could not load", argv[2]);
    if (logits)
        run_logits(model, &o, argv[3], argv[4]);
    else
        run_speed(model, &o);
    llama_model_free(model);
    return 0;
}
