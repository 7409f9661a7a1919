/*
 * config_out: a model's description, written as config.json or as GGUF keys.
 *
 * The other direction of config.h, from the same tables: what config_read() reads from a
 * source into the plan, config_write() writes from the plan into the other kind of file.
 */
#ifndef KEXA_MODEL_CONFIG_OUT_H
#define KEXA_MODEL_CONFIG_OUT_H

#include "model/config.h"
#include "model/plan.h"

struct config_out {
    json_t *json;                         /* config.json's object, or NULL */
    struct gguf_writer *gguf;             /* or NULL */
    const char *arch;                     /* prefix of GGUF keys */
    bool failed;                          /* out of memory; asked once at the end */
};

/* One value under the name of this kind of file; nothing where that name is NULL. */
void config_put_number(struct config_out *out, const char *hf, const char *gguf,
                       enum config_kind kind, double v);
void config_put_text(struct config_out *out, const char *hf, const char *gguf, const char *v);

/* n values as a list. */
void config_put_list(struct config_out *out, const char *hf, const char *gguf,
                     enum config_kind kind, const double *v, size_t n);

/* Every key of the table from the struct at `from`, where config_read() put it. */
void config_write(struct config_out *out, const struct config_key *keys, const void *from);

/* Which layers see how much: sliding_window and layer_types, or the GGUF pattern; for
 * families that have windows.  GGUF has one window for all sliding layers. */
bool config_put_windows(struct config_out *out, const struct plan *p, struct err *err);

/* All of a plan: common keys, the family's keys, RoPE, the family's describe(). */
bool config_write_plan(struct config_out *out, const struct plan *p, struct err *err);

/* A double as the shortest decimal that is the same f32, when it is an f32. */
double config_shortest(double v);

#endif
