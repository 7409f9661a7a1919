/* surprise: the probability a model gives each token of a text.  Usage: surprise MODEL TEXT */
#include <kexa.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static double log_probability(const float *logits, uint32_t n, uint32_t id)
{
    double top = logits[0], sum = 0;
    for (uint32_t i = 1; i < n; i++)
        top = logits[i] > top ? logits[i] : top;
    for (uint32_t i = 0; i < n; i++)
        sum += exp(logits[i] - top);
    return logits[id] - top - log(sum);
}

int main(int argc, char **argv)
{
    struct kexa_error e = { 0 };
    struct kexa_model_info info;
    uint32_t ids[512];
    size_t n = 0, len;
    struct kexa_model *m = argc == 3 ? kexa_model_open(argv[1], NULL, &e) : NULL;
    struct kexa_session *s = m ? kexa_session_open(m, NULL, &e) : NULL;
    bool ok = s && kexa_tokenize(m, argv[2], strlen(argv[2]), 0, ids, 512, &n, &e);
    if (ok)
        kexa_model_info(m, &info);
    for (size_t i = 0; ok && i < n && i < 512; i++) {
        const float *logits = kexa_session_logits(s);
        const char *bytes = kexa_model_token(m, ids[i], &len);
        double p = logits ? exp(log_probability(logits, info.vocab, ids[i])) : NAN;
        printf("%9.6f  %.*s\n", p, (int)len, bytes);
        ok = kexa_session_add(s, &ids[i], 1, &e);
    }
    kexa_session_close(s);
    kexa_model_close(m);
    if (!ok)
        fprintf(stderr, "surprise: %s\n", argc == 3 ? e.message : "needs MODEL TEXT");
    return ok ? 0 : 1;
}
