/* imatrix.h: measuring, and what is made of it. */
#include "run/run.h"

#include <stdlib.h>

struct imatrix_entry *imatrix_add(struct imatrix *im, const char *name, uint64_t matrices,
                                  uint64_t cols)
{
    if (im->n == im->cap) {
        size_t cap = im->cap ? 2 * im->cap : 64;
        void *grown = mem_grow(im->at, cap, sizeof *im->at);
        if (!grown)
            return NULL;
        im->at = grown;
        im->cap = cap;
    }
    struct imatrix_entry e = { mem_copy_text(name, strlen(name)), cols, matrices, NULL, NULL };
    uint64_t n;
    e.sum = mul_u64(matrices, cols, &n) ? mem_take(n, sizeof *e.sum) : NULL;
    e.count = mem_take(matrices, sizeof *e.count);
    im->at[im->n] = e;
    if (e.name && e.sum && e.count)
        return &im->at[im->n++];
    mem_give(e.name);
    mem_give(e.sum);
    mem_give(e.count);
    return NULL;
}

void imatrix_release(struct imatrix *im)
{
    for (size_t i = 0; i < im->n; i++) {
        mem_give(im->at[i].name);
        mem_give(im->at[i].sum);
        mem_give(im->at[i].count);
    }
    mem_give(im->at);
    *im = (struct imatrix){ 0 };
}

static const struct imatrix_entry *find(const struct imatrix *im, const char *name)
{
    for (size_t i = 0; i < im->n; i++)
        if (!strcmp(im->at[i].name, name))
            return &im->at[i];
    return NULL;
}

bool imatrix_has(const struct imatrix *im, const char *name, uint64_t matrices, uint64_t cols)
{
    const struct imatrix_entry *e = find(im, name);
    return e && e->matrices == matrices && e->cols == cols;
}

void imatrix_weights(const struct imatrix *im, const char *name, float *out)
{
    const struct imatrix_entry *e = find(im, name);
    for (uint64_t k = 0; k < e->matrices; k++, out += e->cols) {
        const double *sum = e->sum + k * e->cols;
        double mean = 0;
        for (uint64_t i = 0; i < e->cols; i++)
            mean += sum[i] / (double)e->cols;
        for (uint64_t i = 0; i < e->cols; i++)
            out[i] = mean > 0 ? (float)(sum[i] / mean + 1e-3) : 1;
    }
}

/* ---- measuring ------------------------------------------------------------------------- */

/* Where a weight of the bound model adds its rows. */
struct place {
    const struct weight *weight;
    size_t entry, matrix;
};

struct measuring {
    struct imatrix *im;
    struct place *at;                     /* sorted by weight */
    size_t n, cap;
};

static int by_weight(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct place *)a)->weight;
    uintptr_t y = (uintptr_t)((const struct place *)b)->weight;
    return (x > y) - (x < y);
}

static bool put_place(struct measuring *ms, const struct weight *w, size_t entry, size_t matrix)
{
    if (ms->n == ms->cap) {
        size_t cap = ms->cap ? 2 * ms->cap : 512;
        void *grown = mem_grow(ms->at, cap, sizeof *ms->at);
        if (!grown)
            return false;
        ms->at = grown;
        ms->cap = cap;
    }
    ms->at[ms->n++] = (struct place){ w, entry, matrix };
    return true;
}

/* The weights of one row of the family's table in one layer. */
static bool put_row(struct measuring *ms, const struct model *m, const struct weight_row *row,
                    uint32_t layer)
{
    const struct weights *w = &m->weights;
    const char *base = row->scope == SCOPE_MODEL ? (const char *)w
                     : row->scope == SCOPE_MTP ? (const char *)&w->mtp[layer - m->plan.n_layers]
                     : (const char *)&w->layer[layer];
    const void *at = base + row->at;
    bool expert = row->scope == SCOPE_EXPERT;
    const struct weight *one = expert ? *(const struct weight *const *)at : at;
    size_t n = expert ? m->plan.router.n : 1;
    char name[200];
    if (row->rows == DIM_ONE || !row->gguf || !one || !one->data)
        return true;
    if (row->scope == SCOPE_MODEL)
        snprintf(name, sizeof name, "%s", row->gguf);
    else
        snprintf(name, sizeof name, "blk.%u.%s", layer, row->gguf);
    if (!imatrix_add(ms->im, name, n, one->cols))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!put_place(ms, &one[i], ms->im->n - 1, i))
            return false;
    bool tied = m->plan.tied && one == &w->embed;     /* the head's inputs are the embedding's */
    return !tied || put_place(ms, &w->head, ms->im->n - 1, 0);
}

static bool put_places(struct measuring *ms, const struct model *m)
{
    const struct plan *p = &m->plan;
    for (const struct weight_row *row = p->family->weights; row->at != SIZE_MAX; row++) {
        uint32_t n = row->scope == SCOPE_MODEL ? 1 : plan_all_layers(p);
        for (uint32_t i = 0; i < n; i++) {
            bool there = row->scope != SCOPE_MTP || plan_is_mtp(p, i);
            if (there && weight_applies(p, row, i) && !put_row(ms, m, row, i))
                return false;
        }
    }
    qsort(ms->at, ms->n, sizeof *ms->at, by_weight);
    return true;
}

static void observe(void *arg, const struct linear_job *jobs, size_t n_jobs)
{
    struct measuring *ms = arg;
    for (size_t j = 0; j < n_jobs; j++) {
        struct place key = { .weight = jobs[j].w };
        const struct place *p = bsearch(&key, ms->at, ms->n, sizeof *ms->at, by_weight);
        if (!p)
            continue;
        struct imatrix_entry *e = &ms->im->at[p->entry];
        double *sum = e->sum + p->matrix * e->cols;
        for (size_t r = 0; r < jobs[j].rows; r++)
            for (size_t i = 0; i < e->cols; i++) {
                double x = (double)jobs[j].x.f32[r * e->cols + i];
                sum[i] += x * x;
            }
        e->count[p->matrix] += (double)jobs[j].rows;
    }
}

/* Logits are asked for, so that the head sees every row; MTP runs where the model has it. */
static bool run_stretch(struct session *s, const uint32_t *ids, size_t n, float *logits,
                        struct err *err)
{
    struct feed f = { .s = s, .ids = ids, .n = n, .logits = logits };
    return session_add_many(&f, 1, err);
}

static bool run_text(struct imatrix *im, struct model *m, const struct ids *ids,
                     const volatile int *stop, float *logits, struct err *err)
{
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "importance", "tokens", ids->n);
    for (size_t at = 0; ok && at < ids->n; at += im->chunk_tokens) {
        size_t n = ids->n - at < im->chunk_tokens ? ids->n - at : im->chunk_tokens;
        struct session_options o = { .context = (uint32_t)n, .chunk = 64, .kv_type = KV_F32,
                                     .mtp = m->plan.n_mtp > 0 };
        struct session *s = session_open(m, &o, err);
        ok = s && run_stretch(s, ids->at + at, n, logits, err);
        session_close(s);
        if (ok && stop && *stop)
            ok = fail(err, ERR_CANCELLED, "interrupted; nothing was left behind");
        im->chunks++;
        progress_at(&bar, at + n);
    }
    progress_end(&bar);
    return ok;
}

/* To what the file holds, so that measuring and reading it back give the same model. */
static void round_sums(struct imatrix *im)
{
    for (size_t i = 0; i < im->n; i++)
        for (uint64_t j = 0; j < im->at[i].cols * im->at[i].matrices; j++)
            im->at[i].sum[j] = (double)(float)im->at[i].sum[j];
}

uint32_t imatrix_stretch(const struct plan *p)
{
    return p->context < IMATRIX_CONTEXT ? p->context : IMATRIX_CONTEXT;
}

bool imatrix_measure(struct imatrix *im, struct model *m, const struct ids *ids,
                     const volatile int *stop, struct err *err)
{
    struct imatrix got = { .chunk_tokens = imatrix_stretch(&m->plan) };
    struct measuring ms = { .im = &got };
    check(m->numerics == NUMERICS_F32);
    float *logits = mem_take((size_t)m->plan.vocab * got.chunk_tokens, sizeof *logits);
    bool ok = (logits && put_places(&ms, m))
              || fail(err, ERR_MEMORY, "out of memory for the importance of %u layers",
                      plan_all_layers(&m->plan));
    m->observe = observe;
    m->observe_arg = &ms;
    ok = ok && run_text(&got, m, ids, stop, logits, err);
    round_sums(&got);
    m->observe = NULL;
    mem_give(ms.at);
    mem_give(logits);
    if (ok)
        *im = got;
    else
        imatrix_release(&got);
    return ok;
}
