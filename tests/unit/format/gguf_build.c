#include "gguf_build.h"

void put_number(struct buf *out, uint64_t bits, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        buf_put(out, &(uint8_t){ (uint8_t)(bits >> (8 * i)) }, 1);
}

void put_string(struct buf *out, const char *text, size_t len)
{
    put_number(out, len, 8);
    buf_put(out, text, len);
}

void gguf_build_begin(struct gguf_build *b)
{
    *b = (struct gguf_build){ .version = 3, .alignment = 32 };
}

static void pad(struct buf *out, uint64_t alignment)
{
    while (out->len % alignment)
        buf_put(out, "", 1);
}

struct buf gguf_build_end(struct gguf_build *b)
{
    struct buf file = { 0 };
    buf_text(&file, "GGUF");
    put_number(&file, b->version, 4);
    put_number(&file, b->n_tensors, 8);
    put_number(&file, b->n_keys, 8);
    buf_put(&file, b->keys.at, b->keys.len);
    buf_put(&file, b->infos.at, b->infos.len);
    pad(&file, b->alignment);
    buf_put(&file, b->data.at, b->data.len);
    buf_release(&b->keys);
    buf_release(&b->infos);
    buf_release(&b->data);
    check(!file.failed);
    return file;
}

static void begin_key(struct gguf_build *b, const char *key, enum gguf_type type)
{
    put_string(&b->keys, key, strlen(key));
    put_number(&b->keys, type, 4);
    b->n_keys++;
}

void gguf_build_number(struct gguf_build *b, const char *key, enum gguf_type type, uint64_t bits)
{
    static const uint8_t n_bytes[N_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    begin_key(b, key, type);
    put_number(&b->keys, bits, n_bytes[type]);
}

void gguf_build_f64(struct gguf_build *b, const char *key, enum gguf_type type, double value)
{
    float narrow = (float)value;
    uint64_t bits = 0;
    uint32_t low;
    memcpy(&bits, &value, sizeof bits);
    memcpy(&low, &narrow, sizeof low);
    gguf_build_number(b, key, type, type == GGUF_F32 ? low : bits);
}

void gguf_build_string(struct gguf_build *b, const char *key, const char *text)
{
    begin_key(b, key, GGUF_STRING);
    put_string(&b->keys, text, strlen(text));
}

void gguf_build_array(struct gguf_build *b, const char *key, enum gguf_type elem, uint64_t n,
                      struct buf *raw)
{
    begin_key(b, key, GGUF_ARRAY);
    put_number(&b->keys, elem, 4);
    put_number(&b->keys, n, 8);
    buf_put(&b->keys, raw->at, raw->len);
    buf_release(raw);
}

void gguf_build_strings(struct gguf_build *b, const char *key, const char *const *text, size_t n)
{
    struct buf raw = { 0 };
    for (size_t i = 0; i < n; i++)
        put_string(&raw, text[i], strlen(text[i]));
    gguf_build_array(b, key, GGUF_STRING, n, &raw);
}

void gguf_build_info(struct gguf_build *b, const char *name, uint32_t n_dims, const uint64_t *ne,
                     uint32_t ggml_type, uint64_t offset)
{
    put_string(&b->infos, name, strlen(name));
    put_number(&b->infos, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++)
        put_number(&b->infos, ne[i], 8);
    put_number(&b->infos, ggml_type, 4);
    put_number(&b->infos, offset, 8);
    b->n_tensors++;
}

void gguf_build_tensor(struct gguf_build *b, const char *name, uint64_t ne0, uint64_t ne1,
                       uint32_t ggml_type, size_t n_bytes)
{
    uint64_t ne[2] = { ne0, ne1 };
    pad(&b->data, b->alignment);
    gguf_build_info(b, name, ne1 ? 2 : 1, ne, ggml_type, b->data.len);
    for (size_t i = 0; i < n_bytes; i++)
        put_number(&b->data, i * 7 + n_bytes, 1);
}

static void build_values(struct gguf_build *b)
{
    gguf_build_number(b, "a.u8", GGUF_U8, 250);
    gguf_build_number(b, "a.i8", GGUF_I8, (uint64_t)-3);
    gguf_build_number(b, "a.u16", GGUF_U16, 65000);
    gguf_build_number(b, "a.i16", GGUF_I16, (uint64_t)-30000);
    gguf_build_number(b, "a.u32", GGUF_U32, 4000000000u);
    gguf_build_number(b, "a.i32", GGUF_I32, (uint64_t)-2000000000);
    gguf_build_f64(b, "a.f32", GGUF_F32, 0.1);
    gguf_build_number(b, "a.bool", GGUF_BOOL, 1);
    gguf_build_string(b, "a.string", "\xea\xb0\x80 b\x1b[31m\n");
    gguf_build_number(b, "a.u64", GGUF_U64, 1ull << 63);
    gguf_build_number(b, "a.i64", GGUF_I64, 1ull << 63);
    gguf_build_f64(b, "a.f64", GGUF_F64, 1e-300);
}

struct buf gguf_build_sample(void)
{
    static const char *const words[] = { "one", "", "three" };
    struct gguf_build b;
    struct buf raw = { 0 };
    gguf_build_begin(&b);
    gguf_build_string(&b, "general.architecture", "llama");
    gguf_build_number(&b, "general.alignment", GGUF_U32, b.alignment = 64);
    build_values(&b);
    for (int i = -1; i < 8; i++)
        put_number(&raw, (uint64_t)(int64_t)i, 2);
    gguf_build_array(&b, "b.i16", GGUF_I16, 9, &raw);
    put_number(&raw, 0x010001, 3);
    gguf_build_array(&b, "b.bool", GGUF_BOOL, 3, &raw);
    gguf_build_strings(&b, "b.string", words, 3);
    gguf_build_array(&b, "b.none", GGUF_U32, 0, &raw);
    put_number(&raw, GGUF_U8, 4);
    put_number(&raw, 2, 8);
    put_number(&raw, 0x0201, 2);
    gguf_build_array(&b, "b.array", GGUF_ARRAY, 1, &raw);
    gguf_build_tensor(&b, "x.weight", 3, 2, QT_F32, 24);
    gguf_build_tensor(&b, "y.weight", 64, 0, QT_Q8_0, 68);
    gguf_build_tensor(&b, "z.foreign", 256, 0, 16, 66);
    return gguf_build_end(&b);
}
