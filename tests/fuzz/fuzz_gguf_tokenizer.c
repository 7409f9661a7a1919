/* Any bytes as a GGUF file whose tokenizer is then opened and used. */
#include "fuzz.h"
#include "walk_tokenizer.h"
#include "format/gguf.h"

uint64_t fuzz_accepted, fuzz_sum;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct err err;
    if (!gguf_open_bytes(&g, (struct bytes){ data, size }, "fuzz.gguf", &err))
        return 0;
    struct tokenizer *t = tokenizer_open_gguf(&g, "fuzz.gguf", &err);
    if (t) {
        fuzz_accepted++;
        fuzz_sum += walk_tokenizer(t, (struct bytes){ data, size });
    }
    tokenizer_close(t);
    gguf_close(&g);
    return 0;
}
