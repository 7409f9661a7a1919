#include "walk_tokenizer.h"
#include "walk.h"

static uint64_t encode(const struct tokenizer *t, struct bytes text, bool special)
{
    struct ids ids = { 0 };
    struct buf out = { 0 };
    struct detok d = { 0 };
    struct err err;
    uint64_t sum = 0;
    if (tokenizer_encode(t, text, (struct encode_options){ special, special }, &ids, &err)) {
        for (size_t i = 0; i < ids.n; i++) {
            check(ids.at[i] < tokenizer_size(t));
            detok_put(&d, tokenizer_token_bytes(t, ids.at[i]), &out);
        }
        detok_end(&d, &out);
        sum = ids.n + out.len;
    }
    ids_release(&ids);
    buf_release(&out);
    return sum;
}

uint64_t walk_tokenizer(const struct tokenizer *t, struct bytes text)
{
    struct tokenizer_info info = tokenizer_info(t);
    size_t n;
    const uint32_t *ends = tokenizer_end_ids(t, &n);
    uint64_t sum = info.n_merges + strlen(info.pre);
    for (size_t i = 0; i < n; i++)
        check(ends[i] < tokenizer_size(t));
    for (uint32_t i = 0; i <= tokenizer_size(t); i++)
        sum += walk_bytes(tokenizer_token_bytes(t, i)) + tokenizer_token_kind(t, i);
    for (int special = 0; special < 2; special++) {
        sum += encode(t, bytes_of("Hello, hello  world 123\n\xea\xb0\x80\xeb\x82\x98 <|end|>"),
                      special);
        sum += encode(t, text, special);
    }
    return sum + (uint64_t)(tokenizer_find(t, "hello") + 1);
}
