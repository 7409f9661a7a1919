#include "cmd/shared_options.h"

#include <stdlib.h>

#define DEFAULT_MODEL_FILE "SmolLM2-135M-Instruct.Q4_1.gguf"

static const char *pick(const char *const *words, size_t n, size_t i)
{
    return i < n ? words[i] : NULL;
}

const char *choice_on_off(size_t i)
{
    static const char *const words[] = { "on", "off" };
    return pick(words, 2, i);
}

const char *choice_kv_type(size_t i)
{
    static const char *const words[] = { "f16", "bf16", "f32", "q8_0" };
    return pick(words, 4, i);
}

static const char *choice_numerics(size_t i)
{
    static const char *const words[] = { "native", "f32" };
    return pick(words, 2, i);
}

#define AT(field) offsetof(struct model_args, field)

#define ROW_MODEL \
    O_TEXT("model", 'm', AT(model), NULL, "FILE|FOLDER", \
           "a GGUF file or a Hugging Face folder; without it $KEXA_MODEL, then the default " \
           "model")
#define ROWS_COMPUTE \
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N", \
          "threads to compute with; without it one per CPU this process may use"), \
    O_CHOICE("kv-type", 0, AT(kv_type), choice_kv_type, "f16", \
             KV_TYPE_HELP), \
    O_CHOICE("numerics", 0, AT(numerics), choice_numerics, "native", \
             "native: activations rounded as the weights' own class says (int8 for quantised " \
             "weights); f32: never rounded, slow, for reference")

const struct opt model_opts[] = {
    ROW_MODEL,
    O_INT("ctx", 0, AT(ctx), 1, 1 << 24, NULL, "TOKENS",
          "room for prompt and answer together; without it what the model was made for, "
          "at most 8192"),
    ROWS_COMPUTE,
    O_END
};

const struct opt model_fixed_opts[] = { ROW_MODEL, ROWS_COMPUTE, O_END };

const struct opt model_only_opts[] = { ROW_MODEL, O_END };

#undef AT
#define AT(field) offsetof(struct sampling_args, field)

#define ROW_MAX_TOKENS \
    O_INT("max-tokens", 'n', AT(max_tokens), 0, 1 << 24, NULL, "N", \
          "stop after N tokens; without it at the end of the turn or of the context")
#define TEMP_HELP "temperature: 0 always takes the likeliest token, higher is more varied"
#define TOP_K_HELP "choose among the K likeliest tokens; 0 is all"
#define TOP_P_HELP "choose among the likeliest tokens that together reach probability P"
#define BY_FORMAT "; without it what the chat format recommends"
#define ROWS_PENALTY_AND_MORE \
    O_FLOAT("min-p", 0, AT(min_p), 0, 1, "0", "P", \
            "drop tokens less likely than P times the likeliest"), \
    O_FLOAT("presence", 0, AT(presence), -2, 2, "0", "X", \
            "subtract X from the logit of every token that prompt or answer already has"), \
    O_FLOAT("frequency", 0, AT(frequency), -2, 2, "0", "X", \
            "subtract X from a token's logit once for each time prompt and answer have it"), \
    O_FLOAT("repeat", 0, AT(repeat), 0.01, 10, "1", "X", \
            "divide positive and multiply negative logits of tokens already seen by X"), \
    O_INT("seed", 0, AT(seed), 0, 0x1p63, NULL, "N", \
          "seed of the random numbers: the same seed gives the same text; without it a new " \
          "one each time"), \
    O_LIST("stop", 0, AT(stop), "TEXT", "end the answer before this text"), \
    O_LIST("logit-bias", 0, AT(logit_bias), "ID=BIAS", \
           "add BIAS to the logit of token ID; -inf forbids it")

const struct opt sampling_opts[] = {
    ROW_MAX_TOKENS,
    O_FLOAT("temp", 0, AT(temp), 0, 10, "0.7", "T", TEMP_HELP),
    O_INT("top-k", 0, AT(top_k), 0, 1 << 20, "0", "K", TOP_K_HELP),
    O_FLOAT("top-p", 0, AT(top_p), 0, 1, "0.95", "P", TOP_P_HELP),
    ROWS_PENALTY_AND_MORE,
    O_END
};

const struct opt chat_sampling_opts[] = {
    ROW_MAX_TOKENS,
    O_FLOAT("temp", 0, AT(temp), 0, 10, NULL, "T", TEMP_HELP BY_FORMAT),
    O_INT("top-k", 0, AT(top_k), 0, 1 << 20, NULL, "K", TOP_K_HELP BY_FORMAT),
    O_FLOAT("top-p", 0, AT(top_p), 0, 1, NULL, "P", TOP_P_HELP BY_FORMAT),
    ROWS_PENALTY_AND_MORE,
    O_END
};

#undef AT
#define AT(field) offsetof(struct chat_args, field)

const struct opt chat_opts[] = {
    O_TEXT("system", 0, AT(system), NULL, "TEXT",
           "the system message; without it the chat format's own"),
    O_TEXT("think", 0, AT(think), NULL, "on|off|N",
           "let the model think before it answers, where its format can; N is on, for at most N "
           "tokens"),
    O_TEXT("format", 0, AT(format), NULL, "NAME",
           "chat format; without it recognised from the model's own template"),
    O_END
};

const char *default_model_path(void)
{
    static char path[4096];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/')
        snprintf(path, sizeof path, "%s/kexa/%s", cache, DEFAULT_MODEL_FILE);
    else
        snprintf(path, sizeof path, "%s/.cache/kexa/%s", home ? home : "", DEFAULT_MODEL_FILE);
    return path;
}

bool model_path_find(const char *typed, const char **path, struct err *err)
{
    const char *named = typed ? typed : getenv("KEXA_MODEL");
    if (named && *named) {
        *path = named;
        return true;
    }
    if (typed)
        return fail(err, ERR_USAGE, "-m is empty; give a GGUF file or a Hugging Face folder");
    if (!file_exists(default_model_path()))
        return fail(err, ERR_USAGE, "no model was named and the default one is not at %s; give "
                    "-m FILE, set KEXA_MODEL, or let `./go model` fetch the default",
                    default_model_path());
    *path = default_model_path();
    return true;
}
