/*
 * driver: runs a fuzz target without libFuzzer.
 *
 *   fuzz_gguf [--runs N] [--seconds N] [--seed S] FILE|FOLDER...
 *
 * First every file as it is: one named ok-* must be accepted, one named lie-* refused.
 * Then N mutations of them (or as many as fit in the time).  The n-th mutation is a
 * function of the seed, n and the files, so a failure comes back.  The input that
 * crashed, hung or leaked is written to ./fuzz-failed.
 */
#include "fuzz.h"
#include "mutate.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct bytes *current;       /* the input being run, for the reports */
static char current_name[512];

static void keep_input(void)
{
    FILE *f = current ? fopen("fuzz-failed", "wb") : NULL;
    if (!f)
        return;
    fwrite(current->at, 1, current->len, f);
    fclose(f);
    fprintf(stderr, "%s failed; the input is in ./fuzz-failed\n", current_name);
}

static void on_signal(int number)
{
    fprintf(stderr, number == SIGALRM ? "no end after %d s\n" : "signal\n", FUZZ_SECONDS);
    keep_input();
    _exit(1);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_input);
    else
        signal(SIGSEGV, on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
}

/* Runs one input in a block of exactly its size; whether it was accepted. */
static bool run(struct bytes input)
{
    uint64_t before = fuzz_accepted;
    long live = mem_live;
    uint8_t *copy = malloc(input.len ? input.len : 1);
    check(copy != NULL);
    if (input.len)
        memcpy(copy, input.at, input.len);
    current = &input;
    alarm(FUZZ_SECONDS);
    LLVMFuzzerTestOneInput(copy, input.len);
    alarm(0);
    if (mem_live != live) {
        fprintf(stderr, "%ld blocks of memory were not given back\n", mem_live - live);
        keep_input();
        exit(1);
    }
    current = NULL;
    free(copy);
    return fuzz_accepted > before;
}

/* --- the files ------------------------------------------------------------------------ */

static struct buf *files;
static size_t n_files, n_good;             /* the accepted ones come first */
static int n_wrong;

static void run_file(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct buf text = { 0 };
    struct err err;
    if (!file_read(&text, path, 1 << 24, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        exit(2);
    }
    snprintf(current_name, sizeof current_name, "%s", path);
    bool accepted = run((struct bytes){ (const uint8_t *)text.at, text.len });
    if ((!strncmp(name, "ok-", 3) && !accepted) || (!strncmp(name, "lie-", 4) && accepted)) {
        fprintf(stderr, "%s was %s\n", path, accepted ? "accepted" : "refused");
        n_wrong++;
    }
    files = mem_grow(files, n_files + 1, sizeof *files);
    check(files != NULL);
    files[n_files++] = text;
    if (accepted) {
        files[n_files - 1] = files[n_good];
        files[n_good++] = text;
    }
}

static int not_hidden(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static void run_path(const char *path)
{
    struct dirent **entry;
    char inside[4096];
    if (!file_is_dir(path)) {
        run_file(path);
        return;
    }
    int n = scandir(path, &entry, not_hidden, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(inside, sizeof inside, "%s/%s", path, entry[i]->d_name);
        run_file(inside);
        free(entry[i]);
    }
    if (n >= 0)
        free(entry);
}

/* --- the mutations -------------------------------------------------------------------- */

static uint64_t run_mutations(uint64_t seed, uint64_t runs, uint64_t seconds)
{
    uint64_t done = 0, end = now_ns() + seconds * 1000000000u;
    struct buf input = { 0 };
    while (n_files && (seconds ? now_ns() < end : done < runs)) {
        struct rng rng = { .seed = seed, .stream = done };
        mutate(&input, files, n_files, n_good, &rng);
        snprintf(current_name, sizeof current_name, "mutation %llu of seed %llu",
                 (unsigned long long)done++, (unsigned long long)seed);
        run((struct bytes){ (const uint8_t *)input.at, input.len });
    }
    buf_release(&input);
    return done;
}

int main(int argc, char **argv)
{
    uint64_t runs = 0, seconds = 0, seed = 1;
    watch();
    for (int i = 1; i < argc; i++) {
        uint64_t *number = !strcmp(argv[i], "--runs") ? &runs
                         : !strcmp(argv[i], "--seconds") ? &seconds
                         : !strcmp(argv[i], "--seed") ? &seed : NULL;
        if (number && i + 1 < argc)
            *number = strtoull(argv[++i], NULL, 10);
        else
            run_path(argv[i]);
    }
    uint64_t accepted = fuzz_accepted;
    uint64_t done = run_mutations(seed, runs, seconds);
    printf("%s: %zu files (%llu accepted), %llu mutations (%llu accepted)\n", argv[0], n_files,
           (unsigned long long)accepted, (unsigned long long)done,
           (unsigned long long)(fuzz_accepted - accepted));
    for (size_t i = 0; i < n_files; i++)
        buf_release(&files[i]);
    mem_give(files);
    return n_wrong > 0 || n_files == 0;
}
