/*
 * Any bytes as a checkpoint, as they are and with right checksums: refused, or every section
 * can be read.
 */
#include "fuzz.h"
#include "train/checkpoint_file.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t fuzz_accepted, fuzz_sum;

static bool try(struct bytes file)
{
    struct checkpoint_file f;
    size_t cursor = 0;
    if (!checkpoint_file_open_bytes(&f, file, "fuzz.kxc", NULL)
        || !checkpoint_file_verify(&f, NULL))
        return false;
    for (uint32_t i = 0; i < f.n; i++) {
        struct checkpoint_section s = checkpoint_file_next(&f, &cursor);
        fuzz_sum += hash_bytes(s.name, 0) + hash_bytes(s.data, 0);
    }
    json_t *head = checkpoint_file_json(&f, NULL);
    fuzz_sum += head ? json_object_size(head) : 0;
    json_decref(head);
    return true;
}

static uint64_t number_at(const uint8_t *file, size_t at)
{
    uint64_t v;
    memcpy(&v, file + at, sizeof v);
    return v;
}

static void put_sum(uint8_t *file, size_t at, const uint8_t *from, size_t len)
{
    uint64_t sum = XXH3_64bits(from, len);
    memcpy(file + at, &sum, sizeof sum);
}

/* The sums of a file of at least 64 bytes, as far as its table can be followed. */
static void make_sums_right(uint8_t *file, size_t len)
{
    uint64_t n_json = number_at(file, 32), n_table = number_at(file, 40), at;
    if (n_json <= len - 64 && n_table <= len - 64 - n_json) {
        for (at = 64 + n_json; 64 + n_json + n_table - at >= 32; ) {
            uint64_t data = number_at(file, at), n = number_at(file, at + 8);
            uint64_t name = ((number_at(file, at + 24) & 0xffffffff) + 7) / 8 * 8;
            if (data <= len && n <= len - data)
                put_sum(file, at + 16, file + data, n);
            if (name > 64 + n_json + n_table - at - 32)
                break;
            at += 32 + name;
        }
        put_sum(file, 48, file + 64, n_json + n_table);
    }
    put_sum(file, 56, file, 56);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (try((struct bytes){ data, size })) {
        fuzz_accepted++;
    } else if (size >= 64) {
        uint8_t *copy = malloc(size);
        check(copy != NULL);
        memcpy(copy, data, size);
        make_sums_right(copy, size);
        fuzz_accepted += try((struct bytes){ copy, size });
        free(copy);
    }
    return 0;
}
