/*
 * report_heat: how many tokens each expert took over time, a picture for each layer: an 8-bit
 * BMP as a data URI, one pixel for each expert and stretch of steps.
 */
#ifndef KEXA_TRAIN_REPORT_HEAT_H
#define KEXA_TRAIN_REPORT_HEAT_H

#include "train/run_history.h"

/* Nothing without loads. */
void heat_put(struct buf *out, const struct heat *h);

#endif
