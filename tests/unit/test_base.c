/* base: allocation failures, maps, buffers, the pool's coverage, rng and halves. */
#include "base/base.h"
#include "kern/half_bits.h"
#include "../harness.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void test_buf_survives_oom(void)
{
    for (long nth = 0; nth < 10; nth++) {
        struct buf b = { 0 };
        mem_fail_after = nth;
        for (int i = 0; i < 500; i++)
            buf_printf(&b, "%d,", i);
        bool hit = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECT(b.failed == hit);
        buf_release(&b);
    }
    EXPECT(mem_live == 0);
}

static void test_map(void)
{
    static char key[5000][8];
    struct map m = { 0 };
    uint32_t v = 0;
    EXPECT(!map_find(&m, bytes_of("x"), &v));
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(key[i], sizeof key[i], "%u", i);
        EXPECT(map_put(&m, bytes_of(key[i]), i * 3));
    }
    for (uint32_t i = 0; i < 5000; i++)
        EXPECT(map_find(&m, bytes_of(key[i]), &v) && v == i * 3);
    EXPECT(!map_find(&m, bytes_of("5000"), &v));
    map_release(&m);
}

static void count_pieces(void *arg, size_t begin, size_t end, int worker)
{
    unsigned char *seen = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        seen[i]++;
}

static void test_pool_runs_each_once(void)
{
    static unsigned char seen[10000];
    struct err err;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct pool *p = pool_open(n_threads, &err);
        for (int round = 0; round < 300; round++) {
            size_t n = (size_t)(round * 37 % 10000);
            memset(seen, 0, sizeof seen);
            pool_run(p, n, 1 + (size_t)round % 64, count_pieces, seen);
            for (size_t i = 0; i < sizeof seen; i++)
                EXPECT(seen[i] == (i < n));
        }
        pool_close(p);
    }
}

/* One loop's own memory: gone for all who come too late. */
struct short_loop {
    size_t n, grain, magic;
    _Atomic size_t sum, wrong;
};

static void add_piece(void *arg, size_t begin, size_t end, int worker)
{
    struct short_loop *l = arg;
    l->wrong += l->magic != l->n * 7 + l->grain || begin % l->grain || end > l->n ||
                end - begin > l->grain || worker < 0 || worker > 4;
    for (size_t i = begin; i < end; i++)
        l->sum += i + 1;
}

/* Whoever counts blocks while a pool is open finds the same number, whenever its threads begin. */
static void test_pool_memory(void)
{
    struct err err;
    for (int round = 0; round < 50; round++) {
        struct pool *p = pool_open(4, &err);
        long live = mem_live;
        usleep(200);
        EXPECTF(mem_live == live, "%ld", mem_live - live);
        pool_close(p);
    }
}

/* Loops of a few pieces right after each other, while threads fall asleep and wake up. */
static void test_pool_short_loops(void)
{
    struct err err;
    struct pool *p = pool_open(5, &err);
    size_t n_wrong = 0;
    for (size_t round = 0; round < 30000; round++) {
        struct short_loop l = { .n = round % 23, .grain = 1 + round % 3 };
        l.magic = l.n * 7 + l.grain;
        pool_run(p, l.n, l.grain, add_piece, &l);
        l.magic = 0;
        n_wrong += l.wrong + (l.sum != l.n * (l.n + 1) / 2);
        if (round % 3000 == 0)
            usleep(2000);
    }
    pool_close(p);
    EXPECTF(n_wrong == 0, "%zu", n_wrong);
}

/* With one CPU for four threads the caller does the work of those that have none. */
static void test_pool_waits_for_pieces_only(void)
{
    enum { LOOPS = 1000 };
    cpu_set_t old, one;
    struct rusage before, after;
    struct err err;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_getaffinity(0, sizeof old, &old) || sched_setaffinity(0, sizeof one, &one)) {
        test_skip("this process may not choose its CPU");
        return;
    }
    struct pool *p = pool_open(4, &err);
    getrusage(RUSAGE_THREAD, &before);
    for (size_t round = 0; round < LOOPS; round++) {
        struct short_loop l = { .n = 8, .grain = 1, .magic = 57 };
        pool_run(p, l.n, l.grain, add_piece, &l);
        EXPECT(l.sum == 36 && !l.wrong);
    }
    getrusage(RUSAGE_THREAD, &after);
    pool_close(p);
    sched_setaffinity(0, sizeof old, &old);
    long slept = after.ru_nvcsw - before.ru_nvcsw;
    EXPECTF(slept < LOOPS / 4, "the caller slept %ld times", slept);
}

static void count_refusals(void *arg, size_t begin, size_t end, int worker)
{
    size_t *refused = arg;
    for (size_t i = begin; i < end; i++) {
        void *block = mem_take(1, 1);
        refused[worker] += !block;
        mem_give(block);
    }
}

/* The k-th allocation of four threads fails, and no other. */
static void test_one_allocation_fails(void)
{
    struct err err = { 0 };
    long live = mem_live;
    struct pool *p = pool_open(4, &err);
    EXPECTF(p, "%s", err.msg);
    for (int round = 0; p && round < 200; round++) {
        size_t refused[4] = { 0 };
        mem_fail_after = round;
        pool_run(p, 2000, 1, count_refusals, refused);
        EXPECT(mem_fail_after < 0 && refused[0] + refused[1] + refused[2] + refused[3] == 1);
    }
    mem_fail_after = -1;
    pool_close(p);
    EXPECT(mem_live == live);
}

static void put_text(const char *dir, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!text) {
        unlink(path);
        return;
    }
    FILE *f = fopen(path, "w");
    EXPECT(f && fputs(text, f) >= 0 && !fclose(f));
}

static void test_cpu_quota(void)
{
    static const struct {
        const char *max, *quota, *period;
        double want;
    } all[] = {
        { "max 100000\n", NULL, NULL, INFINITY }, { "150000 100000\n", NULL, NULL, 1.5 },
        { "1000 100000\n", NULL, NULL, 0.01 }, { "what\n", NULL, NULL, INFINITY },
        { "", NULL, NULL, INFINITY }, { "100000 0\n", NULL, NULL, INFINITY },
        { NULL, NULL, NULL, INFINITY }, { NULL, "-1\n", "100000\n", INFINITY },
        { NULL, "350000\n", "100000\n", 3.5 }, { NULL, "350000\n", "0\n", INFINITY },
        { NULL, "50000\n", NULL, INFINITY } };
    char dir[] = "/tmp/kexa-quota-XXXXXX";
    EXPECT(mkdtemp(dir));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        put_text(dir, "cpu.max", all[i].max);
        put_text(dir, "cpu.cfs_quota_us", all[i].quota);
        put_text(dir, "cpu.cfs_period_us", all[i].period);
        EXPECTF(sys_cpu_quota_of(dir) == all[i].want, "%zu: %g", i, sys_cpu_quota_of(dir));
    }
    put_text(dir, "cpu.max", NULL);
    put_text(dir, "cpu.cfs_quota_us", NULL);
    EXPECT(rmdir(dir) == 0);
    EXPECT(sys_cpus() >= 1 && sys_cpus() <= sysconf(_SC_NPROCESSORS_CONF));
}

/* Known answers of the Random123 distribution: philox4x32-10, zero and all-one input. */
static void test_rng_known_answers(void)
{
    EXPECT((uint32_t)rng_u64_at(0, 0, 0) == 0x6627e8d5u);
    EXPECT((uint32_t)rng_u64_at(~0ull, ~0ull, ~0ull) == 0x408f276du);
}

static void test_half_round_trip(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = f16_to_f32((f16)h), g = bf16_to_f32((bf16)h);
        EXPECT(isnan(f) ? isnan(f16_to_f32(f32_to_f16(f))) : f32_to_f16(f) == h);
        EXPECT(isnan(g) ? isnan(bf16_to_f32(f32_to_bf16(g))) : f32_to_bf16(g) == h);
    }
    EXPECT(f32_to_f16(65519.0f) == 0x7bff && f32_to_f16(65520.0f) == 0x7c00);
    EXPECT(f32_to_f16(1.0f + 0x1p-11f) == 0x3c00 && f32_to_f16(1.0f + 0x3p-11f) == 0x3c02);
}

const struct test tests[] = {
    { "buf survives every allocation failing", test_buf_survives_oom },
    { "map", test_map },
    { "pool runs each index once", test_pool_runs_each_once },
    { "pool: short loops", test_pool_short_loops },
    { "pool waits for pieces, not for threads", test_pool_waits_for_pieces_only },
    { "a pool's memory is taken when it is opened", test_pool_memory },
    { "one allocation of several threads fails", test_one_allocation_fails },
    { "quotas of CPU time", test_cpu_quota },
    { "rng known answers", test_rng_known_answers },
    { "half round trip", test_half_round_trip },
    { 0 }
};
