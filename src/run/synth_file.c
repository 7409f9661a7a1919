#include "run/run.h"

bool synth_shrink(struct plan *p, uint32_t n_layers, uint32_t vocab, struct err *err)
{
    uint32_t layers = n_layers ? n_layers : p->n_layers;
    if (layers > p->n_layers)
        return fail(err, ERR_USAGE, "%u layers were asked for; the model has %u", layers,
                    p->n_layers);
    if (vocab)
        p->vocab = vocab;
    if (p->vocab < SYNTH_VOCAB_MIN)
        return fail(err, ERR_USAGE, "a vocabulary of %u; the tokenizer alone has %u", p->vocab,
                    SYNTH_VOCAB_MIN);
    memmove(p->layer + layers, p->layer + p->n_layers, p->n_mtp * sizeof *p->layer);
    p->n_layers = layers;
    return true;
}

static void put_code_point(struct gguf_writer *w, uint32_t c)
{
    uint8_t two[2] = { (uint8_t)(0xc0 | c >> 6), (uint8_t)(0x80 | (c & 63)) };
    uint8_t one = (uint8_t)c;
    gguf_put_text(w, c < 128 ? (struct bytes){ &one, 1 } : (struct bytes){ two, 2 });
}

/* The letters of byte-level BPE: printable Latin-1 stands for itself, the other bytes are
 * U+0100 and on, in order. */
static void put_byte_tokens(struct gguf_writer *w)
{
    uint32_t other = 0x100;
    for (uint32_t b = 0; b < 256; b++) {
        bool itself = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
        put_code_point(w, itself ? b : other++);
    }
}

static void put_tokenizer(struct gguf_writer *w, uint32_t vocab)
{
    char text[32];
    gguf_put_string(w, "tokenizer.ggml.model", bytes_of("gpt2"));
    gguf_put_string(w, "tokenizer.ggml.pre", bytes_of("gpt2"));
    gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_STRING, vocab);
    put_byte_tokens(w);
    gguf_put_text(w, bytes_of("<begin>"));
    gguf_put_text(w, bytes_of("<end>"));
    for (uint32_t i = SYNTH_VOCAB_MIN; i < vocab; i++) {
        snprintf(text, sizeof text, "<unused_%u>", i);
        gguf_put_text(w, bytes_of(text));
    }
    gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, vocab);
    for (uint32_t i = 0; i < vocab; i++) {
        int32_t kind = i < 256 ? 1 : i < SYNTH_VOCAB_MIN ? 3 : 5;    /* normal, control, unused */
        gguf_put_elem(w, GGUF_I32, &kind);
    }
    gguf_put_array(w, "tokenizer.ggml.merges", GGUF_STRING, 0);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 256);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 257);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
}

static bool put_metadata(struct gguf_writer *w, const struct plan *p, const char *name,
                         const struct synth_options *o, struct err *err)
{
    struct config_out out = { .gguf = w, .arch = p->family->gguf_archs[0] };
    gguf_put_string(w, "general.architecture", bytes_of(out.arch));
    gguf_put_string(w, "general.type", bytes_of("model"));
    gguf_put_string(w, "general.name", bytes_of(name));
    gguf_put_string(w, "general.description", bytes_of("random weights, never trained"));
    gguf_put_u32(w, "general.file_type", recipe_file_type(&o->recipe));
    gguf_put_u32(w, "general.quantization_version", 2);
    gguf_put_raw(w, "kexa.synth.seed", GGUF_U64, &o->seed);
    if (!config_write_plan(&out, p, err))
        return false;
    put_tokenizer(w, p->vocab);
    return true;
}

static void make(void *arg, uint64_t begin, uint64_t end, uint8_t *out, int worker)
{
    (void)worker;
    synth_fill(arg, begin, end, out);
}

struct synth_work {
    struct gguf_writer w;
    struct tensor_stream stream;
    struct synth_tensor *t;
    size_t n;
};

static bool announce(struct synth_work *s, struct synth_report *r, struct err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct synth_tensor *t = &s->t[i];
        if (!gguf_writer_add(&s->w, t->name, t->type, t->n_dims, t->ne, err))
            return false;
        r->bytes += t->n_bytes;
        r->weights += t->ne[0] * t->ne[1] * t->ne[2];
    }
    r->tensors = s->n;
    return true;
}

static bool write_all(struct synth_work *s, const char *path, const struct synth_options *o,
                      uint64_t total, struct err *err)
{
    s->stream.to = &s->w;
    s->stream.stop = o->stop;
    s->stream.pool = pool_open(o->n_threads, err);
    bool ok = s->stream.pool && stream_begin(&s->stream, path, total, err)
              && gguf_writer_begin(&s->w, path, 0, err);
    for (size_t i = 0; ok && i < s->n; i++) {
        struct stream_job job = { s->t[i].n_bytes, synth_piece_bytes(&s->t[i]), make, &s->t[i] };
        ok = stream_put(&s->stream, &job, err);
    }
    ok = ok && gguf_writer_end(&s->w, err);
    stream_release(&s->stream);
    pool_close(s->stream.pool);
    return ok;
}

bool synth_file(const struct plan *p, const char *name, const char *path,
                const struct synth_options *o, struct synth_report *report, struct err *err)
{
    struct synth_work s = { .n = 0 };
    *report = (struct synth_report){ 0 };
    if (!p->family->gguf_archs[0])
        return fail(err, ERR_UNSUPPORTED, "family %s has no GGUF architecture, so no GGUF file "
                    "can be written for it", p->family->name);
    bool ok = put_metadata(&s.w, p, name, o, err)
              && synth_list(p, &o->recipe, o->seed, &s.t, &s.n, err)
              && announce(&s, report, err) && write_all(&s, path, o, report->bytes, err);
    gguf_writer_release(&s.w);
    mem_give(s.t);
    return ok;
}
