#include "train/first_weights.h"
#include "train/checkpoint_file.h"

#include <inttypes.h>
#include <stdio.h>

bool first_weights_in_checkpoint(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".kxc");
}

static bool refuse_tokenizer(const char *path, struct err *err)
{
    return fail(err, ERR_USAGE, "%s belongs to another tokenizer than data.tokenizer: its rows of "
                "the embedding mean other tokens; use its own tokenizer, and pack the data with it",
                path);
}

/* ---- a checkpoint -------------------------------------------------------------------- */

/* Heads before this release did not name their tokenizer. */
static bool check_head(const struct checkpoint_file *f, const struct tokenizer *t, struct err *err)
{
    char own[20];
    json_t *head = checkpoint_file_json(f, err);
    const char *named = json_string_value(json_object_get(head, "tokenizer"));
    snprintf(own, sizeof own, "%016" PRIx64, tokenizer_hash(t));
    bool ok = head && (!named || !strcmp(named, own) || refuse_tokenizer(f->path, err));
    json_decref(head);
    return ok;
}

/* Sections "master/NAME" stand in the order of the weights. */
static bool copy_masters(struct params *ps, const struct checkpoint_file *f, struct err *err)
{
    static const char prefix[] = "master/";
    size_t cursor = 0, at = 0, n = sizeof prefix - 1;
    for (uint32_t i = 0; i < f->n; i++) {
        struct checkpoint_section s = checkpoint_file_next(f, &cursor);
        if (s.name.len < n || memcmp(s.name.at, prefix, n))
            continue;
        struct bytes name = { s.name.at + n, s.name.len - n };
        if (at == ps->n || !bytes_eq(name, bytes_of(ps->at[at].name))
            || s.data.len != ps->at[at].n * sizeof(float))
            return fail(err, ERR_FORMAT, "%s: weight %zu is \"%s\" of %zu bytes, which the model "
                        "it describes does not have there", f->path, at, SHOW(name), s.data.len);
        memcpy(ps->at[at++].master, s.data.at, s.data.len);
    }
    return at == ps->n || fail(err, ERR_FORMAT, "%s: %zu weights, but the model it describes has "
                               "%zu", f->path, at, ps->n);
}

static bool from_checkpoint(struct params *ps, const char *path, const struct tokenizer *t,
                            struct err *err)
{
    struct checkpoint_file f;
    if (!checkpoint_file_open(&f, path, err))
        return false;
    bool ok = check_head(&f, t, err) && checkpoint_file_verify(&f, err)
              && copy_masters(ps, &f, err);
    checkpoint_file_close(&f);
    if (ok)
        params_publish(ps);
    return ok;
}

/* ---- a folder ------------------------------------------------------------------------ */

static bool from_folder(struct params *ps, const char *path, const struct tokenizer *t,
                        struct err *err)
{
    struct model m;
    if (!model_open_plan(&m, path, err))
        return false;
    bool ok = model_bind(&m, 1, NUMERICS_NATIVE, err);
    if (ok && m.tokenizer && tokenizer_hash(m.tokenizer) != tokenizer_hash(t))
        ok = refuse_tokenizer(path, err);
    ok = ok && params_copy_from(ps, &m, err);
    model_close(&m);
    return ok;
}

bool first_weights_copy(struct params *ps, const char *path, const struct tokenizer *t,
                        struct err *err)
{
    return (first_weights_in_checkpoint(path) ? from_checkpoint : from_folder)(ps, path, t, err);
}
