/*
 * checkpoint: all state that decides what training does next, as one file for one step.
 *
 * OUT/checkpoints/step-00001234.kxc appears under its name only when it is complete, on the
 * disk and read back; until then it is NAME.part-PID-N.  Whatever happens while it is written
 * (a full disk, kill -9), the files before it stay as they are.  Only after that are older
 * ones removed.  The byte table of the file is in checkpoint_file.h.
 */
#ifndef KEXA_TRAIN_CHECKPOINT_H
#define KEXA_TRAIN_CHECKPOINT_H

#include "base/base.h"

#include <jansson.h>

struct checkpoint_part {
    const char *name;                     /* 1 to 512 bytes, each name once */
    void *data;                           /* written from, read into; any alignment */
    size_t n_bytes;                       /* may be 0 */
};

/*
 * Writes the state after `step`; makes OUT and OUT/checkpoints where they are missing.  head is
 * any JSON object (borrowed).  The parts are read twice (checksum, then bytes) and must not
 * change meanwhile; nothing is copied.  Then keeps the `keep` newest files up to this step
 * (keep <= 0: all) and besides them that of step `hold` (UINT64_MAX: none), and removes damaged
 * ones of later steps and what killed processes left half written.  A file already there for
 * this step is replaced.
 */
bool checkpoint_save(const char *out_dir, uint64_t step, const json_t *head,
                     const struct checkpoint_part *parts, size_t n, int keep, uint64_t hold,
                     struct err *err);

/*
 * Path of the newest file whose every byte is sound, into path[cap].  Sentences about newer
 * damaged ones, one a line, are added to *skipped (which may be NULL).  No file at all fails with
 * ERR_NONE, none sound with ERR_FORMAT; one that cannot be looked at is an error, not skipped.
 */
bool checkpoint_newest(const char *out_dir, char *path, size_t cap, struct buf *skipped,
                       struct err *err);

/* Step and JSON of a file, for building what its parts go into; the parts are not looked at.
 * The caller gives *head back with json_decref(). */
bool checkpoint_read_head(const char *path, uint64_t *step, json_t **head, struct err *err);

/*
 * Fills the parts: names, order and sizes must be those of the file.  All of the file is
 * verified first; on failure no part is touched.  *head as above; head may be NULL.
 */
bool checkpoint_load(const char *path, json_t **head, const struct checkpoint_part *parts,
                     size_t n, struct err *err);

#endif
