/* vocabulary: the tokenizer a user names, for commands that load no weights. */
#ifndef KEXA_CMD_VOCABULARY_H
#define KEXA_CMD_VOCABULARY_H

#include "format/format.h"
#include "text/text.h"

/* A tokenizer and the file it borrows from. */
struct vocabulary {
    struct gguf gguf;
    struct tokenizer *t;
};

/* path: a tokenizer.json, a Hugging Face folder, or a GGUF file. */
bool vocabulary_open(struct vocabulary *v, const char *path, struct err *err);
void vocabulary_close(struct vocabulary *v);

#endif
