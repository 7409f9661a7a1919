/* A step: embed, layers, final norm, head. */
#include "model/block.h"

void embed_row(struct model *m, uint32_t token, float *x)
{
    const struct weight *e = &m->weights.embed;
    e->type->dequant(x, e->data + (size_t)token * e->row_bytes, e->cols);
    for (size_t i = 0; m->plan.embed_scale != 1 && i < e->cols; i++)
        x[i] *= m->plan.embed_scale;
}

/* rope_angles times the RoPE's magnitude. */
static void angles_row(float *cs, float *sn, uint32_t pos, const float *inv_freq, size_t half,
                       float magnitude)
{
    rope_angles(cs, sn, pos, inv_freq, half);
    for (size_t p = 0; magnitude != 1 && p < half; p++) {
        cs[p] *= magnitude;
        sn[p] *= magnitude;
    }
}

void fill_angles(const struct model *m, struct workspace *ws, size_t r, uint32_t pos)
{
    for (uint32_t i = 0; i < m->plan.n_ropes; i++) {
        size_t half = m->plan.rope[i].dims / 2;
        angles_row(ws->cs[i] + r * half, ws->sn[i] + r * half, pos, m->inv_freq[i], half,
                   plan_rope_magnitude(&m->plan.rope[i]));
    }
}

/* Logits of up to HEAD_ROWS normed rows that stand together in ws.z. */
static void head(const struct step *s, const size_t *which, size_t n)
{
    struct model *m = s->m;
    const struct weight *w[] = { &m->weights.head };
    size_t hidden = m->plan.hidden, vocab = m->plan.vocab;
    acts_prepare(m, &m->ws.z, n, hidden, w, 1);
    linear_run(m, &(struct linear_job){ m->ws.logits, vocab, w[0],
                                        acts_at(&m->ws.z, 0, hidden), n }, 1);
    for (size_t i = 0; i < n; i++)
        memcpy(s->rows[which[i]].logits, m->ws.logits + i * vocab, vocab * sizeof(float));
}

/* The final norm of the rows somebody wants, and their logits, HEAD_ROWS at a time. */
static void finish(const struct step *s, const struct weight *norm)
{
    struct model *m = s->m;
    size_t hidden = m->plan.hidden, which[HEAD_ROWS], n = 0;
    for (size_t r = 0; r < s->n; r++) {
        const struct fwd_row *row = &s->rows[r];
        if (!row->logits && !row->hidden)
            continue;
        float *z = m->ws.z.f32 + n * hidden;
        m->kern->rmsnorm_fwd(z, m->ws.x + r * hidden, weight_f32(norm), 1, hidden,
                             (float)m->plan.eps);
        if (row->hidden)
            memcpy(row->hidden, z, hidden * sizeof(float));
        if (row->logits)
            which[n++] = r;
        if (n == HEAD_ROWS) {
            head(s, which, n);
            n = 0;
        }
    }
    if (n)
        head(s, which, n);
}

void model_forward(struct model *m, const struct fwd_row *rows, size_t n)
{
    struct step s = step_of(m, rows, n);
    unsigned old = denormals_flush();
    check(n <= m->ws.rows);
    for (size_t r = 0; r < n; r++)
        embed_row(m, rows[r].token, m->ws.x + r * m->plan.hidden);
    for (size_t r = 0; r < n; r++)
        fill_angles(m, &m->ws, r, rows[r].pos);
    for (uint32_t i = 0; i < m->plan.n_layers; i++)
        block_forward(&s, i);
    finish(&s, &m->weights.norm);
    denormals_restore(old);
}

void model_forward_mtp(struct model *m, const struct fwd_row *rows, size_t n)
{
    struct step s = step_of(m, rows, n);
    const struct mtp_weights *w = &m->weights.mtp[0];
    const struct weight *fc[] = { &w->fc };
    size_t hidden = m->plan.hidden;
    float eps = (float)m->plan.eps;
    unsigned old = denormals_flush();
    check(n <= m->ws.rows && m->plan.n_mtp);
    for (size_t r = 0; r < n; r++) {
        float *u = m->ws.z.f32 + r * 2 * hidden;
        embed_row(m, rows[r].token, u);
        m->kern->rmsnorm_fwd(u, u, weight_f32(&w->embed_norm), 1, hidden, eps);
        m->kern->rmsnorm_fwd(u + hidden, rows[r].from, weight_f32(&w->hidden_norm), 1, hidden,
                             eps);
    }
    acts_prepare(m, &m->ws.z, n, 2 * hidden, fc, 1);
    linear_run(m, &(struct linear_job){ m->ws.x, hidden, fc[0],
                                        acts_at(&m->ws.z, 0, 2 * hidden), n }, 1);
    for (size_t r = 0; r < n; r++)
        fill_angles(m, &m->ws, r, rows[r].pos);
    block_forward(&s, m->plan.n_layers);
    finish(&s, &w->norm);
    denormals_restore(old);
}
