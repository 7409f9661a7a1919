#include "text/text.h"

static void put_broken(struct detok *d, struct buf *out)
{
    buf_text(out, "\xef\xbf\xbd");
    d->n_held = 0;
}

/* Bytes in the character that begins with `lead`; 0 if none does. */
static uint32_t length_of(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3
         : lead < 0xf5 ? 4 : 0;
}

/*
 * Whether `byte` may follow what is held.  Only the second byte has limits beyond 80..BF
 * (Unicode table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
 */
static bool follows(const struct detok *d, uint8_t byte)
{
    uint8_t low = 0x80, high = 0xbf;
    if (d->n_held == 1) {
        switch (d->held[0]) {
        case 0xe0: low = 0xa0; break;
        case 0xed: high = 0x9f; break;
        case 0xf0: low = 0x90; break;
        case 0xf4: high = 0x8f; break;
        }
    }
    return low <= byte && byte <= high;
}

void detok_put(struct detok *d, struct bytes piece, struct buf *out)
{
    for (size_t i = 0; i < piece.len; i++) {
        uint8_t byte = piece.at[i];
        if (d->n_held && !follows(d, byte))
            put_broken(d, out);
        if (!d->n_held && !length_of(byte)) {
            put_broken(d, out);
            continue;
        }
        d->held[d->n_held++] = byte;
        if (d->n_held == length_of(d->held[0])) {
            buf_put(out, d->held, d->n_held);
            d->n_held = 0;
        }
    }
}

void detok_end(struct detok *d, struct buf *out)
{
    if (d->n_held)
        put_broken(d, out);
}
