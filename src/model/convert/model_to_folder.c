/* GGUF as a Hugging Face folder: config.json, weights, tokenizer files. */
#include "model/convert/conversion.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *dtype_name(const struct qtype *t)
{
    return t->id == QT_BF16 ? "bfloat16" : t->id == QT_F16 ? "float16" : "float32";
}

/* The plan as config.json says it: RoPE by keys alone. */
static bool describe_rope(const struct conversion *c, struct plan *p, struct err *err)
{
    const struct weight *freqs = &c->m->weights.rope_freqs;
    *p = c->m->plan;
    if (!freqs->data || rope_from_freqs(&p->rope[0], weight_f32(freqs)))
        return true;
    return fail(err, ERR_UNSUPPORTED, "%s: rope_freqs.weight holds divisors that are not those of "
                "Llama 3's scaling; config.json has no keys for them", c->m->path);
}

static bool put_config(const struct conversion *c, json_t *root, struct err *err)
{
    struct plan p;
    const struct family *f = c->m->plan.family;
    struct config_out out = { .json = root };
    json_t *classes = json_pack("[s]", f->hf_class);
    out.failed = json_object_set_new(root, "architectures", classes) != 0;
    config_put_text(&out, "model_type", NULL, f->hf_types[0]);
    config_put_text(&out, "torch_dtype", NULL, dtype_name(c->main_type));
    if (!describe_rope(c, &p, err) || !config_write_plan(&out, &p, err))
        return false;
    return !c->m->tokenizer || tokenizer_put_ids(c->m->tokenizer, root, err);
}

static bool write_config(const struct conversion *c, const char *folder, struct err *err)
{
    json_t *root = json_object();
    bool ok = root ? put_config(c, root, err) : fail(err, ERR_MEMORY, "out of memory");
    ok = ok && json_save(root, folder, "config.json", err);
    json_decref(root);
    return ok;
}

static bool write_folder(struct conversion *c, const char *folder, struct err *err)
{
    return conversion_count_left_out(c, err) && conversion_walk(c, piece_add, err)
           && write_config(c, folder, err)
           && (!c->m->tokenizer || tokenizer_save_hf(c->m->tokenizer, folder, err))
           && safetensors_writer_begin(c->folder, folder, c->o->max_bytes, err)
           && conversion_put_all(c, err) && safetensors_writer_end(c->folder, err);
}

static bool is_empty_folder(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return d && n == 0;
}

/* A new folder beside `path`, which rename() can put in the place of nothing or of an empty
 * folder; *n_made with those above it. */
static bool take_folder(struct buf *temp, size_t *n_made, const char *path, struct err *err)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if ((file_exists(path) || file_is_dir(path)) && !is_empty_folder(path))
        return fail(err, ERR_USAGE, "%s: exists already; remove it or choose another name", path);
    buf_printf(temp, "%.*s.part-%ld", (int)n, path, (long)getpid());
    if (!buf_ok(temp, err))
        return false;
    folder_remove(temp->at);              /* an earlier process of this number left it */
    return folder_make(temp->at, 0777, n_made, err)
           && (*n_made || fail(err, ERR_USAGE, "%s: is in the way; remove it", temp->at));
}

static bool into_folder(struct conversion *c, const char *path, struct err *err)
{
    struct buf temp = { 0 };
    size_t n_made;
    if (!take_folder(&temp, &n_made, path, err)) {
        buf_release(&temp);
        return false;
    }
    bool ok = write_folder(c, temp.at, err);
    if (ok && rename(temp.at, path) != 0)
        ok = fail_errno(err, ERR_IO, "%s: cannot give the folder its name", path);
    safetensors_writer_release(c->folder);
    if (!ok) {
        folder_remove(temp.at);
        folder_unmake(temp.at, n_made);
    }
    buf_release(&temp);
    return ok;
}

bool model_to_folder(struct model *m, const char *path, const struct convert_options *o,
                     struct convert_report *report, struct err *err)
{
    struct safetensors_writer w = { 0 };
    *report = (struct convert_report){ .tokenizer = m->tokenizer != NULL };
    const struct qtype *embed = m->weights.embed.type;
    struct conversion c = { .m = m, .o = o, .report = report, .to_hf = true, .folder = &w,
                            .main_type = embed->block > 1 ? o->float_type : embed };
    return into_folder(&c, path, err);
}
