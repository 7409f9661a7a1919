/*
 * text: between bytes and token ids, and between conversations and text.
 * Include this one header.
 */
#ifndef KEXA_TEXT_TEXT_H
#define KEXA_TEXT_TEXT_H

#include "base/base.h"
#include "text/tokenizer.h"
#include "text/detok.h"
#include "text/chat.h"
#include "text/tokenizer_train.h"

#endif
