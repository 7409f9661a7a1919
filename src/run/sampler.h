/*
 * sampler: logits to a token.
 *
 * In this order, each step leaving out what it drops for the steps after it:
 *
 *   bias         logit += bias
 *   repeat       tokens among the last repeat_last of the history: a logit above 0 is
 *                divided by `repeat`, any other is multiplied by it (Keskar et al. 2019)
 *   frequency,   logit -= frequency * count + presence, count over the whole history
 *   presence     (the meaning of OpenAI's API)
 *   temperature  logit /= temperature; 0 ends here with the greatest logit
 *   top_k        the k greatest
 *   top_p        of those the fewest, greatest first, whose probabilities reach top_p
 *   min_p        of those the ones with at least min_p times the greatest probability
 *
 * Equal logits are ranked by id, the lower first, so greedy and every cut are defined.
 *
 * The state is a plain struct: copying it forks a sampler, saving its bytes saves it.  The
 * history is not in it but is the caller's (the tokens a session holds), so rewinding a
 * session rewinds its penalties.  One random number is drawn per token, none when greedy.
 *
 * All arithmetic is in double with an exp and log made of +, -, *, / only: the same seed
 * and logits give the same token and logprob on any machine.  Cost: one pass over the
 * vocabulary, plus O(m log V) for the m greatest tokens top_k and top_p look at.
 */
#ifndef KEXA_RUN_SAMPLER_H
#define KEXA_RUN_SAMPLER_H

#include "base/base.h"

enum { SAMPLER_MAX_BIAS = 300, SAMPLER_REPEAT_LAST = 64 };

struct sampler_bias {
    uint32_t id;
    float bias;                           /* -INFINITY bans the token */
};

struct sampler_options {
    double temperature;                   /* >= 0 */
    uint32_t top_k;                       /* 0: off */
    double top_p;                         /* 0..1; 1: off; 0: the greatest alone */
    double min_p;                         /* 0..1; 0: off */
    double presence, frequency;           /* 0: off */
    double repeat;                        /* > 0; 1: off */
    uint32_t repeat_last;                 /* tokens */
    uint64_t seed;
    uint32_t n_bias;
    struct sampler_bias bias[SAMPLER_MAX_BIAS];
};

struct sampler {
    struct sampler_options o;
    struct rng rng;
};

/* Room to work in, for any number of samplers one after another; not part of the state. */
struct sampler_candidate {
    double value;                         /* logit, later weight */
    uint32_t id;
};

struct sampler_work {
    struct sampler_candidate *at;         /* [vocab] */
    uint32_t *count;                      /* [vocab], zero between calls */
    uint32_t vocab;
};

void sampler_options_init(struct sampler_options *o);   /* greedy, everything off */
/* Refuses values outside their range with a sentence naming the option. */
bool sampler_init(struct sampler *s, const struct sampler_options *o, uint32_t vocab,
                  struct err *err);
bool sampler_work_init(struct sampler_work *w, uint32_t vocab, struct err *err);
void sampler_work_release(struct sampler_work *w);

/*
 * logits: f32 [w->vocab], unchanged.  history: n token ids, oldest first; ids outside the
 * vocabulary are ignored.  *logprob (may be NULL): natural log-probability of the token
 * under the softmax of the raw logits, before bias, penalties and temperature.
 * NaN or +infinity among the logits, or nothing left to choose from, is an error;
 * -infinity is a token that is never chosen.
 */
bool sampler_choose(struct sampler *s, struct sampler_work *w, const float *logits,
                    const uint32_t *history, size_t n, uint32_t *id, double *logprob,
                    struct err *err);
/* The logprob alone, of any token. */
bool sampler_logprob(const float *logits, uint32_t vocab, uint32_t id, double *logprob,
                     struct err *err);

/* exp for x <= 0 and log for x > 0 (both finite), the same bits everywhere; within 2 ulp. */
double sampler_exp(double x);
double sampler_log(double x);

#endif
