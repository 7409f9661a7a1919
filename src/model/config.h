/*
 * config: a model's description, read the same way from config.json and from GGUF keys.
 *
 * A key is known by its Hugging Face name (or an older spelling) and by its GGUF name
 * without the architecture prefix.  Numbers outside [low, high] are refused with the
 * file, the key, the value and the range.
 */
#ifndef KEXA_MODEL_CONFIG_H
#define KEXA_MODEL_CONFIG_H

#include "format/format.h"

struct config {
    const char *file;                     /* for messages */
    json_t *json;                         /* config.json's object, or NULL */
    const struct gguf *gguf;              /* or NULL */
    char arch[64];                        /* model_type, or general.architecture */
    bool mtp_weights;                     /* the Hugging Face files hold mtp.* tensors */
};

enum config_kind { CONFIG_U32, CONFIG_F64, CONFIG_F32, CONFIG_BOOL };

struct config_key {
    const char *hf, *hf_old, *gguf;       /* NULL where the source has no such key */
    enum config_kind kind;
    bool required;
    size_t at;                            /* offset of a uint32_t, double, float, bool */
    double low, high;
};

/* Reads every key of the table (ends with at == SIZE_MAX) into the struct at `into`. */
bool config_read(const struct config *c, const struct config_key *keys, void *into,
                 struct err *err);

/* The JSON value of a key, or NULL; the GGUF value of "<arch>.<key>", or NULL. */
json_t *config_json(const struct config *c, const char *key);
const struct gguf_kv *config_gguf(const struct config *c, const char *key);

/* Element i of a per-layer list (json array or GGUF array), or the scalar itself.
 * *n: elements (1 for a scalar).  false with err when it is no number or bool. */
bool config_list(const struct config *c, const char *hf, const char *gguf, uint64_t i,
                 double *out, uint64_t *n, bool *found, struct err *err);

/* A string value, or NULL. Borrowed. */
const char *config_hf_string(const struct config *c, const char *key);

#endif
