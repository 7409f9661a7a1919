/* The list of weight types, and the names of those that only others read. */
#include "kern/qtype.h"

#include "kern/quant/blocks.h"
#include "kern/quant/dequant.h"

const struct qtype qtypes[] = {
    { QT_F32,    "F32",    1,   4,            CLASS_F32,  dequant_f32    },
    { QT_F16,    "F16",    1,   2,            CLASS_F32,  dequant_f16    },
    { QT_BF16,   "BF16",   1,   2,            CLASS_BF16, dequant_bf16   },
    { QT_Q4_0,   "Q4_0",   32,  Q4_0_BYTES,   CLASS_Q8,   dequant_q4_0   },
    { QT_Q4_1,   "Q4_1",   32,  Q4_1_BYTES,   CLASS_Q8,   dequant_q4_1   },
    { QT_Q5_0,   "Q5_0",   32,  Q5_0_BYTES,   CLASS_Q8,   dequant_q5_0   },
    { QT_Q5_1,   "Q5_1",   32,  Q5_1_BYTES,   CLASS_Q8,   dequant_q5_1   },
    { QT_Q8_0,   "Q8_0",   32,  Q8_0_BYTES,   CLASS_Q8,   dequant_q8_0   },
    { QT_IQ4_NL, "IQ4_NL", 32,  IQ4_NL_BYTES, CLASS_Q8,   dequant_iq4_nl },
    { QT_MXFP4,  "MXFP4",  32,  MXFP4_BYTES,  CLASS_Q8,   dequant_mxfp4  },
    { QT_Q2_K,   "Q2_K",   256, Q2_K_BYTES,   CLASS_Q8,   dequant_q2_k   },
    { QT_Q3_K,   "Q3_K",   256, Q3_K_BYTES,   CLASS_Q8,   dequant_q3_k   },
    { QT_Q4_K,   "Q4_K",   256, Q4_K_BYTES,   CLASS_Q8,   dequant_q4_k   },
    { QT_Q5_K,   "Q5_K",   256, Q5_K_BYTES,   CLASS_Q8,   dequant_q5_k   },
    { QT_Q6_K,   "Q6_K",   256, Q6_K_BYTES,   CLASS_Q8,   dequant_q6_k   },
    { QT_IQ4_XS, "IQ4_XS", 256, IQ4_XS_BYTES, CLASS_Q8,   dequant_iq4_xs },
    { 0 }
};

/* By ggml id.  4, 5, 31..33 and 36..38 were withdrawn by ggml but stand in old files. */
static const char *const ggml_names[] = {
    "F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
    "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M",
    "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8",
    "IQ4_NL_8_8", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
};

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool same_name(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    return lower(*a) == lower(*b);
}

const struct qtype *qtype_find(uint32_t ggml_id)
{
    for (const struct qtype *t = qtypes; t->name; t++)
        if ((uint32_t)t->id == ggml_id)
            return t;
    return NULL;
}

const struct qtype *qtype_named(const char *name)
{
    for (const struct qtype *t = qtypes; t->name; t++)
        if (same_name(t->name, name))
            return t;
    return NULL;
}

const char *qtype_ggml_name(uint32_t ggml_id)
{
    size_t n = sizeof ggml_names / sizeof *ggml_names;
    return ggml_id < n ? ggml_names[ggml_id] : "?";
}
