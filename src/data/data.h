/* data: text as shards of tokens, and shards as batches to train on.  Include this one header. */
#ifndef KEXA_DATA_DATA_H
#define KEXA_DATA_DATA_H

#include "data/shard.h"
#include "data/permutation.h"
#include "data/packing.h"
#include "data/mixture.h"
#include "data/manifest.h"
#include "data/shard_set.h"
#include "data/loader.h"
#include "data/pack.h"

#endif
