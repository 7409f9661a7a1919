#include "text/piece_words.h"

const uint8_t *word_end(const uint8_t *at, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101u;
    for (at++; at < end; at++) {
        uint64_t x;
        for (; end - at >= 8; at += 8) {
            memcpy(&x, at, sizeof x);
            x ^= ones * ' ';
            if ((x - ones) & ~x & ones << 7)
                break;                    /* a space among the eight */
        }
        while (at < end && *at != ' ')
            at++;
        if (at < end && word_ends_at(at))
            return at;
    }
    return end;
}
