/* Dequantisation equals the gguf package's to the bit; fixtures: make_dequant.py. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness.h"
#include "kern/qtype.h"

enum { MAX_BYTES = 1 << 16 };

static size_t read_fixture(const struct qtype *t, uint8_t *to)
{
    char path[64];
    int n = snprintf(path, sizeof path, "tests/gold/dequant/%s.bin", t->name);
    for (int i = 0; i < n; i++)
        path[i] = (char)tolower((unsigned char)path[i]);
    FILE *f = fopen(tree_path(path), "rb");
    EXPECTF(f != NULL, "%s: not found", path);
    size_t size = f ? fread(to, 1, MAX_BYTES, f) : 0;
    if (f)
        fclose(f);
    return size;
}

static void test_dequant_equals_gguf(void)
{
    static uint8_t file[MAX_BYTES + 1];
    static float got[4096], want[4096];
    for (const struct qtype *t = qtypes; t->name; t++) {
        size_t size = read_fixture(t, file + 1);          /* + 1: rows are unaligned */
        size_t k = size / (t->block_bytes + 4 * t->block) * t->block;
        size_t row = qtype_row_bytes(t, k), wrong = 0;
        EXPECTF(k > 0 && k <= 4096 && row + 4 * k == size, "%s: %zu bytes", t->name, size);
        memcpy(want, file + 1 + row, 4 * k);
        t->dequant(got, file + 1, k);
        for (size_t i = 0; i < k; i++)
            wrong += memcmp(got + i, want + i, 4) != 0;
        EXPECTF(wrong == 0, "%s: %zu of %zu values differ", t->name, wrong, k);
    }
}

static void test_names(void)
{
    int known = 0;
    for (uint32_t id = 0; id < 43; id++) {
        const struct qtype *t = qtype_find(id);
        EXPECT(strcmp(qtype_ggml_name(id), "?") != 0);
        if (!t)
            continue;
        known++;
        EXPECT(strcmp(qtype_ggml_name(id), t->name) == 0);
        EXPECT(qtype_named(t->name) == t);
    }
    EXPECT(known == 16);
    EXPECT(qtype_named("q4_k") == qtype_find(QT_Q4_K));
    EXPECT(qtype_named("q4_") == NULL && qtype_named("q4_k_m") == NULL && !qtype_named(""));
    EXPECT(qtype_find(43) == NULL && strcmp(qtype_ggml_name(43), "?") == 0);
    EXPECT(strcmp(qtype_ggml_name(6), "Q5_0") == 0 && strcmp(qtype_ggml_name(39), "MXFP4") == 0);
}

const struct test tests[] = {
    { "dequant equals gguf", test_dequant_equals_gguf },
    { "names", test_names },
    { 0 }
};
