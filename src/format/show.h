/*
 * show: names out of untrusted files as text that is safe to print: control and
 * unassigned characters and broken UTF-8 become \xNN, long names are cut with "...".
 */
#ifndef KEXA_FORMAT_SHOW_H
#define KEXA_FORMAT_SHOW_H

#include "base/base.h"

struct shown {
    char text[160];
};

struct shown show_name(struct bytes name);

/* For a message's arguments only: the text lives until the end of the full expression. */
#define SHOW(name) (show_name(name).text)

/* All of `text`, made safe in the same way but keeping line breaks and tabs. */
void show_text(struct buf *out, struct bytes text);

/* Non-empty, valid UTF-8 without control or invisible formatting characters. */
bool name_is_plain(struct bytes name);

/* What these first bytes are, in words that follow "this is"; NULL when nothing known. */
const char *show_kind(struct bytes file);

#endif
