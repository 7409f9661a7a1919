/*
 * recipe_keys: the table of a recipe's keys, and what model.size decides.
 *
 * N = model.size is the number of parameters that the layers read for one token: attention,
 * norms, router, the chosen and the shared experts; no embedding, no head, no MTP block.
 *
 *   N below      layers  experts  top-k  context
 *   1 m             4       8       2      256
 *   4 m             4      16       2      512
 *   20 m            8      16       2     1024
 *   60 m           12      16       2     1024
 *   250 m          16      64       5     2048
 *   2 g            24      64       5     4096
 *   8 g            32     128       8     8192
 *   above          48     128       8     8192
 *
 *   hidden      the multiple of 64 (below 256: of 32) whose model is nearest to N
 *   head_dim    16 up to hidden 64, 32 up to 192, 64 up to 1536, then 128
 *   heads       hidden / head_dim rounded up to an even number
 *   kv_heads    the largest divisor of heads that is at most heads / 4, at least 1
 *   ffn         3 hidden
 *   expert_ffn  3 hidden / (top_k + shared), to the nearest multiple of 32: as much work for a
 *               token as the dense FFN
 *   lr          3e-4 (6144 / hidden)^(3/4) with Muon, ^(1/2) with AdamW, two digits: K-EXAONE's
 *               3e-4 at its own width; the exponents from short runs (bench/RESULTS.md)
 *   batch       32768 sqrt(N / 3 m) tokens, to the nearest power of two, at least one row
 *   tokens      20 N (Hoffmann et al. 2022, arXiv 2203.15556, section 3)
 *   micro_rows  rows of about 2048 tokens, below hidden 256 of 524288 / hidden: what the next
 *               operation reads then is near (bench/RESULTS.md, Training)
 *
 * Proportions of FFN, shared expert, window and pattern are K-EXAONE's.  All rules are integer
 * arithmetic or correctly rounded square roots, the same on every machine.
 */
#ifndef KEXA_TRAIN_RECIPE_KEYS_H
#define KEXA_TRAIN_RECIPE_KEYS_H

#include "train/train_recipe.h"

enum recipe_kind {
    RECIPE_U32, RECIPE_U64, RECIPE_F64, RECIPE_TEXT,
    RECIPE_WORD,                          /* an enum: the index of the word */
    RECIPE_SOURCES,                       /* a list: PATH weight=W epochs=E */
    RECIPE_TEXTS                          /* a list of texts */
};

struct recipe_key {
    const char *section, *name;
    enum recipe_kind kind;
    size_t at;                            /* of the field in struct train_recipe */
    double low, high;                     /* of numbers, inclusive */
    const char *words;                    /* of RECIPE_WORD: "muon|adamw" */
    const char *preset;                   /* as one would write it; NULL: see rule */
    const char *rule;                     /* where a value that is not given comes from */
    const char *unit;                     /* or "" */
    bool decides;                         /* the weights depend on it, and not only through the
                                             rates of the steps (schedule_continues) */
    const char *meaning;
};

extern const struct recipe_key recipe_keys[];    /* ends with name == NULL */

/* Index of a key by "section.name"; SIZE_MAX if there is none. */
size_t recipe_key_find(const char *section, const char *name);
size_t recipe_key_at(size_t at);          /* by its field; it must exist */

/* Puts the value into the field of key i.  where: "FILE:LINE" or an option. */
bool recipe_value_put(struct train_recipe *r, size_t i, const char *where, const char *value,
                      struct err *err);
/* The value as one would write it; of a list, its element j.  Quoted where need be. */
void recipe_value_text(const struct train_recipe *r, size_t i, size_t j, struct buf *out);
/* The same without where a source lies, for checksums say which text it is, and how often it may
 * be read (loader_state_set). */
void recipe_value_core(const struct train_recipe *r, size_t i, size_t j, struct buf *out);
size_t recipe_value_count(const struct train_recipe *r, size_t i);        /* 1, or of a list */
void recipe_value_clear(struct train_recipe *r, size_t i);

/* "FILE:LINE", an option, or "FILE" for a value nobody gave. */
void recipe_where(const struct train_recipe *r, size_t i, char *out, size_t cap);

/* Parameters the layers read for one token, by the formula above. */
uint64_t recipe_layer_params(const struct recipe_model *m);

static inline bool recipe_given(const struct train_recipe *r, size_t i)
{
    return r->line[i] || r->option[i];
}

#endif
