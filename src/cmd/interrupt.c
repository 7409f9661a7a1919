#include "cmd/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile int interrupted;          /* only set to 1, by the handler */

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

const volatile int *interrupt_catch(void)
{
    struct sigaction a = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART | SA_RESETHAND };
    struct sigaction was;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &a, NULL);
    return &interrupted;
}
