/*
 * engine_args: what a command's model and sampling options mean in the words of kexa.h.
 */
#ifndef KEXA_CMD_ENGINE_ARGS_H
#define KEXA_CMD_ENGINE_ARGS_H

#include "cmd/shared_options.h"
#include "kexa.h"

/* Passes on a failure of the library; returns false. */
bool fail_engine(struct err *err, const struct kexa_error *e);

/* NULL on failure.  model_args_open() finds the model as model_path_find() does. */
struct kexa_model *model_args_open(const struct model_args *a, struct err *err);
struct kexa_session *model_args_session(const struct model_args *a, struct kexa_model *m,
                                        struct err *err);

/* Sets the session's sampling; without --seed a fresh seed is drawn. */
bool sampling_args_set(const struct sampling_args *a, struct kexa_session *s, struct err *err);

#endif
