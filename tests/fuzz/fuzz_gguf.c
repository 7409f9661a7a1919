/* Any bytes as a GGUF file: refused, or every value and tensor can be read. */
#include "fuzz.h"
#include "walk.h"

uint64_t fuzz_accepted, fuzz_sum;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct err err;
    if (gguf_open_bytes(&g, (struct bytes){ data, size }, "fuzz.gguf", &err)) {
        fuzz_accepted++;
        fuzz_sum += walk_gguf(&g);
        gguf_close(&g);
    }
    return 0;
}
