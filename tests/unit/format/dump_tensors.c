/*
 * dump_tensors FILE: what kexa reads from a GGUF file or a safetensors file or folder,
 * as JSON on stdout, to be compared with what other readers see: every metadata value,
 * every tensor with its shape, place and a hash (XXH3-64) of its bytes.
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
        printf("], \"xxh3\": \"%016" PRIx64 "\", \"file\": ",
               hash_bytes((struct bytes){ x->data, (size_t)x->n_bytes }, 0));
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

int main(int argc, char **argv)
{
    struct err err;
    if (argc != 2) {
        fprintf(stderr, "usage: dump_tensors FILE.gguf | FILE.safetensors | FOLDER\n");
        return 2;
    }
    if (dump(argv[1], &err))
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return err_exit_status(err.code);
}
