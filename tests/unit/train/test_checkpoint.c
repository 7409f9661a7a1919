/* Checkpoints: what is saved comes back, and nothing that can happen to a file or to the
 * process that writes it gives back anything else. */
#include "../../harness.h"
#include "train/train.h"
#include "../format/scratch.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 5, LARGE = 1 << 19 };

/* State that says of which step it is. */
struct state {
    uint8_t skewed[SMALL + 1];            /* used from its second byte */
    float weights[33];
    uint64_t step;
    struct checkpoint_part part[5];
};

static void state_init(struct state *s, uint64_t step)
{
    memset(s, 0, sizeof *s);
    s->step = step;
    for (int i = 0; i < 33; i++)
        s->weights[i] = (float)step + 0.5f * (float)i;
    memset(s->skewed + 1, (int)(step * 7 + 1), SMALL);
    s->part[0] = (struct checkpoint_part){ "model.embed.weight", s->weights, sizeof s->weights };
    s->part[1] = (struct checkpoint_part){ "nothing", NULL, 0 };
    s->part[2] = (struct checkpoint_part){ "loader", s->skewed + 1, SMALL };
    s->part[3] = (struct checkpoint_part){ "step", &s->step, sizeof s->step };
    s->part[4] = (struct checkpoint_part){ "\xea\xb0\x80 padded to 64", s->weights, 64 };
}

static bool same(const struct state *a, const struct state *b)
{
    return a->step == b->step && !memcmp(a->skewed, b->skewed, sizeof a->skewed)
           && !memcmp(a->weights, b->weights, sizeof a->weights);
}

static bool save(const char *out, uint64_t step, int keep, struct err *err)
{
    struct state s;
    json_t *head = json_pack("{s:s, s:I, s:f}", "recipe", "lr = 3e-4\n", "tokens",
                             (json_int_t)(step * 4096), "tenth", 0.1);
    state_init(&s, step);
    bool ok = checkpoint_save(out, step, head, s.part, 5, keep, UINT64_MAX, err);
    json_decref(head);
    return ok;
}

static bool load(const char *path, struct state *s, struct err *err)
{
    state_init(s, 0);
    return checkpoint_load(path, NULL, s->part, 5, err);
}

static const char *file_of(const char *out, uint64_t step)
{
    static char path[4][600];
    static unsigned at;
    char *p = path[at++ & 3];
    snprintf(p, sizeof path[0], "%s/checkpoints/step-%08llu.kxc", out, (unsigned long long)step);
    return p;
}

/* 0 for a folder that is not there yet: a child may be killed before it made it. */
static int files_in(const char *out)
{
    char path[600];
    int n = 0;
    snprintf(path, sizeof path, "%s/checkpoints", out);
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (const struct dirent *e; (e = readdir(dir)); )
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static bool newest_is(const char *out, uint64_t step, int n_skipped)
{
    char path[600];
    struct buf skipped = { 0 };
    struct err err = { 0 };
    int lines = 0;
    bool ok = checkpoint_newest(out, path, sizeof path, &skipped, &err)
              && !strcmp(path, file_of(out, step));
    for (size_t i = 0; i < skipped.len; i++)
        lines += skipped.at[i] == '\n';
    buf_release(&skipped);
    return ok && lines == n_skipped;
}

static void test_round_trip(void)
{
    const char *out = scratch_path("trip");
    struct state s, want;
    struct err err = { 0 };
    json_t *head = NULL;
    uint64_t step = 0;
    EXPECTF(save(out, 7, 0, &err), "%s", err.msg);
    state_init(&want, 7);
    state_init(&s, 0);
    EXPECTF(checkpoint_load(file_of(out, 7), &head, s.part, 5, &err), "%s", err.msg);
    EXPECT(same(&s, &want));
    EXPECT(!strcmp(json_string_value(json_object_get(head, "recipe")), "lr = 3e-4\n"));
    EXPECT(json_integer_value(json_object_get(head, "tokens")) == 7 * 4096);
    EXPECT(json_real_value(json_object_get(head, "tenth")) == 0.1);
    json_decref(head);
    EXPECT(checkpoint_read_head(file_of(out, 7), &step, &head, &err) && step == 7);
    json_decref(head);
    EXPECT(newest_is(out, 7, 0));
}

static void test_no_parts(void)
{
    const char *out = scratch_path("bare");
    struct err err = { 0 };
    json_t *head = json_object(), *back = NULL;
    EXPECT(checkpoint_save(out, UINT64_MAX - 1, head, NULL, 0, 1, UINT64_MAX, &err));
    EXPECT(checkpoint_load(file_of(out, UINT64_MAX - 1), &back, NULL, 0, &err));
    EXPECT(newest_is(out, UINT64_MAX - 1, 0));
    json_decref(head);
    json_decref(back);
}

static bool refuses(const char *path)
{
    struct state s, untouched;
    struct err err = { 0 };
    state_init(&untouched, 0);
    return !load(path, &s, &err) && same(&s, &untouched) && err.code != ERR_NONE
           && strstr(err.msg, path);
}

static struct buf read_all(const char *path)
{
    struct buf b = { 0 };
    struct err err;
    check(file_read(&b, path, 1 << 20, &err));
    return b;
}

static void test_every_flip(void)
{
    const char *out = scratch_path("flip");
    check(save(out, 1, 0, NULL));
    struct buf file = read_all(file_of(out, 1));
    for (size_t i = 0; i < file.len; i++) {
        file.at[i] ^= (char)(1 << (i % 8));
        EXPECTF(refuses(scratch_write("flipped.kxc", file.at, file.len)), "byte %zu", i);
        file.at[i] ^= (char)(1 << (i % 8));
    }
    struct state s;
    EXPECT(load(scratch_write("flipped.kxc", file.at, file.len), &s, NULL));
    buf_release(&file);
}

static void test_every_length(void)
{
    const char *out = scratch_path("cut");
    check(save(out, 1, 0, NULL));
    struct buf file = read_all(file_of(out, 1));
    for (size_t n = 0; n < file.len; n++)
        EXPECTF(refuses(scratch_write("cut.kxc", file.at, n)), "%zu bytes", n);
    buf_put(&file, "\0", 1);
    EXPECT(refuses(scratch_write("cut.kxc", file.at, file.len)));
    buf_release(&file);
}

static void test_other_parts(void)
{
    const char *out = scratch_path("parts");
    struct err err = { 0 };
    struct state s;
    check(save(out, 3, 0, NULL));
    const char *path = file_of(out, 3);
    state_init(&s, 0);
    s.part[2].name = "loader2";
    EXPECT(!checkpoint_load(path, NULL, s.part, 5, &err)
           && SAYS(&err, ERR_FORMAT, path, "loader", "loader2", "another model"));
    state_init(&s, 0);
    s.part[0].n_bytes -= 4;
    EXPECT(!checkpoint_load(path, NULL, s.part, 5, &err)
           && SAYS(&err, ERR_FORMAT, path, "embed", "132", "128"));
    state_init(&s, 0);
    EXPECT(!checkpoint_load(path, NULL, s.part, 4, &err)
           && SAYS(&err, ERR_FORMAT, path, "5 sections", "has 4"));
    EXPECT(s.step == 0 && s.weights[1] == 0.5f);
}

static void test_newest_skips(void)
{
    const char *out = scratch_path("skip");
    char path[600];
    struct err err = { 0 };
    EXPECT(!checkpoint_newest(out, path, sizeof path, NULL, &err) && err.code == ERR_NONE);
    for (uint64_t step = 1; step <= 3; step++)
        check(save(out, step * 10, 0, NULL));
    EXPECT(newest_is(out, 30, 0));
    EXPECT(truncate(file_of(out, 30), 200) == 0);
    EXPECT(newest_is(out, 20, 1));
    EXPECT(rename(file_of(out, 20), file_of(out, 25)) == 0);   /* lies about its step */
    EXPECT(newest_is(out, 10, 2));
    EXPECT(truncate(file_of(out, 10), 0) == 0);
    EXPECT(!checkpoint_newest(out, path, sizeof path, NULL, &err)
           && SAYS(&err, ERR_FORMAT, "none of 3"));
    EXPECT(mkdir(file_of(out, 40), 0777) == 0);               /* cannot be looked at: no guess */
    EXPECT(!checkpoint_newest(out, path, sizeof path, NULL, &err)
           && SAYS(&err, ERR_IO, "step-00000040.kxc"));
}

static void test_keep(void)
{
    const char *out = scratch_path("keep");
    for (uint64_t step = 1; step <= 5; step++)
        check(save(out, step, 0, NULL));
    EXPECT(files_in(out) == 5);
    check(save(out, 9, 2, NULL));
    EXPECT(files_in(out) == 2 && file_exists(file_of(out, 5)) && newest_is(out, 9, 0));
    EXPECT(truncate(file_of(out, 9), 99) == 0);
    check(save(out, 6, 2, NULL));         /* the run went on from 5: 9 is of no use */
    EXPECT(files_in(out) == 2 && newest_is(out, 6, 0));
    check(save(out, 8, 1, NULL));
    check(save(out, 7, 1, NULL));         /* 8 is sound: somebody's, it stays */
    EXPECT(files_in(out) == 2 && newest_is(out, 8, 0));
    check(save(out, 7, 1, NULL));         /* the same step again */
    EXPECT(files_in(out) == 2);
}

/* One step's file stays, and does not count among those kept. */
static void test_hold(void)
{
    const char *out = scratch_path("hold");
    json_t *head = json_object();
    for (uint64_t step = 1; step <= 6; step++)
        check(checkpoint_save(out, step, head, NULL, 0, 2, 3, NULL));
    json_decref(head);
    EXPECT(files_in(out) == 3 && file_exists(file_of(out, 3)) && file_exists(file_of(out, 5))
           && newest_is(out, 6, 0));
}

static void leave(const char *out, const char *name, long pid)
{
    char path[700];
    snprintf(path, sizeof path, "%s/checkpoints/%s.part-%ld-0", out, name, pid);
    FILE *f = fopen(path, "w");
    check(f && fclose(f) == 0);
}

static long dead_pid(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    return (long)child;
}

static void test_leftovers(void)
{
    const char *out = scratch_path("left");
    check(save(out, 1, 0, NULL));
    leave(out, "step-00000002.kxc", dead_pid());
    leave(out, "step-00000003.kxc", (long)getpid());
    leave(out, "step-00000004.kxc", (long)getppid());          /* alive: it may be writing */
    leave(out, "step-00000005.kxc.bak", 1);                    /* alive as well */
    EXPECT(files_in(out) == 5);
    check(save(out, 5, 0, NULL));
    EXPECT(files_in(out) == 4 && newest_is(out, 5, 0));
    for (int i = 0; i < 4; i++) {         /* folders; names that only look alike stay */
        static const char *const name[] = { "final.part-%ld", "final.part-%ld.old",
                                            "final.part-%ldx", "final.part-x%ld" };
        char path[700], end[64];
        snprintf(end, sizeof end, name[i], dead_pid());
        snprintf(path, sizeof path, "%s/%s", out, end);
        check(mkdir(path, 0777) == 0);
        snprintf(path + strlen(path), sizeof path - strlen(path), "/weights.part-1-0");
        FILE *f = fopen(path, "w");
        check(f && fclose(f) == 0);
        *strrchr(path, '/') = 0;
        file_out_clean(out);
        EXPECTF(file_is_dir(path) == (i > 0), "%s", path);
    }
}

/* In a child with a limit on file sizes, at every 64 bytes of the file. */
static void test_disk_full(void)
{
    const char *out = scratch_path("full");
    struct stat st;
    check(save(out, 1, 0, NULL) && stat(file_of(out, 1), &st) == 0);
    for (long limit = 0; limit < (long)st.st_size; limit += 64) {
        pid_t child = fork();
        if (child == 0) {
            struct err err = { 0 };
            struct rlimit r = { (rlim_t)limit, (rlim_t)limit };
            signal(SIGXFSZ, SIG_IGN);
            check(setrlimit(RLIMIT_FSIZE, &r) == 0);
            bool ok = save(out, 2, 1, &err);
            _exit(ok || !SAYS(&err, ERR_IO, "step-00000002.kxc", "File too large"));
        }
        int status = -1;
        waitpid(child, &status, 0);
        EXPECTF(status == 0 && files_in(out) == 1 && newest_is(out, 1, 0), "limit %ld", limit);
    }
}

static void save_forever(const char *out, uint64_t step)
{
    float *large = mem_take(LARGE, sizeof *large);
    check(large != NULL);
    for (;; step++) {
        struct checkpoint_part part = { "large", large, LARGE * sizeof *large };
        json_t *head = json_object();
        for (size_t i = 0; i < LARGE; i++)
            large[i] = (float)(step + i);
        if (!checkpoint_save(out, step, head, &part, 1, 2, UINT64_MAX, NULL))
            _exit(1);
        json_decref(head);
    }
}

static bool large_is_sound(const char *path, uint64_t *step)
{
    float *large = mem_take(LARGE, sizeof *large);
    struct checkpoint_part part = { "large", large, LARGE * sizeof *large };
    json_t *head = NULL;
    bool ok = large && checkpoint_read_head(path, step, &head, NULL)
              && checkpoint_load(path, NULL, &part, 1, NULL);
    for (size_t i = 0; ok && i < LARGE; i++)
        ok = large[i] == (float)(*step + i);
    json_decref(head);
    mem_give(large);
    return ok;
}

static void test_kill(void)
{
    const char *out = scratch_path("kill");
    struct rng rng = { .seed = 5 };
    uint64_t step = 0, left_over = 0;
    /* Longer waits in the end, for machines on which a file takes longer. */
    for (int round = 0; round < 12 || (round < 120 && (!left_over || !step)); round++) {
        char path[600];
        struct err err = { 0 };
        pid_t child = fork();
        if (child == 0)
            save_forever(out, step + 1);
        usleep((20000 + (useconds_t)(rng_u64(&rng) % 40000)) * (1 + (useconds_t)round / 12));
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        EXPECT(WIFSIGNALED(status));
        bool any = checkpoint_newest(out, path, sizeof path, NULL, &err);
        EXPECTF(any || err.code == ERR_NONE, "%s", err.msg);
        EXPECT(!any || large_is_sound(path, &step));
        left_over += files_in(out) > 2;
    }
    EXPECT(step > 0);
    EXPECTF(left_over > 0, "no kill came in the middle of a file");
    check(save(out, step + 1, 1, NULL));
    EXPECT(files_in(out) == 1);
}

static void test_allocations(void)
{
    const char *out = scratch_path("alloc");
    struct err err = { 0 };
    struct state s;
    long live = mem_live, n = 0;
    for (bool all = false; !all; n++) {
        check(save(out, 1, 1, NULL));
        unlink(file_of(out, 2));
        mem_fail_after = n;
        bool ok = save(out, 2, 2, &err);
        all = mem_fail_after >= 0;
        mem_fail_after = -1;
        if (!ok)
            EXPECT(err.code == ERR_MEMORY && newest_is(out, 1, 0) && files_in(out) == 1);
        EXPECTF(mem_live == live && (ok || !all), "%ld: %ld %ld", n, mem_live, live);
    }
    EXPECT(n > 3 && newest_is(out, 2, 0));
    mem_fail_after = 0;                   /* loading takes nothing but the JSON */
    EXPECT(load(file_of(out, 2), &s, &err) && s.step == 2);
    mem_fail_after = -1;
}

static void test_bad_places(void)
{
    struct err err = { 0 };
    const char *file = scratch_text("a-file", "x");
    char long_name[5000];
    EXPECT(!save(file, 1, 1, &err) && SAYS(&err, ERR_USAGE, file, "no folder"));
    EXPECT(!save("/proc/no/such", 1, 1, &err) && SAYS(&err, ERR_IO, "/proc/no: "));
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    EXPECT(!save(long_name, 1, 1, &err) && err.code == ERR_USAGE);
}

const struct test tests[] = {
    { "round trip", test_round_trip },
    { "no parts", test_no_parts },
    { "every flipped byte is found", test_every_flip },
    { "every cut is found", test_every_length },
    { "other parts are refused", test_other_parts },
    { "the newest sound one", test_newest_skips },
    { "the newest N are kept", test_keep },
    { "one is held", test_hold },
    { "leftovers of dead processes", test_leftovers },
    { "disk full", test_disk_full },
    { "kill -9 while saving", test_kill },
    { "every allocation failing once", test_allocations },
    { "bad places", test_bad_places },
    { 0 }
};
