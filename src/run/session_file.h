/*
 * session_file: a session on disk.
 *
 * Little-endian, this table and then what it counts, without gaps:
 *
 *     0  8  "KEXASESS"
 *     8  4  version, 1               12  4  numerics: 0 native, 1 f32
 *    16  8  hash of the model (model_hash)
 *    24  4  KV type: 0 f32, 1 f16, 2 bf16, 3 q8_0
 *    28  4  context                  32  4  chunk
 *    36  4  1: MTP is kept           40  4  n: tokens
 *    44  4  layers with KV           48  4  vocabulary
 *    52  4  hidden size              56  8  bytes of KV rows
 *    64 48  sampler, f64: temperature, top_p, min_p, presence, frequency, repeat
 *   112 32  u64: the sampler's seed; seed, stream and count of its random numbers
 *   144  4  top_k                   148  4  repeat_last
 *   152  4  logit biases            156  4  0
 *   160     biases: u32 id, f32     then u32 ids[n], f32 logits[vocabulary],
 *           with MTP f32 hidden[hidden size], KV rows in the order of kv_part_read()
 *           (KV_PART_ALL: a wrapping ring's last `window` rows, all rows of the others)
 *   end  8  XXH3-64 of all bytes before
 *
 * Written under another name and renamed when complete.  Reading compares everything: the
 * length with what the table promises, the checksum, model, numerics, KV type, context and
 * chunk with the open session, every id with the vocabulary, every sampler value with its
 * range.  Any difference is a sentence, and the session stays as it was.  The checksum finds
 * accidents, not forgery: keys and values made by someone else can make a model say anything,
 * but nothing worse.  Snapshots are not in the file.
 */
#ifndef KEXA_RUN_SESSION_FILE_H
#define KEXA_RUN_SESSION_FILE_H

#include "run/session.h"

bool session_save(const struct session *s, const char *path, struct err *err);
/* Replaces all that s holds. */
bool session_load(struct session *s, const char *path, struct err *err);
/* The same from memory; `name` stands for the path in messages. */
bool session_read(struct session *s, struct bytes file, const char *name, struct err *err);

#endif
