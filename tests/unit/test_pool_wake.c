/*
 * pool: nobody sleeps for ever when the caller is held up between telling of a loop and waking for
 * it, as by another program that takes its CPU.  The pool is compiled into this test with a pause
 * there.
 */
#include "base/base.h"
#include "../harness.h"

#include <stdatomic.h>
#include <unistd.h>

enum { PAUSE_US = 1000, LOOPS = 200 };

#undef atomic_exchange
#define atomic_exchange(at, value) \
    (usleep(PAUSE_US), atomic_exchange_explicit(at, value, memory_order_seq_cst))
#include "../../src/base/pool.c"

static void add_one(void *arg, size_t begin, size_t end, int worker)
{
    _Atomic size_t *sum = arg;
    (void)worker;
    *sum += end - begin;
}

static void test_late_wake(void)
{
    struct err err;
    alarm(100);                           /* a hang ends the test */
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        struct pool *p = pool_open(n_threads, &err);
        _Atomic size_t sum = 0;
        for (int i = 0; i < LOOPS; i++) {
            pool_run(p, 5, 1, add_one, &sum);
            if (i % 3 == 0)
                usleep(PAUSE_US);
        }
        EXPECT(sum == 5 * LOOPS);
        pool_close(p);
    }
    alarm(0);
}

const struct test tests[] = {
    { "late wake", test_late_wake },
    { 0 }
};
