/* text_input: what commands that read text say of it, on standard error. */
#ifndef KEXA_CMD_TEXT_INPUT_H
#define KEXA_CMD_TEXT_INPUT_H

#include <stddef.h>

/* That so many text files of folders were not read (jsonl_beside); nothing for none. */
void text_input_say_beside(size_t n);

#endif
