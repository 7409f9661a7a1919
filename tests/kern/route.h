/* route: a router's choice from its logits, as the model makes it. */
#ifndef KEXA_TESTS_ROUTE_H
#define KEXA_TESTS_ROUTE_H

#include "kern/moe/moe.h"

static inline void route(uint32_t *ids, float *w, float *gap, const float *logits,
                         const float *bias, const struct moe_router *r)
{
    float s[MOE_EXPERTS_MAX];
    moe_scores(s, logits, r);
    moe_choose(ids, w, gap, s, bias, r);
}

#endif
