#include "cmd/text_input.h"

#include <stdio.h>

void text_input_say_beside(size_t n)
{
    if (n)
        fprintf(stderr, "kexa: %zu .txt or .md file%s not read, because the folder has .jsonl\n", n,
                n == 1 ? " was" : "s were");
}
