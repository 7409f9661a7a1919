#include "shard_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct shard_kind made_kind = { 0x1234567890abcdef, MAKE_VOCAB, false };

static char folder[] = "/tmp/kexa-data-XXXXXX";

static void remove_folder(void)
{
    char command[80];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        fprintf(stderr, "%s is still there\n", folder);
}

const char *made_path(const char *name)
{
    static char path[4][200];
    static unsigned at;
    if (!at)
        check(mkdtemp(folder) && !atexit(remove_folder));
    char *p = path[at++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

bool make_shard(const char *path, const uint32_t *length, size_t n_docs, uint32_t first,
                const struct shard_kind *kind, struct err *err)
{
    struct shard_writer w;
    struct ids ids = { 0 };
    if (!shard_writer_begin(&w, path, kind, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n_docs; i++) {
        ids.n = 0;
        for (uint32_t k = 0; k < length[i]; k++)
            ids_put(&ids, first++ % MAKE_VOCAB);
        ok = (!ids.failed || fail(err, ERR_MEMORY, "no memory"))
             && shard_writer_put(&w, ids.at, ids.n, 3 * length[i], err);
    }
    ids_release(&ids);
    if (ok && shard_writer_finish(&w, err))
        return shard_writer_name(&w, err);
    shard_writer_drop(&w);
    return false;
}
