/*
 * kexa_speed: prompt and decode speed of kexa, counted exactly as llama_probe counts them.
 *
 *   kexa_speed MODEL [threads=1] [prompt=512] [decode=128] [rounds=3] [clock=wall|cpu]
 *
 * One line per round.  compare_speed.py builds it and takes turns with llama_probe.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kexa.h"

static clockid_t used_clock = CLOCK_MONOTONIC;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(used_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const struct kexa_error *e)
{
    fprintf(stderr, "kexa_speed: %s\n", e->message);
    exit(1);
}

/* Tokens per second for n tokens added `step` at a time to an empty session. */
static double measure(struct kexa_session *s, const uint32_t *ids, size_t n, size_t step)
{
    struct kexa_error e;
    if (!kexa_session_truncate(s, 0, &e))
        die(&e);
    double start = seconds();
    for (size_t at = 0; at < n; at += step)
        if (!kexa_session_add(s, ids + at, n - at < step ? n - at : step, &e))
            die(&e);
    return (double)n / (seconds() - start);
}

int main(int argc, char **argv)
{
    int threads = 1, prompt = 512, decode = 128, rounds = 3;
    struct kexa_error e;
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "clock=cpu") == 0)
            used_clock = CLOCK_PROCESS_CPUTIME_ID;
        else if (sscanf(argv[i], "threads=%d", &threads) != 1
            && sscanf(argv[i], "prompt=%d", &prompt) != 1
            && sscanf(argv[i], "decode=%d", &decode) != 1)
            (void)sscanf(argv[i], "rounds=%d", &rounds);
    if (argc < 2 || prompt < 1 || decode < 1 || prompt > 8192 || decode > 8192) {
        fprintf(stderr, "usage: kexa_speed MODEL [threads=] [prompt=] [decode=] [rounds=] "
                        "[clock=]\n");
        return 2;
    }
    struct kexa_model_options options;
    kexa_model_options_init(&options);
    options.threads = threads;
    struct kexa_model *model = kexa_model_open(argv[1], &options, &e);
    struct kexa_session *session = model ? kexa_session_open(model, NULL, &e) : NULL;
    if (!session)
        die(&e);
    struct kexa_model_info info;
    kexa_model_info(model, &info);
    static uint32_t ids[8192];
    for (uint32_t i = 0; i < 8192; i++)
        ids[i] = (i * 7919 + 11) % info.vocab;
    measure(session, ids, 16, 1);
    for (int round = 0; round < rounds; round++) {
        double fed = measure(session, ids, (size_t)prompt, (size_t)prompt);
        double decoded = measure(session, ids, (size_t)decode, 1);
        printf("threads %d prompt %.1f tok/s decode %.1f tok/s\n", threads, fed, decoded);
        fflush(stdout);
    }
    kexa_session_close(session);
    kexa_model_close(model);
    return 0;
}
