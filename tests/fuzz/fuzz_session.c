/*
 * Any bytes as a saved session, as they are and with a right checksum: refused, or the session
 * can be worked with.
 */
#include "fuzz.h"
#include "session_rig.h"

#include <stdlib.h>

uint64_t fuzz_accepted, fuzz_sum;
static struct session *session;

/* Before the driver counts blocks of memory. */
__attribute__((constructor)) static void open_session(void)
{
    session = session_rig_open();
}

static bool try(struct bytes file)
{
    struct err err;
    uint32_t id = 1;
    if (!session_read(session, file, "fuzz.session", &err))
        return false;
    fuzz_sum += session->n;
    if (session->n)
        fuzz_sum += session_sample(session, &id, NULL, &err);
    if (session->n < 64 && file.at[file.len - 1] % 16 == 0)
        fuzz_sum += session_add(session, &id, 1, &err) + session_truncate(session, 1, &err);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (try((struct bytes){ data, size })) {
        fuzz_accepted++;
    } else if (size >= 8) {
        uint8_t *copy = malloc(size);
        check(copy != NULL);
        memcpy(copy, data, size);
        session_rig_sum(copy, size);
        fuzz_accepted += try((struct bytes){ copy, size });
        free(copy);
    }
    return 0;
}
