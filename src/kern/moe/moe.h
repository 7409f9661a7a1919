/*
 * moe: which experts a token goes to, and with what weight (scalar only: it is a
 * few hundred operations per token; for sigmoid scores of many rows at once there is act.h's
 * sigmoid_fwd, which gives the same bits as moe_scores).
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

/* s[0..n), the scores above; a NaN logit gives NaN, and to the others counts as -infinity.
 * s may be logits. */
void moe_scores(float *s, const float *logits, const struct moe_router *r);

/* The choice and its weights from the scores s. */
void moe_choose(uint32_t *ids, float *w, float *gap, const float *s, const float *bias,
                const struct moe_router *r);

/*
 * The gradient of w by the logits for the ids that were chosen (the choice itself has none,
 * and the bias neither).  With S = sum of s over ids + 1e-20 if norm_topk:
 *
 *     ds_e = scale / S (dw_e - sum_j dw_j s_j / S)     or scale dw_e without norm_topk
 *     MOE_SIGMOID  dl_e = ds_e s_e (1 - s_e)           MOE_SOFTMAX  dl_e = s_e (ds_e - sum_j
 *                                                      ds_j s_j), ds = 0 for what is not in ids
 *
 *     dlogits f32 [n], overwritten; with MOE_SIGMOID +0 for what is not in ids
 *     dw      f32 [top_k], in the order of ids; ids all different
 *     s       f32 [n], what moe_scores gave
 *
 * In f64, rounded once.  Source: differentiating DeepSeek-V3's eqs. 12-16.
 */
void moe_route_bwd(float *dlogits, const float *dw, const uint32_t *ids, const float *s,
                   const struct moe_router *r);

/*
 * The balance loss of one sequence of T rows, and its gradient added to dlogits:
 *
 *     L = alpha sum_i f_i P_i     f_i = n count_i / (top_k T)     P_i = mean_t p_ti
 *     p_ti = s_ti / S_t           S_t = sum over all n of s_ti, + 1e-20
 *     dl_tj += alpha / (T S_t) (f_j - sum_i f_i p_ti) s_tj (1 - s_tj)     (MOE_SOFTMAX:
 *              without the last factor)
 *
 *     s, dlogits  f32, row t at + t * stride, n columns; dlogits NULL: the loss alone
 *     ids         [T][top_k], what the rows chose; count_i how often i is in it
 *
 * f_i is a constant to the gradient.  It enters as f_i - 1, whose numerator is an integer:
 * where the load is even the gradient is exactly zero and L is alpha.  f64, rows ascending.
 * T = 0 gives 0.  Source: DeepSeek-V3, eqs. 17-20.
 */
double moe_balance(float *dlogits, const float *s, size_t stride, const uint32_t *ids,
                   size_t rows, double alpha, const struct moe_router *r);

/* bias_e += u where expert e had less than the mean load, -= u where more; exact comparison.
 * load: how many rows chose each of the n experts since the last update.  Source: Wang et
 * al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", 2024. */
void moe_bias_update(float *bias, const uint64_t *load, uint32_t n, float u);

/* -sum p log p in nats, p = s / sum of s; n positive finite scores. */
double moe_entropy(const float *s, uint32_t n);

#endif
