/*
 * session_rig: a session of the tiny exaone_moe, as files of bytes and back.
 */
#ifndef KEXA_TESTS_SESSION_RIG_H
#define KEXA_TESTS_SESSION_RIG_H

#include "run/run.h"

/* 64 tokens in chunks of 8 with MTP, f16; the model is $KEXA_TREE's (or this folder's) own. */
struct session *session_rig_open(void);
void session_rig_close(struct session *s);        /* its model too */

struct buf session_rig_save(struct session *s);   /* through a file */
void session_rig_sum(uint8_t *file, size_t len);  /* makes the checksum right */

#endif
