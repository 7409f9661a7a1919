/*
 * moe: which experts a token goes to, and with what weight (scalar only: it is a
 * few hundred operations per token).
 *
 *   s = score(l)                     l f32 [n] router logits
 *   c = s + bias                     bias f32 [n] or NULL; selection only
 *   group step, if n_group > 1: group score = sum of its two largest c (one if the
 *       group has one); the topk_group best groups stay, the others are excluded
 *   ids = the top_k largest c, in order; ties go to the lowest index
 *   w_e = s_e (never the biased score); if norm_topk: w_e /= sum + 1e-20; w_e *= scale
 *
 *   MOE_SIGMOID  s = 1 / (1 + exp(-l))     MOE_SOFTMAX  s = softmax over all n
 *
 * A NaN logit counts as -infinity in the selection.  n <= MOE_EXPERTS_MAX, shapes
 * were checked when the model was bound.  The margin written to *gap (may be NULL) is
 * c of the last selected minus c of the best not selected (INFINITY if none).
 * Source: DeepSeek-AI, "DeepSeek-V3", 2024, eqs. 12-16; K-EXAONE report, 2026.
 */
#ifndef KEXA_KERN_MOE_H
#define KEXA_KERN_MOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOE_EXPERTS_MAX = 1024, MOE_TOPK_MAX = 64 };
enum moe_scoring { MOE_SIGMOID, MOE_SOFTMAX };

struct moe_router {
    uint32_t n, top_k, n_group, topk_group;
    enum moe_scoring scoring;
    bool norm_topk;
    float scale;
};

void moe_route(uint32_t *ids, float *w, float *gap, const float *logits, const float *bias,
               const struct moe_router *r);

#endif
