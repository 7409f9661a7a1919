#include "run/sampler.h"

#include <inttypes.h>
#include <math.h>

void sampler_options_init(struct sampler_options *o)
{
    memset(o, 0, sizeof *o);
    o->top_p = 1;
    o->repeat = 1;
    o->repeat_last = SAMPLER_REPEAT_LAST;
}

static bool in_range(const char *name, double v, double low, double high, struct err *err)
{
    return (v >= low && v <= high)
        || fail(err, ERR_USAGE, "%s is %g, but must be from %g to %g", name, v, low, high);
}

static bool check_bias(const struct sampler_options *o, uint32_t vocab, struct err *err)
{
    if (o->n_bias > SAMPLER_MAX_BIAS)
        return fail(err, ERR_LIMIT, "%" PRIu32 " logit biases are given, the most is %d",
                    o->n_bias, SAMPLER_MAX_BIAS);
    for (uint32_t i = 0; i < o->n_bias; i++) {
        const struct sampler_bias *b = &o->bias[i];
        if (b->id >= vocab)
            return fail(err, ERR_USAGE, "logit bias is given for token %" PRIu32
                        ", but the model's tokens are 0 to %" PRIu32, b->id, vocab - 1);
        if (isnan(b->bias) || b->bias == INFINITY)
            return fail(err, ERR_USAGE, "the logit bias of token %" PRIu32 " is %g, but must be "
                        "a number or -inf", b->id, (double)b->bias);
    }
    return true;
}

bool sampler_init(struct sampler *s, const struct sampler_options *o, uint32_t vocab,
                  struct err *err)
{
    if (!in_range("temperature", o->temperature, 0, 1e6, err)
        || !in_range("top_p", o->top_p, 0, 1, err) || !in_range("min_p", o->min_p, 0, 1, err)
        || !in_range("the presence penalty", o->presence, -1e6, 1e6, err)
        || !in_range("the frequency penalty", o->frequency, -1e6, 1e6, err)
        || !in_range("the repeat penalty", o->repeat, 1e-6, 1e6, err)
        || !check_bias(o, vocab, err))
        return false;
    s->o = *o;
    s->rng = (struct rng){ .seed = o->seed };
    return true;
}

bool sampler_work_init(struct sampler_work *w, uint32_t vocab, struct err *err)
{
    *w = (struct sampler_work){ mem_take(vocab, sizeof *w->at),
                                mem_take(vocab, sizeof *w->count), vocab };
    if (w->at && w->count)
        return true;
    sampler_work_release(w);
    return fail(err, ERR_MEMORY, "out of memory for sampling from %" PRIu32 " tokens", vocab);
}

void sampler_work_release(struct sampler_work *w)
{
    mem_give(w->at);
    mem_give(w->count);
    *w = (struct sampler_work){ 0 };
}

static bool check_logits(const float *logits, uint32_t vocab, struct err *err)
{
    for (uint32_t i = 0; i < vocab; i++)
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return fail(err, ERR_INTERNAL, "the model's logit of token %" PRIu32 " is %f; the "
                        "weights or the computation are broken (check the model file)",
                        i, (double)logits[i]);
    return true;
}

static double logprob_of(const float *logits, uint32_t vocab, uint32_t id)
{
    double greatest = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        greatest = logits[i] > greatest ? logits[i] : greatest;
    for (uint32_t i = 0; i < vocab; i++)
        sum += sampler_exp(logits[i] - greatest);
    return logits[id] - greatest - sampler_log(sum);
}

bool sampler_logprob(const float *logits, uint32_t vocab, uint32_t id, double *logprob,
                     struct err *err)
{
    if (id >= vocab)
        return fail(err, ERR_USAGE, "token %" PRIu32 " has no logprob: the model's tokens are 0 "
                    "to %" PRIu32, id, vocab - 1);
    if (!check_logits(logits, vocab, err))
        return false;
    *logprob = logits[id] == -INFINITY ? -INFINITY : logprob_of(logits, vocab, id);
    return true;
}

/* Calls for each different token of the history, with its count, and leaves count zero. */
typedef void penalty_fn(const struct sampler_options *o, double *logit, uint32_t count);

static void penalise(const struct sampler_options *o, struct sampler_work *w,
                     const uint32_t *history, size_t n, penalty_fn *fn)
{
    for (size_t i = 0; i < n; i++)
        if (history[i] < w->vocab)
            w->count[history[i]]++;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = history[i];
        if (id >= w->vocab || !w->count[id])
            continue;
        fn(o, &w->at[id].value, w->count[id]);
        w->count[id] = 0;
    }
}

static void penalise_repeat(const struct sampler_options *o, double *logit, uint32_t count)
{
    (void)count;
    *logit = *logit > 0 ? *logit / o->repeat : *logit * o->repeat;
}

static void penalise_counts(const struct sampler_options *o, double *logit, uint32_t count)
{
    *logit -= o->frequency * count + o->presence;
}

/* Fills w->at, in the order of ids, with logits after bias and penalties. */
static void adjust(const struct sampler *s, struct sampler_work *w, const float *logits,
                   const uint32_t *history, size_t n)
{
    const struct sampler_options *o = &s->o;
    for (uint32_t i = 0; i < w->vocab; i++)
        w->at[i] = (struct sampler_candidate){ logits[i], i };
    for (uint32_t i = 0; i < o->n_bias; i++)
        w->at[o->bias[i].id].value += o->bias[i].bias;
    if (o->repeat != 1) {
        size_t last = n < o->repeat_last ? n : o->repeat_last;
        penalise(o, w, history + (n - last), last, penalise_repeat);
    }
    if (o->presence != 0 || o->frequency != 0)
        penalise(o, w, history, n, penalise_counts);
}

static bool before(struct sampler_candidate a, struct sampler_candidate b)
{
    return a.value > b.value || (a.value == b.value && a.id < b.id);
}

static void sift_down(struct sampler_candidate *heap, size_t n, size_t at)
{
    struct sampler_candidate moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && before(heap[child + 1], heap[child]);
        if (!before(heap[child], moving))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

/* Moves the greatest of heap[0, n) to heap[n - 1]; the rest stays a heap. */
static struct sampler_candidate pop(struct sampler_candidate *heap, size_t n)
{
    struct sampler_candidate top = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    if (n > 1)
        sift_down(heap, n - 1, 0);
    return top;
}

/*
 * top_k and top_p.  w->at holds logits with the greatest 0: they are ranked by logit, as
 * two weights may round to the same number.  The kept ones end up at the end of w->at, the
 * greatest last; returns how many they are.
 */
static size_t keep_greatest(const struct sampler_options *o, struct sampler_work *w)
{
    size_t n = w->vocab, most = o->top_k && o->top_k < n ? o->top_k : n, popped = 0;
    double total = 0, sum = 0;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(w->at, n, i);
    if (most < n) {
        for (; popped < most; popped++)
            total += sampler_exp(pop(w->at, n - popped).value);
    } else {
        for (size_t i = 0; i < n; i++)
            total += sampler_exp(w->at[i].value);
    }
    if (o->top_p >= 1)
        return most;
    for (size_t i = 0; i < most; i++) {
        sum += sampler_exp(i < popped ? w->at[n - 1 - i].value : pop(w->at, n - i).value);
        if (sum >= o->top_p * total)
            return i + 1;
    }
    return most;
}

/* Draws one of c[0, n) by weight exp(value), leaving out those below min_p. */
static uint32_t draw(struct sampler *s, struct sampler_candidate *c, size_t n)
{
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double weight = sampler_exp(c[i].value);
        c[i].value = weight >= s->o.min_p ? weight : 0;
        total += c[i].value;
    }
    double target = rng_unit(&s->rng) * total;
    size_t last = 0;
    for (size_t i = 0; i < n && sum <= target; i++) {
        sum += c[i].value;
        last = c[i].value > 0 ? i : last;
    }
    return c[last].id;
}

static uint32_t choose(struct sampler *s, struct sampler_work *w,
                       struct sampler_candidate greatest)
{
    const struct sampler_options *o = &s->o;
    if (o->temperature == 0)
        return greatest.id;
    size_t n = w->vocab;
    for (size_t i = 0; i < n; i++)
        w->at[i].value = (w->at[i].value - greatest.value) / o->temperature;
    if (o->top_k || o->top_p < 1)
        n = keep_greatest(o, w);
    return draw(s, w->at + (w->vocab - n), n);
}

bool sampler_choose(struct sampler *s, struct sampler_work *w, const float *logits,
                    const uint32_t *history, size_t n, uint32_t *id, double *logprob,
                    struct err *err)
{
    if (!check_logits(logits, w->vocab, err))
        return false;
    adjust(s, w, logits, history, n);
    struct sampler_candidate greatest = { -INFINITY, 0 };
    for (uint32_t i = 0; i < w->vocab; i++)
        if (w->at[i].value > greatest.value)
            greatest = w->at[i];
    if (greatest.value == -INFINITY)
        return fail(err, ERR_USAGE, "there is no token to choose: every logit is -inf after the "
                    "logit bias; ban fewer tokens");
    *id = choose(s, w, greatest);
    if (logprob)
        *logprob = logprob_of(logits, w->vocab, *id);
    return true;
}
