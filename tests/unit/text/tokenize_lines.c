/*
 * tokenize_lines TOKENIZER [special] [add] [time N]: what test_tokenizers.py compares.
 *
 * TOKENIZER is a GGUF file, a tokenizer.json or its folder.  Standard input is records of
 * u32 length and that many bytes; output is, for each, u32 count and as many u32 ids
 * (little endian, as the machine).  special: control tokens in the text count; add: what
 * the file puts around a text.  time: encodes all records N times instead and prints
 * bytes, seconds of the fastest pass and MB/s.
 */
#include "format/format.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>

static struct tokenizer *open_any(const char *path, struct gguf *g, struct err *err)
{
    size_t n = strlen(path);
    if (n < 5 || strcmp(path + n - 5, ".gguf"))
        return tokenizer_open_hf(path, err);
    return gguf_open(g, path, err) ? tokenizer_open_gguf(g, path, err) : NULL;
}

/* The record at *at; false at the end of the input. */
static bool next_record(struct bytes *at, struct bytes *record)
{
    uint32_t len;
    if (at->len < sizeof len)
        return false;
    memcpy(&len, at->at, sizeof len);
    if (at->len - sizeof len < len)
        return false;
    *record = (struct bytes){ at->at + sizeof len, len };
    *at = (struct bytes){ record->at + len, at->len - sizeof len - len };
    return true;
}

static bool write_all(const struct tokenizer *t, struct bytes in, struct encode_options o,
                      struct err *err)
{
    struct ids out = { 0 };
    struct bytes record;
    bool ok = true;
    while (ok && next_record(&in, &record)) {
        out.n = 0;
        ok = tokenizer_encode(t, record, o, &out, err);
        uint32_t n = (uint32_t)out.n;
        fwrite(&n, sizeof n, 1, stdout);
        fwrite(out.at, sizeof *out.at, n, stdout);
    }
    ids_release(&out);
    return ok;
}

static bool time_all(const struct tokenizer *t, struct bytes all, struct encode_options o,
                     int n_passes, struct err *err)
{
    struct ids out = { 0 };
    double best = 1e30, bytes = 0;
    bool ok = true;
    for (int pass = 0; ok && pass < n_passes; pass++) {
        struct bytes in = all, record;
        uint64_t start = now_ns();
        bytes = 0;
        while (ok && next_record(&in, &record)) {
            out.n = 0;
            ok = tokenizer_encode(t, record, o, &out, err);
            bytes += (double)record.len;
        }
        double s = (double)(now_ns() - start) * 1e-9;
        best = s < best ? s : best;
    }
    printf("%.0f %.6f %.1f\n", bytes, best, bytes / best / 1e6);
    ids_release(&out);
    return ok;
}

int main(int argc, char **argv)
{
    struct err err;
    struct gguf g = { 0 };
    struct encode_options o = { 0 };
    struct buf in = { 0 };
    int n_passes = 0;
    for (int i = 2; i < argc; i++) {
        o.parse_special |= !strcmp(argv[i], "special");
        o.add_special |= !strcmp(argv[i], "add");
        if (!strcmp(argv[i], "time") && i + 1 < argc)
            n_passes = atoi(argv[i + 1]);
    }
    struct tokenizer *t = argc > 1 ? open_any(argv[1], &g, &err) : NULL;
    bool ok = t && file_read(&in, "-", (size_t)1 << 32, &err);
    struct bytes all = { (const uint8_t *)in.at, in.len };
    if (ok)
        ok = n_passes ? time_all(t, all, o, n_passes, &err) : write_all(t, all, o, &err);
    if (!ok)
        fprintf(stderr, "tokenize_lines: %s\n", argc > 1 ? err.msg : "no tokenizer given");
    tokenizer_close(t);
    gguf_close(&g);
    buf_release(&in);
    return !ok;
}
