#include "session_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct session *session_rig_open(void)
{
    static const struct session_options o = { .context = 64, .chunk = 8, .mtp = true,
                                              .kv_type = KV_F16 };
    char path[4096];
    const char *tree = getenv("KEXA_TREE");
    struct model *m = mem_take(1, sizeof *m);
    struct err err;
    snprintf(path, sizeof path, "%s/tests/gold/exaone_moe/lllg/model.gguf", tree ? tree : ".");
    check(m && model_open_plan(m, path, &err) && model_bind(m, 1, NUMERICS_NATIVE, &err));
    struct session *s = session_open(m, &o, &err);
    check(s != NULL);
    return s;
}

void session_rig_close(struct session *s)
{
    struct model *m = s->m;
    session_close(s);
    model_close(m);
    mem_give(m);
}

struct buf session_rig_save(struct session *s)
{
    struct buf out = { 0 };
    struct err err;
    char path[64];
    snprintf(path, sizeof path, "/tmp/kexa-session-rig-%ld", (long)getpid());
    check(session_save(s, path, &err) && file_read(&out, path, 1 << 24, &err));
    unlink(path);
    return out;
}

void session_rig_sum(uint8_t *file, size_t len)
{
    uint64_t sum = hash_bytes((struct bytes){ file, len - 8 }, 0);
    memcpy(file + len - 8, &sum, 8);
}
