/*
 * manifest: manifest.json, which says what a folder of shards holds and came from.  It is
 * written last: a folder that has one is complete.  docs/formats.md lists its keys.
 */
#ifndef KEXA_DATA_MANIFEST_H
#define KEXA_DATA_MANIFEST_H

#include "base/base.h"

#include <jansson.h>

#define MANIFEST_NAME "manifest.json"

struct manifest_shard {
    const char *file;                     /* inside the folder; borrowed from the JSON */
    bool held_out;
    uint64_t sum;                         /* of its body, as in shard.h */
};

struct manifest {
    json_t *json;
    struct manifest_shard *shard;
    size_t n;
};

/* The manifest of a folder.  ERR_FORMAT where there is none or it is not understood. */
bool manifest_load(struct manifest *m, const char *folder, struct err *err);
void manifest_release(struct manifest *m);

#endif
