#include "base/base.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * One loop at a time.  pool_run publishes the loop, bumps `epoch` and wakes the
 * workers; everybody claims pieces by adding to `next`, and a worker leaves the
 * loop when no piece is left.  pool_run returns once all workers have left
 * (`inside` is 0), so a worker can never see the next loop's fields half written.
 */
struct pool {
    int n_threads;
    pthread_t *thread;
    int n_started;
    _Atomic uint32_t epoch, inside, stop;
    _Atomic size_t next;
    size_t n, grain;
    pool_fn *fn;
    void *arg;
};

struct worker {
    struct pool *pool;
    int index;
};

enum { SPINS = 2000 };

static void futex_wait(_Atomic uint32_t *at, uint32_t seen)
{
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *at)
{
    syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

unsigned denormals_flush(void)
{
#if defined(__x86_64__)
    unsigned old = _mm_getcsr();
    _mm_setcsr(old | 0x8040);
    return old;
#else
    return 0;
#endif
}

void denormals_restore(unsigned old)
{
#if defined(__x86_64__)
    _mm_setcsr(old);
#else
    (void)old;
#endif
}

static void work(struct pool *p, int index)
{
    for (;;) {
        size_t begin = p->next;
        do {
            if (begin >= p->n)
                return;
        } while (!__atomic_compare_exchange_n((size_t *)&p->next, &begin, begin + p->grain, true,
                                              __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
        size_t end = p->n - begin < p->grain ? p->n : begin + p->grain;
        p->fn(p->arg, begin, end, index);
    }
}

static uint32_t wait_change(_Atomic uint32_t *at, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (*at != seen)
            return *at;
        pause_cpu();
    }
    while (*at == seen)
        futex_wait(at, seen);
    return *at;
}

static void *worker_main(void *arg)
{
    struct worker me = *(struct worker *)arg;
    mem_give(arg);
    denormals_flush();
    uint32_t seen = 0;
    for (;;) {
        seen = wait_change(&me.pool->epoch, seen);
        if (me.pool->stop)
            return NULL;
        work(me.pool, me.index);
        if (--me.pool->inside == 0)
            futex_wake_all(&me.pool->inside);
    }
}

static bool start_worker(struct pool *p, int index)
{
    struct worker *w = mem_take(1, sizeof *w);
    if (!w)
        return false;
    *w = (struct worker){ p, index };
    if (pthread_create(&p->thread[index], NULL, worker_main, w) != 0) {
        mem_give(w);
        return false;
    }
    p->n_started++;
    return true;
}

struct pool *pool_open(int n_threads, struct err *err)
{
    check(n_threads >= 1);
    struct pool *p = mem_take(1, sizeof *p);
    if (p)
        p->thread = mem_take((size_t)n_threads, sizeof *p->thread);
    if (!p || !p->thread) {
        mem_give(p);
        fail(err, ERR_MEMORY, "out of memory while starting %d threads", n_threads);
        return NULL;
    }
    p->n_threads = n_threads;
    for (int i = 1; i < n_threads; i++)
        if (!start_worker(p, i)) {
            fail(err, ERR_MEMORY, "cannot start thread %d of %d; ask for fewer with -t",
                 i + 1, n_threads);
            pool_close(p);
            return NULL;
        }
    return p;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    p->stop = 1;
    p->epoch++;
    futex_wake_all(&p->epoch);
    for (int i = 1; i <= p->n_started; i++)
        pthread_join(p->thread[i], NULL);
    mem_give(p->thread);
    mem_give(p);
}

int pool_threads(const struct pool *p)
{
    return p ? p->n_threads : 1;
}

void pool_run(struct pool *p, size_t n, size_t grain, pool_fn *fn, void *arg)
{
    unsigned old = denormals_flush();
    check(grain > 0);
    if (!p || p->n_threads == 1 || n <= grain) {
        for (size_t at = 0; at < n; at += grain)
            fn(arg, at, n - at < grain ? n : at + grain, 0);
    } else {
        p->n = n;
        p->grain = grain;
        p->fn = fn;
        p->arg = arg;
        p->next = 0;
        p->inside = (uint32_t)p->n_threads - 1;
        p->epoch++;
        futex_wake_all(&p->epoch);
        work(p, 0);
        for (uint32_t left = p->inside; left; left = p->inside)
            wait_change(&p->inside, left);
    }
    denormals_restore(old);
}
