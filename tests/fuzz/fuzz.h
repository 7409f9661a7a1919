/*
 * fuzz: what a fuzz target offers.  One program per target: with driver.c (gcc or clang,
 * `make fuzz-corpus`), or with libFuzzer (clang, `make soak-fuzz`).
 *
 * A target must return for every input, without a leak, in less than FUZZ_SECONDS.
 */
#ifndef KEXA_TESTS_FUZZ_H
#define KEXA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_SECONDS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Kept by the target: how many inputs were taken for a valid file (read by the driver);
 * where the sums of all that was read end, so that the reads are not optimised away. */
extern uint64_t fuzz_accepted, fuzz_sum;

#endif
