/*
 * tensorboard: a run's figures as a TensorBoard event file,
 * OUT/tb/events.out.tfevents.UNIX.HOST.PID.
 *
 * The file is a sequence of records, little-endian:
 *   8 bytes   n                    4 bytes   masked CRC of these 8 bytes
 *   n bytes   an Event message     4 bytes   masked CRC of the message
 * where CRC is CRC-32C (Castagnoli) and masked(c) = rotate right 15 bits + 0xa282ead8.  A message
 * in protocol buffer encoding has wall_time (field 1, double), step (2, int64) and one of
 * file_version (3, the first record, "brain.Event:2"), summary (5: scalars and texts) or
 * session_log (7: what follows replaces all from this step on).  Each record is flushed; a reader
 * stops at a torn one.  Going on makes a new file: TensorBoard reads all of a folder.
 *
 * Reference: TensorFlow's event.proto, summary.proto and record_writer.
 */
#ifndef KEXA_TRAIN_TENSORBOARD_H
#define KEXA_TRAIN_TENSORBOARD_H

#include "train/step_stats.h"
#include "base/base.h"

#include <stdio.h>

struct tensorboard {
    FILE *file;
    char *path;
    struct buf event, summary, value;     /* a message being built, from outside in */
};

/* Makes OUT/tb; with step > 0 what other files say of later steps is replaced. */
bool tensorboard_open(struct tensorboard *t, const char *out_dir, uint64_t step, struct err *err);
void tensorboard_close(struct tensorboard *t);        /* a zeroed struct is fine */

bool tensorboard_step(struct tensorboard *t, const struct step_stats *s, struct err *err);

/* The prompt and how it went on, as one text: samples of several prompts share a tag. */
bool tensorboard_sample(struct tensorboard *t, uint64_t step, struct bytes prompt,
                        struct bytes text, struct err *err);

/* CRC-32C of n bytes: polynomial 0x1edc6f41, reflected, as in iSCSI. */
uint32_t crc32c(const void *at, size_t n);

#endif
