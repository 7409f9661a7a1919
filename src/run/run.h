/*
 * run: models at work.  Include this one header.
 *
 *   session      one sequence of tokens and everything it owns
 *   session_file a session on disk
 *   snapshot     positions a session can come back to
 *   memory_plan  what a model and its sessions need, before anything is loaded
 *   sampler      logits to a token
 *   requant      a file in other weight types; imatrix: what errors weigh
 *   synth_file   a file of random weights; tensor_stream: how both are written
 *   include/kexa.h is implemented here (api.c) on top of these.
 */
#ifndef KEXA_RUN_RUN_H
#define KEXA_RUN_RUN_H

#include "model/model.h"

#include "run/imatrix.h"
#include "run/memory_plan.h"
#include "run/requant.h"
#include "run/sampler.h"
#include "run/session.h"
#include "run/session_file.h"
#include "run/snapshot.h"
#include "run/synth_file.h"
#include "run/tensor_stream.h"

#endif
