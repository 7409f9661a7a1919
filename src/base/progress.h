/*
 * progress: a bar on stderr for anything over two seconds: share, rate and time
 * left, redrawn at most 10 times a second; silent when stderr is no terminal or
 * within the first two seconds.
 */
#ifndef KEXA_BASE_PROGRESS_H
#define KEXA_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what, *unit;
    uint64_t total, start_ns, drawn_ns;
    bool shown;
};

void progress_begin(struct progress *p, const char *what, const char *unit, uint64_t total);
void progress_at(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

uint64_t now_ns(void);                    /* monotonic */

#endif
