/*
 * json_flat: the usual line of a corpus, an object of strings and small numbers, in a fraction of
 * jansson's time.
 */
#ifndef KEXA_FORMAT_JSON_FLAT_H
#define KEXA_FORMAT_JSON_FLAT_H

#include "base/base.h"

#include <jansson.h>

/* What json_load_record() gives for this text, or NULL: it holds something else (other values,
 * \u, a repeated key, a mistake) or there is no memory (room->failed tells), and jansson must see
 * to it.  room is scratch. */
json_t *json_load_flat(struct bytes text, struct buf *room);

#endif
