#include "base/base.h"

#define LONGEST_WORD 32

/* Edit distance (insert, drop, change, swap neighbours) of words up to LONGEST_WORD. */
static size_t word_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), d[LONGEST_WORD + 1][LONGEST_WORD + 1];
    if (na > LONGEST_WORD || nb > LONGEST_WORD)
        return LONGEST_WORD;
    for (size_t i = 0; i <= na; i++) {
        for (size_t j = 0; j <= nb; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

const char *nearest_word(const char *typed, const char *(*next)(size_t i, const void *arg),
                         const void *arg)
{
    size_t best = strlen(typed) / 3 + 1;  /* further off than this is another word */
    const char *found = NULL, *word;
    for (size_t i = 0; (word = next(i, arg)); i++) {
        size_t d = word_distance(typed, word);
        bool begins = strlen(typed) >= 2 && !strncmp(word, typed, strlen(typed));
        if (d <= best && (d < best || !found)) {
            best = d;
            found = word;
        } else if (!found && begins) {
            found = word;
        }
    }
    return found;
}
