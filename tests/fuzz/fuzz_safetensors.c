/* Any bytes as a safetensors file: refused, or every tensor can be read. */
#include "fuzz.h"
#include "walk.h"

uint64_t fuzz_accepted, fuzz_sum;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors s;
    struct err err;
    if (safetensors_open_bytes(&s, (struct bytes){ data, size }, "fuzz.safetensors", &err)) {
        fuzz_accepted++;
        fuzz_sum += walk_tensors(&s.tensors);
        safetensors_close(&s);
    }
    return 0;
}
