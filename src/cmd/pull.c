/* pull: fetch a model from a Hugging Face hub, or whatever speaks like one. */
#include "cmd/commands.h"
#include "cmd/pull_fetch.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/statvfs.h>

struct pull_args {
    const char *hub, *revision, *out;
    struct opt_list include;
    bool json, list;
};

struct listing {
    json_t *info;                         /* the hub's answer, owns the names below */
    const char *commit;
    struct pull_file *file;
    char **text;                          /* url and path of each */
    const char **name;
    size_t n;
};

/* What a Hugging Face folder needs to run. */
static const char *const wanted[] = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "tokenizer.model",
    "*.safetensors", "model.safetensors.index.json", "LICENSE*", "README.md",
};

static bool is_wanted(const struct pull_args *a, const char *name)
{
    for (size_t i = 0; i < a->include.n; i++)
        if (fnmatch(a->include.at[i], name, 0) == 0)
            return true;
    for (size_t i = 0; !a->include.n && i < sizeof wanted / sizeof *wanted; i++)
        if (!strchr(name, '/') && fnmatch(wanted[i], name, 0) == 0)
            return true;
    return false;
}

/* Names come from the server: plain relative paths only. */
static bool is_safe(const char *name)
{
    if (!*name || *name == '/' || strlen(name) > 1000)
        return false;
    for (const char *at = name; *at; at += strcspn(at, "/"), at += *at == '/') {
        size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return false;
    }
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f || *name == '\\')
            return false;
    return true;
}

static bool is_model_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash != name && slash[1] && !strchr(slash + 1, '/') && is_safe(name)
           && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")
              == strlen(name);
}

static void put_escaped(struct buf *b, const char *text)
{
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z')
                     || (*text >= '0' && *text <= '9') || strchr("-_.~/", *text);
        if (plain)
            buf_put(b, text, 1);
        else
            buf_printf(b, "%%%02X", (unsigned char)*text);
    }
}

static bool is_hex(const char *text, size_t n)
{
    return text && strlen(text) == n && strspn(text, "0123456789abcdef") == n;
}

/* Size and checksum of one file of the hub's list. */
static void read_sums(json_t *sibling, struct pull_file *f)
{
    json_t *lfs = json_object_get(sibling, "lfs"), *size = json_object_get(sibling, "size");
    const char *sha256 = json_string_value(json_object_get(lfs, "sha256"));
    const char *blob = json_string_value(json_object_get(sibling, "blobId"));
    f->n_bytes = json_is_integer(size) && json_integer_value(size) >= 0
                 ? (uint64_t)json_integer_value(size) : UINT64_MAX;
    f->sha256 = is_hex(sha256, 64) ? sha256 : NULL;
    f->git_sha1 = !f->sha256 && is_hex(blob, 40) ? blob : NULL;
}

static bool add_file(struct listing *l, const char *hub, const char *model, const char *folder,
                     const char *name, json_t *sibling, struct err *err)
{
    struct buf url = { 0 }, path = { 0 };
    buf_printf(&url, "%s/%s/resolve/%s/", hub, model, l->commit);
    put_escaped(&url, name);
    buf_printf(&path, "%s/%s", folder, name);
    if (!buf_ok(&url, err) || !buf_ok(&path, err)) {
        buf_release(&url);
        buf_release(&path);
        return false;
    }
    struct pull_file f = { .url = url.at, .path = path.at };
    read_sums(sibling, &f);
    l->text[2 * l->n] = url.at;
    l->text[2 * l->n + 1] = path.at;
    l->name[l->n] = name;
    l->file[l->n++] = f;
    return true;
}

static bool fill_listing(struct listing *l, const struct pull_args *a, const char *model,
                         const char *folder, struct err *err)
{
    json_t *siblings = json_object_get(l->info, "siblings"), *one;
    size_t i, most = json_array_size(siblings);
    l->commit = json_string_value(json_object_get(l->info, "sha"));
    if (!json_is_array(siblings) || !is_hex(l->commit, 40))
        return fail(err, ERR_FORMAT, "%s: the hub's answer has no list of files and no commit",
                    model);
    l->file = mem_take(most + 1, sizeof *l->file);
    l->text = mem_take(2 * most + 2, sizeof *l->text);
    l->name = mem_take(most + 1, sizeof *l->name);
    if (!l->file || !l->text || !l->name)
        return fail(err, ERR_MEMORY, "out of memory for a list of %zu files", most);
    json_array_foreach(siblings, i, one) {
        const char *name = json_string_value(json_object_get(one, "rfilename"));
        if (!name || !is_safe(name))
            return fail(err, ERR_FORMAT, "%s: the hub lists a file with an unusable name", model);
        if (is_wanted(a, name) && !add_file(l, a->hub, model, folder, name, one, err))
            return false;
    }
    return l->n || fail(err, ERR_USAGE, "%s: none of its %zu files is wanted; name some with "
                        "--include '*.gguf' or see them with --list --include '*'", model, most);
}

static bool open_listing(struct listing *l, struct pull *p, const struct pull_args *a,
                         const char *model, const char *folder, struct err *err)
{
    struct buf url = { 0 }, text = { 0 };
    json_error_t why;
    buf_printf(&url, "%s/api/models/%s/revision/", a->hub, model);
    put_escaped(&url, a->revision);
    buf_text(&url, "?blobs=true");
    bool ok = buf_ok(&url, err) && pull_text(p, url.at, &text, err);
    if (ok) {
        l->info = json_loadb(text.at ? text.at : "", text.len, JSON_REJECT_DUPLICATES, &why);
        ok = l->info || fail(err, ERR_FORMAT, "%s: the hub's answer is no JSON: %s (line %d)",
                             url.at, why.text, why.line);
    }
    buf_release(&url);
    buf_release(&text);
    return ok && fill_listing(l, a, model, folder, err);
}

static void close_listing(struct listing *l)
{
    for (size_t i = 0; l->text && i < 2 * l->n; i++)
        mem_give(l->text[i]);
    mem_give(l->file);
    mem_give(l->text);
    mem_give(l->name);
    json_decref(l->info);
}

/* What is still to come must fit on the disk. */
static bool check_room(const struct listing *l, const char *folder, uint64_t *total,
                       struct err *err)
{
    struct statvfs fs;
    uint64_t missing = 0;
    *total = 0;
    for (size_t i = 0; i < l->n; i++) {
        uint64_t n = l->file[i].n_bytes;
        if (n == UINT64_MAX)
            continue;
        if (!add_u64(*total, n, total))
            return fail(err, ERR_FORMAT, "the hub's file sizes add up to nonsense");
        missing += file_exists(l->file[i].path) ? 0 : n;
    }
    if (statvfs(folder, &fs) == 0 && missing / fs.f_frsize > fs.f_bavail)
        return fail(err, ERR_IO, "%s: %.2f GB are to come, the disk has %.2f GB free", folder,
                    (double)missing * 1e-9, (double)fs.f_frsize * (double)fs.f_bavail * 1e-9);
    return true;
}

static void print_list(const struct listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->file[i].n_bytes == UINT64_MAX)
            printf("%14s  %s\n", "?", l->name[i]);
        else
            printf("%14" PRIu64 "  %s\n", l->file[i].n_bytes, l->name[i]);
}

static bool fetch_all(struct pull *p, const struct listing *l, struct err *err)
{
    progress_begin(&p->bar, "pulling", "bytes", p->total_bytes);
    bool ok = true;
    for (size_t i = 0; ok && i < l->n; i++) {
        bool kept = false;
        ok = folder_make_above(l->file[i].path, 0777, err) && pull_one(p, &l->file[i], &kept, err);
        if (ok)
            fprintf(stderr, "kexa: %s %s%s\n", kept ? "kept" : "got", l->name[i],
                    l->file[i].sha256 || l->file[i].git_sha1 ? "" : " (the hub has no checksum)");
    }
    progress_end(&p->bar);
    return ok;
}

static bool print_result(const struct pull_args *a, const struct listing *l, const char *model,
                         const char *folder, uint64_t total, struct err *err)
{
    if (!a->json) {
        printf("%s\n", folder);
        return true;
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I}", "model", model, "commit", l->commit,
                          "folder", folder, "files", (json_int_t)l->n, "bytes",
                          (json_int_t)total);
    if (!o)
        return fail(err, ERR_MEMORY, "out of memory for the report");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return true;
}

static bool pull_model(struct pull *p, const struct pull_args *a, const char *model,
                       const char *folder, struct err *err)
{
    struct listing l = { 0 };
    bool ok = open_listing(&l, p, a, model, folder, err);
    if (ok && a->list)
        print_list(&l);
    else if (ok)
        ok = folder_make(folder, 0777, NULL, err)
             && check_room(&l, folder, &p->total_bytes, err) && fetch_all(p, &l, err)
             && print_result(a, &l, model, folder, p->total_bytes, err);
    close_listing(&l);
    return ok;
}

/* --out, or models/OWNER--NAME in the cache. */
static bool put_folder(const struct pull_args *a, const char *model, struct buf *out,
                       struct err *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *slash = strchr(model, '/');
    if (a->out)
        buf_text(out, a->out);
    else if (cache && cache[0] == '/')
        buf_printf(out, "%s/kexa/models/%.*s--%s", cache, (int)(slash - model), model, slash + 1);
    else if (home && home[0] == '/')
        buf_printf(out, "%s/.cache/kexa/models/%.*s--%s", home, (int)(slash - model), model,
                   slash + 1);
    else
        return fail(err, ERR_USAGE, "neither XDG_CACHE_HOME nor HOME is set; say --out FOLDER");
    return buf_ok(out, err);
}

static bool run_pull(const void *args, const struct operands *rest, struct err *err)
{
    struct pull_args a = *(const struct pull_args *)args;
    const char *model = rest->at[0], *named = getenv("HF_ENDPOINT"), *token = getenv("HF_TOKEN");
    struct pull p = { .token = token && *token ? token : NULL };
    struct buf folder = { 0 };
    if (!is_model_name(model))
        return fail(err, ERR_USAGE, "\"%.80s\" is no model name; expected OWNER/NAME", model);
    if (!a.hub)
        a.hub = named && *named ? named : "https://huggingface.co";
    if (strncmp(a.hub, "http://", 7) && strncmp(a.hub, "https://", 8))
        return fail(err, ERR_USAGE, "the hub \"%.80s\" is no http:// or https:// address", a.hub);
    bool ok = put_folder(&a, model, &folder, err) && pull_begin(&p, err);
    if (ok) {
        ok = pull_model(&p, &a, model, folder.at, err);
        pull_end(&p);
    }
    buf_release(&folder);
    return ok;
}

#define AT(f) offsetof(struct pull_args, f)
static const struct opt pull_opts[] = {
    O_TEXT("revision", 0, AT(revision), "main", "NAME", "branch, tag or commit"),
    O_TEXT("out", 'o', AT(out), NULL, "FOLDER",
           "where the files go; without it ~/.cache/kexa/models/OWNER--NAME"),
    O_LIST("include", 0, AT(include), "PATTERN",
           "only files whose name matches, like '*.gguf'; without it what a Hugging Face folder "
           "needs"),
    O_FLAG("list", 0, AT(list), "list the files and their sizes, fetch nothing"),
    O_TEXT("hub", 0, AT(hub), NULL, "URL",
           "the hub; without it $HF_ENDPOINT, then https://huggingface.co"),
    O_FLAG("json", 0, AT(json), "print one JSON object"),
    O_END
};
#undef AT

static const struct example examples[] = {
    { "kexa pull LGAI-EXAONE/EXAONE-4.0-1.2B", "the folder's path is printed; give it to -m" },
    { "kexa pull OWNER/NAME --list --include '*'", "what there is" },
    { "kexa pull OWNER/NAME --include '*Q4_K_M*.gguf' -o models", "one file of many" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", pull_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command pull_command = {
    "pull", "fetch a model from a Hugging Face hub", "OWNER/NAME", 1, 1,
    "Fetches the files of a model, checks each against the hub's checksum and prints the folder. "
    "What is there already is kept; what was begun is gone on with, also after Ctrl-C or a lost "
    "connection.  For gated models set HF_TOKEN.",
    examples, groups, sizeof(struct pull_args), run_pull
};
