/*
 * train_build: which program a run was written by.  Training gives the same bits for any number
 * of threads and any CPU level, but only from the same machine code: another compiler, other
 * flags or a changed kernel may round elsewhere.
 */
#ifndef KEXA_TRAIN_TRAIN_BUILD_H
#define KEXA_TRAIN_TRAIN_BUILD_H

#include "base/base.h"

enum { TRAIN_BUILD_MAX = 120 };

/* "kexa 0.1.0, code 0123456789abcdef, glibc 2.36": the version, XXH3-64 of the machine code that
 * this function lies in (the program, or libkexa.so), the C library and so its mathematics. */
void train_build_name(char out[TRAIN_BUILD_MAX]);

#endif
