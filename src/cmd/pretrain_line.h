/*
 * pretrain_line: a run as it goes, for people or as JSON.
 *
 * On a terminal one line on standard error is redrawn at most four times a second, and a line
 * stays for every evaluation, skipped step and sample.  Elsewhere a line is printed for the
 * first and the last step, for evaluations and skipped steps, and every ten seconds.  With JSON
 * every step is one object on standard output; numbers that are not finite are null.
 */
#ifndef KEXA_CMD_PRETRAIN_LINE_H
#define KEXA_CMD_PRETRAIN_LINE_H

#include "train/train.h"

struct pretrain_line {
    bool json, live;                      /* live: a terminal to draw on */
    bool shown;
    uint64_t n_steps;
    double roof_flops;
    const char *roof_unit;
    double heldout;                       /* bits per byte of the last evaluation; NAN */
    uint64_t first, step_ns, drawn_ns, printed_ns;   /* first: steps done before; 0: none yet */
    double seconds, tokens, flops;        /* of a step: averages that forget, by the clock */
};

void pretrain_line_begin(struct pretrain_line *l, const struct train_recipe *r,
                         const struct train_roof *roof, bool json);
bool pretrain_line_step(struct pretrain_line *l, const struct step_stats *s, struct err *err);
bool pretrain_line_sample(struct pretrain_line *l, uint64_t step, const char *prompt,
                          const char *text, struct err *err);
bool pretrain_line_end(struct pretrain_line *l, uint64_t step, const char *why, struct err *err);
void pretrain_line_clear(struct pretrain_line *l);   /* nothing is drawn on the terminal now */

#endif
