/*
 * base: what every folder stands on.  Include this one header.
 *
 *   err      failures as sentences, check() for our own bugs
 *   mem      the door to malloc        bytes   byte runs, buffers, checked arithmetic
 *   arena    memory by lifetime        map     text -> u32
 *   pool     threads                   clock   monotonic time
 *   file_map read-only mapped files    rng     counter-based random numbers
 *   file_out files complete or not at all  folder  made with all above them
 *   progress bars on stderr            sysinfo memory and CPU limits of this machine
 *   nearest  word to a mistyped one
 */
#ifndef KEXA_BASE_BASE_H
#define KEXA_BASE_BASE_H

#include "base/err.h"
#include "base/mem.h"
#include "base/bytes.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/file_map.h"
#include "base/file_out.h"
#include "base/folder.h"
#include "base/nearest.h"
#include "base/rng.h"
#include "base/progress.h"
#include "base/sysinfo.h"
#include "base/stack.h"

#endif
