/*
 * dump_tensors FILE: what kexa reads from a GGUF file or a safetensors file or folder,
 * as JSON on stdout, to be compared with what other readers see: every metadata value,
 * every tensor with its shape, file and the CRC-32 (zlib's) of its bytes.
 * dump_tensors IN.npy OUT.npy: reads an array and writes it again.
 */
#include "format/format.h"

#include <inttypes.h>
#include <stdio.h>

static void put_hex(struct bytes b)
{
    putchar('"');
    for (size_t i = 0; i < b.len; i++)
        printf("%02x", b.at[i]);
    putchar('"');
}

static uint32_t crc32_of(struct bytes b)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256 && !table[255]; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < b.len; i++)
        crc = crc >> 8 ^ table[(crc ^ b.at[i]) & 255];
    return ~crc;
}

static void put_text(const char *text)
{
    json_t *j = json_string(text);
    if (j)
        json_dumpf(j, stdout, JSON_ENCODE_ANY);
    json_decref(j);
}

/* Numbers through the typed readers, strings as the hex of their bytes. */
static void put_value(const struct gguf_kv *kv)
{
    struct bytes at = kv->raw, text;
    for (uint64_t i = 0; i < kv->n; i++) {
        uint64_t u;
        double f;
        fputs(i ? ", " : "", stdout);
        if (kv->type == GGUF_STRING)
            put_hex(kv->raw);
        else if (kv->elem == GGUF_STRING && gguf_next_string(&at, &text))
            put_hex(text);
        else if (gguf_elem_u64(kv, i, &u))
            printf("%" PRIu64, u);
        else if (gguf_elem_f64(kv, i, &f))
            printf("%.17g", f);
        else
            printf("null");
    }
}

static void put_metadata(const struct gguf *g)
{
    printf(" \"version\": %u, \"alignment\": %" PRIu64 ", \"metadata\": {", g->version,
           g->alignment);
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        printf("%s\n  \"%.*s\": [\"%s\", \"%s\", [", i ? "," : "", (int)kv->key.len,
               (const char *)kv->key.at, gguf_type_name(kv->type), gguf_type_name(kv->elem));
        put_value(kv);
        printf("]]");
    }
    printf("},\n");
}

static void put_tensors(const struct tensors *t)
{
    printf(" \"tensors\": {");
    for (size_t i = 0; i < t->n; i++) {
        const struct tensor *x = &t->at[i];
        printf("%s\n  ", i ? "," : "");
        put_text(x->name);
        printf(": {\"type\": \"%s\", \"readable\": %s, \"n_bytes\": %" PRIu64 ", \"ne\": [",
               x->type_name, x->qtype ? "true" : "false", x->n_bytes);
        for (uint32_t d = 0; d < x->n_dims; d++)
            printf("%s%" PRIu64, d ? ", " : "", x->ne[d]);
        printf("], \"crc32\": %" PRIu32 ", \"file\": ",
               crc32_of((struct bytes){ x->data, (size_t)x->n_bytes }));
        put_text(x->file);
        printf("}");
    }
    printf("}\n");
}

static bool dump(const char *path, struct err *err)
{
    size_t n = strlen(path);
    struct gguf g = { 0 };
    struct safetensors s = { 0 };
    if (n > 5 && !strcmp(path + n - 5, ".gguf")) {
        if (!gguf_open(&g, path, err))
            return false;
        printf("{\"files\": %zu,\n", g.n_files);
        put_metadata(&g);
        put_tensors(&g.tensors);
        gguf_close(&g);
    } else {
        if (!safetensors_open(&s, path, err))
            return false;
        printf("{\"files\": %zu,\n", s.n_files);
        put_tensors(&s.tensors);
        safetensors_close(&s);
    }
    printf("}\n");
    return true;
}

static bool copy_npy(const char *from, const char *to, struct err *err)
{
    struct npy a;
    struct npy_writer w;
    if (!npy_open(&a, from, err))
        return false;
    size_t n_bytes = (size_t)(a.file.at + a.file.len - a.data);
    bool ok = npy_writer_begin(&w, to, a.dtype, a.shape, a.n_dims, err);
    if (ok) {
        ok = npy_writer_put(&w, a.data, n_bytes, err);
        if (ok)
            ok = npy_writer_end(&w, err);
        else
            npy_writer_drop(&w);
    }
    npy_close(&a);
    return ok;
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: dump_tensors FILE.gguf | FILE.safetensors | FOLDER\n"
                "       dump_tensors IN.npy OUT.npy\n");
        return 2;
    }
    if (argc == 3 ? copy_npy(argv[1], argv[2], &err) : dump(argv[1], &err))
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return err_exit_status(err.code);
}
