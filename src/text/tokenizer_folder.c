/*
 * What a Hugging Face folder says about its tokenizer outside tokenizer.json:
 * tokenizer_config.json, generation_config.json, config.json, chat_template.jinja.
 */
#include "text/tokenizer_parts.h"

#include "format/format.h"

enum { MAX_CONFIG_JSON = 1 << 26, MAX_CHAT_TEMPLATE = 1 << 20 };

/* A token given as its text, or as {"content": text}; NO_TOKEN if neither or unknown. */
static int64_t id_of(const struct tokenizer *t, const json_t *v)
{
    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v) ? tokenizer_find(t, json_string_value(v)) : NO_TOKEN;
}

static void set_if_absent(const struct tokenizer *t, int64_t *id, const json_t *v)
{
    int64_t found = json_is_integer(v) ? json_integer_value(v) : id_of(t, v);
    if (*id == NO_TOKEN && found >= 0 && found < t->vocab.n)
        *id = found;
}

/* "chat_template": one text, or a list of {"name", "template"}, of which "default" counts,
 * else the first. */
static bool read_template(struct tokenizer *t, const json_t *v, struct err *err)
{
    const json_t *chosen = v, *entry;
    size_t i;
    if (json_is_array(v)) {
        chosen = json_object_get(json_array_get(v, 0), "template");
        json_array_foreach(v, i, entry) {
            const char *name = json_string_value(json_object_get(entry, "name"));
            if (name && !strcmp(name, "default"))
                chosen = json_object_get(entry, "template");
        }
    }
    if (t->chat_template || !json_is_string(chosen))
        return true;
    t->chat_template = mem_copy_text(json_string_value(chosen), json_string_length(chosen));
    return t->chat_template || fail(err, ERR_MEMORY, "no memory for the chat template");
}

static bool read_tokenizer_config(struct tokenizer *t, const json_t *root, struct err *err)
{
    set_if_absent(t, &t->bos, json_object_get(root, "bos_token"));
    set_if_absent(t, &t->eos, json_object_get(root, "eos_token"));
    set_if_absent(t, &t->pad, json_object_get(root, "pad_token"));
    set_if_absent(t, &t->unk, json_object_get(root, "unk_token"));
    return read_template(t, json_object_get(root, "chat_template"), err);
}

/* generation_config.json and config.json: eos_token_id is one id or a list. */
static bool read_ids(struct tokenizer *t, const json_t *root, struct err *err)
{
    const json_t *eos = json_object_get(root, "eos_token_id"), *v;
    size_t i;
    (void)err;
    json_array_foreach(eos, i, v)
        tokenizer_add_end(t, json_is_integer(v) ? json_integer_value(v) : NO_TOKEN);
    tokenizer_add_end(t, json_is_integer(eos) ? json_integer_value(eos) : NO_TOKEN);
    set_if_absent(t, &t->eos, json_is_array(eos) ? json_array_get(eos, 0) : eos);
    set_if_absent(t, &t->bos, json_object_get(root, "bos_token_id"));
    set_if_absent(t, &t->pad, json_object_get(root, "pad_token_id"));
    return true;
}

static bool read_jinja(struct tokenizer *t, const char *path, struct err *err)
{
    struct buf text = { 0 };
    bool ok = file_read(&text, path, MAX_CHAT_TEMPLATE, err);
    if (ok) {
        t->chat_template = mem_copy_text(text.at ? text.at : "", text.len);
        ok = t->chat_template || fail(err, ERR_MEMORY, "no memory for the chat template");
    }
    buf_release(&text);
    return ok;
}

static const struct {
    const char *name;
    bool (*read)(struct tokenizer *t, const json_t *root, struct err *err);
} files[] = {
    { "tokenizer_config.json", read_tokenizer_config },
    { "generation_config.json", read_ids },
    { "config.json", read_ids },
};

static bool read_json(struct tokenizer *t, const char *path, size_t which, struct err *err)
{
    json_t *root = json_load_path(path, MAX_CONFIG_JSON, err);
    bool ok = root && files[which].read(t, root, err);
    json_decref(root);
    return ok;
}

bool tokenizer_read_folder(struct tokenizer *t, const char *folder, struct err *err)
{
    struct buf path = { 0 };
    buf_printf(&path, "%s/chat_template.jinja", folder);
    bool ok = buf_ok(&path, err) && (!file_exists(path.at) || read_jinja(t, path.at, err));
    for (size_t i = 0; ok && i < sizeof files / sizeof *files; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, files[i].name);
        ok = buf_ok(&path, err) && (!file_exists(path.at) || read_json(t, path.at, i, err));
    }
    buf_release(&path);
    return ok;
}
