#include "format/show.h"

#include <stdio.h>
#include <utf8proc.h>

/* Length of the printable character at the start of `b`, 0 if there is none. */
static size_t printable_len(struct bytes b)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate(b.at, (utf8proc_ssize_t)(b.len < 4 ? b.len : 4), &c);
    if (n <= 0)
        return 0;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO: case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return 0;
    default:
        return (size_t)n;
    }
}

struct shown show_name(struct bytes name)
{
    struct shown s;
    size_t n = 0;
    while (name.len && n + 8 < sizeof s.text) {
        size_t len = printable_len(name);
        if (len)
            memcpy(s.text + n, name.at, len);
        n += len ? len : (size_t)snprintf(s.text + n, 5, "\\x%02x", name.at[0]);
        len += !len;
        name.at += len;
        name.len -= len;
    }
    memcpy(s.text + n, name.len ? "..." : "", name.len ? 4 : 1);
    return s;
}

void show_text(struct buf *out, struct bytes text)
{
    while (text.len) {
        size_t len = printable_len(text);
        if (!len && (*text.at == '\n' || *text.at == '\t'))
            len = 1;
        if (len)
            buf_put(out, text.at, len);
        else
            buf_printf(out, "\\x%02x", text.at[0]);
        len += !len;
        text.at += len;
        text.len -= len;
    }
}

bool name_is_plain(struct bytes name)
{
    bool plain = name.len > 0;
    while (name.len && plain) {
        size_t len = printable_len(name);
        plain = len > 0;
        name.at += len;
        name.len -= len;
    }
    return plain;
}

static bool begins(struct bytes b, const char *text)
{
    return b.len >= strlen(text) && !memcmp(b.at, text, strlen(text));
}

const char *show_kind(struct bytes file)
{
    static const struct { const char *begin, *kind; } kinds[] = {
        { "version https://git-lfs", "a Git LFS pointer, not the model it stands for; "
                                     "fetch the model with 'git lfs pull'" },
        { "GGUF", "a GGUF file" },
        { "lmgg", "a file of the GGML format that came before GGUF; convert it to GGUF" },
        { "fmgg", "a file of the GGMF format that came before GGUF; convert it to GGUF" },
        { "tjgg", "a file of the GGJT format that came before GGUF; convert it to GGUF" },
        { "PK\3\4", "a zip archive (or a PyTorch checkpoint); unpack or convert it" },
        { "\x1f\x8b", "a gzip archive; unpack it" },
        { "\x28\xb5\x2f\xfd", "a zstd archive; unpack it" },
        { "\x93NUMPY", "a NumPy array" },
        { "<!DOCTYPE", "a web page, not a model; the download went wrong" },
        { "<!doctype", "a web page, not a model; the download went wrong" },
        { "<html", "a web page, not a model; the download went wrong" },
        { "<?xml", "an XML text, not a model; the download went wrong" },
        { "{", "a JSON text" },
    };
    if (!file.len)
        return "an empty file; the download went wrong";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (begins(file, kinds[i].begin))
            return kinds[i].kind;
    if (file.len > 10 && file.at[8] == '{' && !file.at[7] && !file.at[6] && !file.at[5])
        return "a safetensors file";
    return NULL;
}
