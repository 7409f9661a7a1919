#include "cmd/vocabulary.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

bool vocabulary_open(struct vocabulary *v, const char *path, struct err *err)
{
    memset(v, 0, sizeof *v);
    if (file_is_dir(path) || ends_with(path, ".json")) {
        v->t = tokenizer_open_hf(path, err);
        return v->t != NULL;
    }
    if (!gguf_open(&v->gguf, path, err))
        return false;
    v->t = tokenizer_open_gguf(&v->gguf, path, err);
    if (!v->t)
        gguf_close(&v->gguf);
    return v->t != NULL;
}

void vocabulary_close(struct vocabulary *v)
{
    tokenizer_close(v->t);
    gguf_close(&v->gguf);
}
