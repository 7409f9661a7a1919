/*
 * format: model files as tensors and metadata, mapped and never copied.
 * Include this one header.  Everything read here is untrusted: counts, lengths,
 * shapes and extents are checked before use, and errors name the file, the tensor,
 * what was found and what was expected.
 */
#ifndef KEXA_FORMAT_FORMAT_H
#define KEXA_FORMAT_FORMAT_H

#include "base/base.h"
#include "kern/qtype.h"

#include "format/tensor.h"
#include "format/gguf.h"
#include "format/gguf_write.h"
#include "format/safetensors.h"
#include "format/safetensors_write.h"
#include "format/json_file.h"
#include "format/jsonl.h"
#include "format/npy.h"
#include "format/show.h"

#endif
