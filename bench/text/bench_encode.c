/*
 * bench_encode: bytes of text encoded per CPU-second, one thread.
 *
 *     bench_encode TOKENIZER [PASSES] <RECORDS
 *
 * TOKENIZER is a GGUF file, a tokenizer.json or its folder.  Standard input is records of u32
 * length and that many bytes, one document each (tools/reference/compare_tokenizers.py writes
 * them).  The first pass starts with empty caches; the median is of the others.  Prints one line
 * of JSON: bytes, tokens, XXH3-64 of all ids, CPU seconds of both.
 */
#include "../bench.h"
#include "format/format.h"
#include "text/text.h"

enum { MAX_PASSES = 99 };

static struct tokenizer *open_any(const char *path, struct gguf *g, struct err *err)
{
    size_t n = strlen(path);
    if (n < 5 || strcmp(path + n - 5, ".gguf"))
        return tokenizer_open_hf(path, err);
    return gguf_open(g, path, err) ? tokenizer_open_gguf(g, path, err) : NULL;
}

struct totals {
    size_t n_bytes, n_tokens;
    uint64_t hash;                        /* where asked for */
};

/* Encodes every record. */
static bool encode_all(const struct tokenizer *t, struct bytes in, bool hash, struct totals *sum,
                       struct err *err)
{
    struct ids out = { 0 };
    uint32_t len;
    bool ok = true;
    *sum = (struct totals){ 0 };
    for (; ok && in.len > sizeof len; in.at += len, in.len -= len) {
        memcpy(&len, in.at, sizeof len);
        in.at += sizeof len;
        in.len -= sizeof len;
        if (len > in.len)
            break;
        out.n = 0;
        ok = tokenizer_encode(t, (struct bytes){ in.at, len }, (struct encode_options){ 0 }, &out,
                              err);
        sum->n_bytes += len;
        sum->n_tokens += out.n;
        struct bytes ids = { (const uint8_t *)out.at, out.n * sizeof *out.at };
        if (hash && ids.len)
            sum->hash = hash_bytes(ids, sum->hash);
    }
    ids_release(&out);
    return ok;
}

static bool bench(const struct tokenizer *t, struct bytes in, int n, struct err *err)
{
    double s[MAX_PASSES + 1];
    struct totals sum;
    for (int i = 0; i <= n; i++) {
        double start = bench_now();
        if (!encode_all(t, in, false, &sum, err))
            return false;
        s[i] = bench_now() - start;
    }
    if (!encode_all(t, in, true, &sum, err))
        return false;
    printf("{\"bytes\": %zu, \"tokens\": %zu, \"ids\": \"%016llx\", \"first\": %.6f, "
           "\"median\": %.6f}\n", sum.n_bytes, sum.n_tokens, (unsigned long long)sum.hash, s[0],
           bench_median(s + 1, (size_t)n));
    return true;
}

int main(int argc, char **argv)
{
    struct err err;
    struct gguf g = { 0 };
    struct buf in = { 0 };
    int n = argc > 2 ? atoi(argv[2]) : 5;
    if (argc < 2 || n < 1 || n > MAX_PASSES) {
        fprintf(stderr, "usage: bench_encode TOKENIZER [PASSES] <RECORDS\n");
        return 2;
    }
    struct tokenizer *t = open_any(argv[1], &g, &err);
    bool ok = t && file_read(&in, "-", (size_t)1 << 32, &err);
    ok = ok && bench(t, (struct bytes){ (const uint8_t *)in.at, in.len }, n, &err);
    if (!ok)
        fprintf(stderr, "bench_encode: %s\n", err.msg);
    tokenizer_close(t);
    gguf_close(&g);
    buf_release(&in);
    return !ok;
}
