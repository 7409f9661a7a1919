#include "train/train_memory.h"
#include "train/recipe_keys.h"
#include "train/train.h"

/* A place of struct batch: token, both targets and pos, 32 bits each. */
enum { BYTES_OF_PLACE = 4 * 4 };

static uint64_t session_bytes(const struct train_recipe *r, const struct plan *p, int n_threads)
{
    struct kv_bytes kv;
    uint32_t chunk = r->run.sample_tokens < 64 ? r->run.sample_tokens : 64;
    if (!r->run.sample_every)
        return 0;
    kv_count(p, KV_F32, r->data.context + r->run.sample_tokens, chunk, &kv);
    return kv.global + kv.rings + workspace_bytes(p, chunk, n_threads) + 20ull * p->vocab;
}

/* Muon's, by the shapes of the hidden matrices. */
static uint64_t muon_bytes(const struct plan *p, int n_threads)
{
    size_t hidden = p->hidden, head = p->head_dim;
    const struct muon_job shapes[] = {
        { .rows = p->n_heads * head, .cols = hidden },
        { .rows = p->n_kv_heads * head, .cols = hidden },
        { .rows = hidden, .cols = p->n_heads * head }, { .rows = p->ffn, .cols = hidden },
        { .rows = hidden, .cols = p->ffn }, { .rows = p->expert_ffn, .cols = hidden },
        { .rows = hidden, .cols = p->expert_ffn },
        { .rows = (size_t)p->n_shared * p->expert_ffn + 1, .cols = hidden },
        { .rows = hidden, .cols = 2 * hidden },
    };
    return muon_scratch_bytes(shapes, sizeof shapes / sizeof *shapes, n_threads);
}

static uint64_t add_all(const uint64_t *v, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (!add_u64(sum, v[i], &sum))
            return UINT64_MAX;
    return sum;
}

void train_memory_plan(struct train_memory *out, const struct train_recipe *r,
                       const struct plan *p, int n_threads)
{
    struct train_memory t = { .micro_rows = r->run.micro_rows };
    bool muon = r->optimizer.kind == OPTIMIZER_MUON;
    t.weights = params_bytes(p, r->run.dtype == TRAIN_BF16, muon);
    t.scratch = muon ? muon_bytes(p, n_threads) : 0;
    bool evaluates = r->data.heldout_rows && r->run.eval_every;
    struct tape_shape tape = { r->run.micro_rows, r->data.context, true,
                               r->run.dtype == TRAIN_BF16, n_threads };
    struct tape_shape eval_tape = tape;
    eval_tape.backward = false;
    t.passes = add_all((const uint64_t[]){
        tape_bytes(p, &tape), evaluates ? tape_bytes(p, &eval_tape) : 0 }, 2);
    t.rows = BYTES_OF_PLACE * (r->run.batch_tokens + (evaluates ? (uint64_t)r->run.micro_rows
                                                                   * r->data.context : 0));
    t.samples = session_bytes(r, p, n_threads);
    t.total = add_all((const uint64_t[]){ t.weights, t.scratch, t.passes, t.rows,
                                              t.samples }, 5);
    t.available = sys_memory_available();
    *out = t;
}

void train_memory_line(const struct train_memory *m, struct buf *out)
{
    put_size(out, m->weights);
    buf_text(out, " weights, gradients and moments + ");
    put_size(out, m->passes);
    buf_printf(out, " passes of %u row%s + ", m->micro_rows, m->micro_rows == 1 ? "" : "s");
    put_size(out, m->scratch + m->rows + m->samples);
    buf_text(out, " besides = ");
    put_size(out, m->total);
    if (m->available != UINT64_MAX) {
        buf_text(out, " of ");
        put_size(out, m->available);
        buf_text(out, " available");
    }
}

static bool refuse(const struct train_memory *m, const struct train_recipe *r, struct err *err)
{
    struct buf line = { 0 };
    train_memory_line(m, &line);
    fail(err, ERR_MEMORY, "%s: the run does not fit in memory: %s.  Choose a smaller model.size%s",
         r->file, line.at && !line.failed ? line.at : "too much",
         m->micro_rows > 1 ? " or fewer run.micro_rows" : " or data.context");
    buf_release(&line);
    return false;
}

bool train_memory_fit(struct train_memory *out, struct train_recipe *r, const struct plan *p,
                      int n_threads, struct err *err)
{
    size_t key = recipe_key_at(offsetof(struct train_recipe, run.micro_rows));
    train_memory_plan(out, r, p, n_threads);
    while (out->total > out->available && r->run.micro_rows > 1 && !recipe_given(r, key)) {
        r->run.micro_rows /= 2;
        train_memory_plan(out, r, p, n_threads);
    }
    return out->total <= out->available || refuse(out, r, err);
}
