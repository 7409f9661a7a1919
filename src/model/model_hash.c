/* What a session file remembers of the model it was made with. */
#include "model/model.h"

#include <stdlib.h>

enum { PLACES = 4096, PLACE_BYTES = 256 };

static uint64_t hash_text(const char *text, uint64_t h)
{
    return hash_bytes(bytes_of(text), h);
}

static uint64_t hash_gguf(const struct gguf *g, uint64_t h)
{
    for (size_t i = 0; i < g->n_kv; i++) {
        uint8_t type = (uint8_t)g->kv[i].type;
        h = hash_bytes(g->kv[i].key, h);
        h = hash_bytes((struct bytes){ &type, 1 }, h);
        h = hash_bytes(g->kv[i].raw, h);
    }
    return h;
}

static uint64_t hash_table(const struct tensors *t, uint64_t h)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct tensor *x = &t->at[i];
        h = hash_text(x->type_name, hash_text(x->name, h));
        h = hash_bytes((struct bytes){ (const uint8_t *)x->ne, sizeof x->ne }, h);
    }
    return h;
}

/* Up to PLACE_BYTES at PLACES places evenly over all tensors' bytes, in the table's order. */
static uint64_t hash_places(const struct tensors *t, uint64_t h)
{
    uint64_t total = 0, before = 0;
    for (size_t i = 0; i < t->n; i++)
        total += t->at[i].n_bytes;
    for (size_t k = 0, i = 0; k < PLACES && total; k++) {
        uint64_t at = total / PLACES * k + total % PLACES * k / PLACES;
        while (at - before >= t->at[i].n_bytes)
            before += t->at[i++].n_bytes;
        uint64_t left = t->at[i].n_bytes - (at - before);
        h = hash_bytes((struct bytes){ t->at[i].data + (at - before),
                                       left < PLACE_BYTES ? (size_t)left : PLACE_BYTES }, h);
    }
    return h;
}

bool model_hash(const struct model *m, uint64_t *out, struct err *err)
{
    const struct tensors *t = m->gguf.n_files ? &m->gguf.tensors : &m->safetensors.tensors;
    uint64_t h = hash_gguf(&m->gguf, hash_text(m->plan.family->name, 0));
    if (m->json) {
        char *text = json_dumps(m->json, JSON_SORT_KEYS | JSON_COMPACT);
        if (!text)
            return fail(err, ERR_MEMORY, "out of memory for the model's hash");
        h = hash_text(text, h);
        free(text);
    }
    *out = hash_places(t, hash_table(t, h));
    return true;
}
