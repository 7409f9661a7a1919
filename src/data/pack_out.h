/* pack_out: the files a run of pack makes.  Private to pack. */
#ifndef KEXA_DATA_PACK_OUT_H
#define KEXA_DATA_PACK_OUT_H

#include "data/pack_docs.h"
#include "data/shard.h"

struct pack_out {
    const struct pack_options *o;
    struct shard_kind kind;
    struct shard_writer *train;           /* the last may be open, the others are finished */
    size_t n_train, cap;
    bool train_open, held_open;
    struct shard_writer held;
    size_t n_made;                        /* folders, for folder_unmake() */
};

/* ERR_USAGE if the folder holds a finished pack already. */
bool pack_out_begin(struct pack_out *w, const struct pack_options *o, struct err *err);
bool pack_out_put(struct pack_out *w, const struct pack_doc *d, struct err *err);

/* All files get their names, the manifest last. */
bool pack_out_end(struct pack_out *w, const struct pack_docs *docs, const struct pack_report *r,
                  struct err *err);

void pack_out_drop(struct pack_out *w);   /* removes what has no name yet; frees the rest */

#endif
