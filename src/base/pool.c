#include "base/base.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * One loop at a time.  `left` says how many of its pieces nobody has claimed; who takes one off
 * may read the fields of the loop, for no other begins before that piece is done.  The caller
 * waits for pieces, not for threads: one that sleeps, or whose CPU is taken by other work, holds up
 * nobody unless it is in the middle of a piece.
 *
 * A worker that finds nothing to do waits for the next `epoch`; before it sleeps it says so, and
 * only then is woken.
 */
struct pool {
    int n_threads;
    struct worker *worker;                /* [n_threads]; 0 is the caller */
    int n_started, spins;
    _Atomic uint32_t epoch, stop;         /* epoch: loops so far */
    _Atomic uint32_t left, done;          /* pieces */
    _Atomic bool asleep, caller_sleeps;   /* asleep: some worker, since workers were woken */
    uint32_t pieces;
    size_t n, grain;
    pool_fn *fn;
    void *arg;
};

struct worker {
    struct pool *pool;
    int index;
    pthread_t thread;
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

/* false: no piece is left. */
static bool run_piece(struct pool *p, int worker)
{
    uint32_t left = p->left;
    do {
        if (!left)
            return false;
    } while (!atomic_compare_exchange_weak(&p->left, &left, left - 1));
    uint32_t pieces = p->pieces;
    size_t begin = (size_t)(pieces - left) * p->grain;
    p->fn(p->arg, begin, p->n - begin < p->grain ? p->n : begin + p->grain, worker);
    if (++p->done == pieces && p->caller_sleeps)
        futex_wake_all(&p->done);
    return true;
}

/* Whether *at became another than `seen` within a short time. */
static bool spin_while(_Atomic uint32_t *at, uint32_t seen, int spins)
{
    for (int i = 0; i < spins; i++) {
        if (*at != seen)
            return true;
        pause_cpu();
    }
    return false;
}

static void wait_for_loop(struct pool *p, uint32_t seen)
{
    if (spin_while(&p->epoch, seen, p->spins))
        return;
    while (p->epoch == seen) {
        p->asleep = true;                 /* again: it may have been woken for a loop before */
        futex_wait(&p->epoch, seen);
    }
}

static void wait_for_pieces(struct pool *p)
{
    for (uint32_t done = p->done; done != p->pieces; done = p->done) {
        if (spin_while(&p->done, done, p->spins))
            continue;
        p->caller_sleeps = true;
        if (p->done == done)
            futex_wait(&p->done, done);
        p->caller_sleeps = false;
    }
}

static void next_loop(struct pool *p)
{
    p->epoch++;
    if (atomic_exchange(&p->asleep, false))
        futex_wake_all(&p->epoch);
}

static void *worker_main(void *arg)
{
    const struct worker *me = arg;        /* all but `thread`, which may not be set yet */
    struct pool *p = me->pool;
    denormals_flush();
    for (;;) {
        uint32_t epoch = p->epoch;
        while (run_piece(p, me->index))
            ;
        if (p->stop)
            return NULL;
        wait_for_loop(p, epoch);
    }
}

static bool start_worker(struct pool *p, int index)
{
    struct worker *w = &p->worker[index];
    w->pool = p;
    w->index = index;
    bool ok = pthread_create(&w->thread, NULL, worker_main, w) == 0;
    p->n_started += ok;
    return ok;
}

struct pool *pool_open(int n_threads, struct err *err)
{
    check(n_threads >= 1);
    struct pool *p = mem_take(1, sizeof *p);
    if (p)
        p->worker = mem_take((size_t)n_threads, sizeof *p->worker);
    if (!p || !p->worker) {
        mem_give(p);
        fail(err, ERR_MEMORY, "out of memory while starting %d threads", n_threads);
        return NULL;
    }
    p->n_threads = n_threads;
    p->spins = n_threads <= sys_cpus() ? SPINS : 0;   /* else it keeps another from working */
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
    next_loop(p);
    for (int i = 1; i <= p->n_started; i++)
        pthread_join(p->worker[i].thread, NULL);
    mem_give(p->worker);
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
        size_t pieces = n / grain + (n % grain > 0);
        check(pieces <= UINT32_MAX);
        p->n = n;
        p->grain = grain;
        p->fn = fn;
        p->arg = arg;
        p->pieces = (uint32_t)pieces;
        p->done = 0;
        p->left = (uint32_t)pieces;
        next_loop(p);
        while (run_piece(p, 0))
            ;
        wait_for_pieces(p);
    }
    denormals_restore(old);
}
