/*
 * compare_quantisers: error and speed of kexa's encoders beside ggml's quantisers.
 *
 *     compare_quantisers [MODEL.gguf]
 *
 * On Gaussian rows, and on every matrix of a model with F32 weights (at most 2^22 elements of
 * each): root of the mean squared error of each, its ratio, and speed.  After `make`, with DIR
 * as build_llama_cpp made it and D=DIR/llama_cpp_python-0.3.36/vendor/llama.cpp/ggml:
 *
 *     cc -O2 -D_GNU_SOURCE -Isrc -I$D/include tools/reference/compare_quantisers.c \
 *         build/libkexa.a DIR/build/ggml/src/libggml-base.a -o compare_quantisers \
 *         -ljansson -lutf8proc -lstdc++ -lm -ldl -pthread
 */
#include <ggml.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/format.h"
#include "kern/kern.h"

enum { ROW = 2048, MOST = 1 << 22 };

struct score {
    double ours, theirs, our_s, their_s;
};

static double squares(const struct qtype *t, const void *row, const float *x, float *y, size_t k)
{
    double sum = 0;
    t->dequant(y, row, k);
    for (size_t i = 0; i < k; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sum;
}

/* Adds the errors of rows of k elements. */
static void add_rows(struct score *s, const struct qtype *t, const float *x, size_t rows, size_t k)
{
    size_t bytes = qtype_row_bytes(t, k);
    unsigned char *a = malloc(rows * bytes), *b = malloc(rows * bytes);
    float *y = malloc(k * sizeof *y);
    uint64_t t0 = now_ns();
    for (size_t r = 0; r < rows; r++)
        if (!encoder_find(t)(a + r * bytes, x + r * k, NULL, k))
            printf("refused\n");
    uint64_t t1 = now_ns();
    ggml_quantize_chunk((enum ggml_type)t->id, x, b, 0, (int64_t)rows, (int64_t)k, NULL);
    uint64_t t2 = now_ns();
    for (size_t r = 0; r < rows; r++) {
        s->ours += squares(t, a + r * bytes, x + r * k, y, k);
        s->theirs += squares(t, b + r * bytes, x + r * k, y, k);
    }
    s->our_s += (double)(t1 - t0) * 1e-9;
    s->their_s += (double)(t2 - t1) * 1e-9;
    free(a);
    free(b);
    free(y);
}

static void print(const char *what, const struct qtype *t, const struct score *s, double n)
{
    printf("%-10s %-5s kexa %.6e  ggml %.6e  ratio %.4f  %6.1f and %6.1f M weights/s\n", what,
           t->name, sqrt(s->ours / n), sqrt(s->theirs / n), sqrt(s->ours / s->theirs),
           n / s->our_s * 1e-6, n / s->their_s * 1e-6);
}

static void gaussian(const struct qtype *t)
{
    size_t rows = 512;
    struct score s = { 0 };
    struct rng r = { .seed = 1 };
    float *x = malloc(rows * ROW * sizeof *x);
    for (size_t i = 0; i < rows * ROW; i++)
        x[i] = (float)(0.02 * sqrt(-2 * log(1 - rng_unit(&r))) * cos(6.283185307179586 *
                                                                     rng_unit(&r)));
    add_rows(&s, t, x, rows, ROW);
    print("Gaussian", t, &s, (double)rows * ROW);
    free(x);
}

static void model(const struct gguf *g, const struct qtype *t)
{
    struct score s = { 0 };
    double n = 0;
    for (size_t i = 0; i < g->tensors.n; i++) {
        const struct tensor *w = &g->tensors.at[i];
        size_t k = w->ne[0], rows = w->ne[1] * w->ne[2];
        if (w->n_dims < 2 || w->ggml_type != QT_F32 || k % t->block)
            continue;
        rows = rows * k > MOST ? MOST / k : rows;
        add_rows(&s, t, (const float *)(const void *)w->data, rows, k);
        n += (double)(rows * k);
    }
    if (n > 0)
        print("model", t, &s, n);
}

int main(int argc, char **argv)
{
    struct gguf g = { 0 };
    struct err err;
    if (argc > 1 && !gguf_open(&g, argv[1], &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (const struct qtype *t = qtypes; t->name; t++)
        if (t->block > 1 && encoder_find(t)) {
            gaussian(t);
            model(&g, t);
        }
    gguf_close(&g);
    return 0;
}
