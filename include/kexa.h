/*
 * kexa.h: run language models of the K-EXAONE kind from C.  The only installed header.
 *
 *     struct kexa_error e;
 *     struct kexa_model *m = kexa_model_open("model.gguf", NULL, &e);
 *     struct kexa_session *s = m ? kexa_session_open(m, NULL, &e) : NULL;
 *     if (!s) { fprintf(stderr, "%s\n", e.message); return e.exit_status; }
 *     kexa_session_add_text(s, "The sea is", KEXA_ADD_SPECIAL, &e);
 *     for (uint32_t id; kexa_session_next(s, &id, &e) && !kexa_model_is_end(m, id); ) {
 *         size_t n;
 *         const char *bytes = kexa_model_token(m, id, &n);
 *         fwrite(bytes, 1, n, stdout);
 *     }
 *     kexa_session_close(s);
 *     kexa_model_close(m);
 *
 * Rules.  A function that can fail returns false or NULL and fills *error (which may be
 * NULL); outputs are untouched then.  A model is read-only after opening and may serve
 * many sessions, but evaluation runs one call at a time per model.  A session belongs to
 * one thread at a time.  Sessions must be closed before their model.  Text is bytes; UTF-8
 * is expected but nothing breaks without it.  Results depend on the weights, the numeric
 * class and the tokens only: never on batch, chunk size, threads or CPU.
 */
#ifndef KEXA_H
#define KEXA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEXA_VERSION "0.1.0"

struct kexa_error {
    int exit_status;          /* 1..125, what a program should exit with */
    int http_status;
    char message[1000];       /* a complete sentence */
};

/* ---- models ---------------------------------------------------------------------- */

struct kexa_model;

enum kexa_numerics {
    KEXA_NUMERICS_NATIVE,     /* quantised weights meet int8 activations; bf16 weights bf16 ones */
    KEXA_NUMERICS_F32         /* every weight to f32, f32 activations: slow, for reference */
};

/* Q8_0: int8 with an f16 scale for every 32 elements of a head: about half of F16's memory. */
enum kexa_kv_type { KEXA_KV_F16, KEXA_KV_BF16, KEXA_KV_F32, KEXA_KV_Q8_0 };

struct kexa_session_options {
    uint32_t context;         /* most tokens; 0: the model's, but at most 8192 */
    enum kexa_kv_type kv_type;
    uint32_t chunk;           /* most tokens per forward pass in a prompt; 0: 256 */
    bool mtp;                 /* keep the MTP block's own KV, for kexa_session_mtp_logits */
    uint64_t snapshot_bytes;  /* most memory for snapshots (see kexa_session_truncate); 0: room
                                 for 8, at most 1 GiB; less than one takes: none are kept */
};
void kexa_session_options_init(struct kexa_session_options *o);

struct kexa_model_options {
    int threads;              /* 0: all CPUs this process may use */
    enum kexa_numerics numerics;
    const struct kexa_session_options *session; /* what the memory plan counts; NULL: defaults */
    bool skip_memory_check;   /* open even if the plan says it does not fit */
    void (*on_plan)(void *arg, const char *line); /* told the memory plan before loading */
    void *plan_arg;
};
void kexa_model_options_init(struct kexa_model_options *o);

/* path: a .gguf file (any shard of a split set), or a Hugging Face folder. NULL: defaults.
 * Files are mapped until the model closes: one that is cut short meanwhile raises SIGBUS. */
struct kexa_model *kexa_model_open(const char *path, const struct kexa_model_options *options,
                                   struct kexa_error *error);
void kexa_model_close(struct kexa_model *m);

struct kexa_model_info {
    const char *family;       /* "llama", "exaone_moe" */
    const char *name;         /* general.name or the folder's name */
    const char *chat_format;  /* "smollm2", "chatml", "k-exaone"; NULL: template unknown */
    uint32_t vocab, layers, context;      /* context: what the model was made for */
    bool has_mtp;             /* multi-token prediction weights are there */
    uint64_t parameters, active_parameters, weight_bytes;
};
void kexa_model_info(const struct kexa_model *m, struct kexa_model_info *out);

enum {
    KEXA_ADD_SPECIAL = 1,     /* BOS/EOS where the model asks for them */
    KEXA_PARSE_SPECIAL = 2    /* control tokens written in the text become their ids */
};

/*
 * Text to ids.  *n is the number of ids the text needs, also when it is more than cap; at
 * most cap are written.  ids may be NULL with cap 0 to ask for the count.
 */
bool kexa_tokenize(const struct kexa_model *m, const char *text, size_t len, int flags,
                   uint32_t *ids, size_t cap, size_t *n, struct kexa_error *error);
/* The bytes of a token (not NUL-terminated, maybe half a character), owned by the model. */
const char *kexa_model_token(const struct kexa_model *m, uint32_t id, size_t *n_bytes);
bool kexa_model_is_control(const struct kexa_model *m, uint32_t id);
bool kexa_model_is_end(const struct kexa_model *m, uint32_t id);  /* end of turn, any source */

/* ---- sessions -------------------------------------------------------------------- */

struct kexa_session;

/* NULL options: defaults. */
struct kexa_session *kexa_session_open(struct kexa_model *m,
                                       const struct kexa_session_options *options,
                                       struct kexa_error *error);
void kexa_session_close(struct kexa_session *s);
/* A second session with all that s holds, which then goes its own way: tokens, keys and
 * values, snapshots, sampling with its random numbers.  Costs a copy of what is in use. */
struct kexa_session *kexa_session_fork(const struct kexa_session *s, struct kexa_error *error);
uint32_t kexa_session_context(const struct kexa_session *s);
uint32_t kexa_session_position(const struct kexa_session *s);   /* tokens held */
const uint32_t *kexa_session_tokens(const struct kexa_session *s); /* those tokens */

/*
 * Appends n tokens and evaluates them.  A context that is too small is refused before
 * anything is evaluated; a cancelled call keeps the chunks that were finished.
 */
bool kexa_session_add(struct kexa_session *s, const uint32_t *ids, size_t n,
                      struct kexa_error *error);
bool kexa_session_add_text(struct kexa_session *s, const char *text, int flags,
                           struct kexa_error *error);

/* One step of many sessions of one model in one pass: each adds n tokens.  A session may be
 * in a call once.  Only a call of more sessions than any before takes memory. */
struct kexa_feed {
    struct kexa_session *session;
    const uint32_t *ids;
    size_t n;
};
bool kexa_add_many(struct kexa_feed *feeds, size_t n_feeds, struct kexa_error *error);

/* Logits f32 [vocab] after the last token held; NULL for an empty session. */
const float *kexa_session_logits(const struct kexa_session *s);

/*
 * Drops the newest tokens so that n are left (n <= position).  Exact to the bit, and
 * kexa_session_logits() is valid afterwards.  Near the end only the last token left is
 * evaluated again.  Window layers forget what lies far back: then the nearest snapshot
 * before n is restored and the tokens after it are evaluated again.  Snapshots are taken
 * when 16 or more tokens are added at once, before and after them, and every 1024 tokens.
 * False: n is too large; or the evaluation was cancelled or ran out of memory, and fewer
 * than n tokens are left.
 */
bool kexa_session_truncate(struct kexa_session *s, uint32_t n, struct kexa_error *error);

/*
 * A session on disk: tokens, keys and values in use, logits, sampling with its random
 * numbers.  The file appears when it is complete.  Loading replaces what s holds, and what
 * follows is the same to the bit; a file that is damaged, or was saved with another model,
 * numerics, KV type, context or chunk, is refused and s stays as it was.
 */
bool kexa_session_save(const struct kexa_session *s, const char *path, struct kexa_error *error);
bool kexa_session_load(struct kexa_session *s, const char *path, struct kexa_error *error);

/* Logits of the MTP block for the token after next, given that `next` comes next. */
bool kexa_session_mtp_logits(struct kexa_session *s, uint32_t next, float *logits,
                             struct kexa_error *error);

/* Safe from a signal handler or another thread: the running add stops at the next chunk. */
void kexa_session_cancel(struct kexa_session *s);
void kexa_session_on_progress(struct kexa_session *s,
                              void (*fn)(void *arg, size_t done, size_t total), void *arg);

/* ---- sampling -------------------------------------------------------------------- */

struct kexa_sampling {
    float temperature;        /* 0: always the most likely token */
    uint32_t top_k;           /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float presence, frequency;/* 0: off; OpenAI's meaning, over the sampled and given tokens */
    float repeat;             /* 1: off; logits of recent tokens are divided (or multiplied) */
    uint64_t seed;
    const uint32_t *bias_ids; /* n_bias token ids and what is added to their logits */
    const float *bias;
    size_t n_bias;
};
void kexa_sampling_init(struct kexa_sampling *p);  /* greedy */
/* Copied into the session.  Restarts its random numbers at the seed. */
bool kexa_session_sampling(struct kexa_session *s, const struct kexa_sampling *p,
                           struct kexa_error *error);
/* Chooses a token from the logits without adding it; *logprob (may be NULL) is its
 * natural log-probability under the raw logits. */
bool kexa_session_sample(struct kexa_session *s, uint32_t *id, float *logprob,
                         struct kexa_error *error);
/* Samples a token and adds it. */
bool kexa_session_next(struct kexa_session *s, uint32_t *id, struct kexa_error *error);

#ifdef __cplusplus
}
#endif

#endif
