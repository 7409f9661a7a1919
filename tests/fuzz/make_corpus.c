/*
 * make_corpus FOLDER: writes the valid files (ok-*) of the fuzz corpora into
 * FOLDER/gguf, safetensors, tokenizer, gguf_tokenizer, session, checkpoint, shard and jsonl, which
 * must exist.  Lies about the first two come from the format tests (KEXA_KEEP_LIES); `make
 * fuzz-corpora` does both.
 */
#include "../unit/format/gguf_build.h"
#include "data/data.h"
#include "session_rig.h"
#include "train/checkpoint_file.h"

#include <math.h>
#include <stdio.h>
#include <zstd.h>

static const char *root;

static void keep(const char *name, struct buf *file)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "wb");
    check(f != NULL && !file->failed);
    check(fwrite(file->at, 1, file->len, f) == file->len);
    check(fclose(f) == 0);
    buf_release(file);
}

static void keep_text(const char *name, const char *text)
{
    struct buf file = { 0 };
    buf_text(&file, text);
    keep(name, &file);
}

static void make_gguf(void)
{
    struct gguf_build b;
    struct buf file = gguf_build_sample();
    keep("gguf/ok-sample", &file);
    gguf_build_begin(&b);
    b.version = 2;
    gguf_build_tensor(&b, "token_embd.weight", 32, 2, QT_Q4_1, 40);
    gguf_build_tensor(&b, "output_norm.weight", 256, 0, QT_Q6_K, 210);
    gguf_build_tensor(&b, "new", 8, 0, 300, 8);
    file = gguf_build_end(&b);
    keep("gguf/ok-version-2", &file);
    gguf_build_begin(&b);
    file = gguf_build_end(&b);
    keep("gguf/ok-bare", &file);
}

static void make_safetensors(void)
{
    static const char *const headers[] = {
        "{}", "{\"__metadata__\":{\"format\":\"pt\"}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]},"
        "\"c\":{\"dtype\":\"U8\",\"shape\":[0,3],\"data_offsets\":[10,10]},"
        "\"d\":{\"dtype\":\"F4\",\"shape\":[1,2,1,2],\"data_offsets\":[10,12]}}  ",
    };
    char name[64];
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct buf file = { 0 };
        put_string(&file, headers[i], strlen(headers[i]));
        for (int k = 0; k < 12 && i == 2; k++)
            put_number(&file, (uint64_t)k, 1);
        snprintf(name, sizeof name, "safetensors/ok-%zu", i);
        keep(name, &file);
    }
}

/* The character that stands for a byte in GPT-2's table, as UTF-8. */
static const char *byte_char(int byte)
{
    static char text[4];
    int c = byte, n = 0;
    for (int i = 0; i < 256; i++) {
        bool plain = (i > 32 && i < 127) || (i > 160 && i != 173);
        n += !plain;
        if (i == byte && !plain)
            c = 255 + n;
    }
    snprintf(text, sizeof text, c < 128 ? "%c" : "%c%c", c < 128 ? c : 0xc0 | c >> 6,
             0x80 | (c & 63));
    return text;
}

static const char *const merges[] = { "l l", "h e", "ll o", "he llo", "\xc4\xa0 he",
                                      "\xc4\xa0he llo", "1 2" };
static const char *const merged[] = { "ll", "he", "llo", "hello", "\xc4\xa0he",
                                      "\xc4\xa0hello", "12" };
enum { N_MERGES = sizeof merges / sizeof *merges };

static void make_tokenizer_json(const char *name, const char *pre, const char *nfc,
                                const char *post)
{
    struct buf b = { 0 };
    buf_printf(&b, "{\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,"
               "\"added_tokens\":[{\"id\":263,\"content\":\"<|end|>\",\"special\":true},"
               "{\"id\":264,\"content\":\"<t>\",\"special\":false,\"lstrip\":true,"
               "\"normalized\":true}],\"model\":{\"type\":\"BPE\",\"vocab\":{", nfc, pre, post);
    for (int i = 0; i < 256; i++) {
        const char *c = byte_char(i);
        buf_printf(&b, "\"%s%s\":%d,", *c == '"' || *c == '\\' ? "\\" : "", c, i);
    }
    for (int i = 0; i < N_MERGES; i++)
        buf_printf(&b, "\"%s\":%d%s", merged[i], 256 + i,
                   i + 1 < N_MERGES ? "," : "},\"merges\":[");
    for (int i = 0; i < N_MERGES; i++)
        buf_printf(&b, "\"%s\"%s", merges[i], i + 1 < N_MERGES ? "," : "]}}");
    keep(name, &b);
}

static void make_gguf_tokenizer(const char *name, const char *pre)
{
    struct gguf_build b;
    struct buf tokens = { 0 }, types = { 0 };
    gguf_build_begin(&b);
    gguf_build_string(&b, "tokenizer.ggml.model", "gpt2");
    gguf_build_string(&b, "tokenizer.ggml.pre", pre);
    for (int i = 0; i < 256 + N_MERGES + 1; i++) {
        const char *text = i < 256 ? byte_char(i) : i < 256 + N_MERGES ? merged[i - 256]
                                                                        : "<|im_end|>";
        put_string(&tokens, text, strlen(text));
        put_number(&types, i < 256 + N_MERGES ? 1 : 3, 1);
    }
    gguf_build_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, 257 + N_MERGES, &tokens);
    gguf_build_array(&b, "tokenizer.ggml.token_type", GGUF_U8, 257 + N_MERGES, &types);
    gguf_build_strings(&b, "tokenizer.ggml.merges", merges, N_MERGES);
    gguf_build_number(&b, "tokenizer.ggml.bos_token_id", GGUF_U32, 1);
    gguf_build_number(&b, "tokenizer.ggml.eos_token_id", GGUF_U32, 263);
    gguf_build_number(&b, "tokenizer.ggml.add_bos_token", GGUF_BOOL, 1);
    gguf_build_string(&b, "tokenizer.chat_template", "{{ messages }}<|im_start|>");
    struct buf file = gguf_build_end(&b);
    keep(name, &file);
}

static void put_piece(struct buf *tokens, struct buf *types, struct buf *scores,
                      const char *text, int type, float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    put_string(tokens, text, strlen(text));
    put_number(types, (uint64_t)type, 4);
    put_number(scores, bits, 4);
}

/* SentencePiece: unknown, control and byte tokens, then pieces with scores. */
static void make_spm(const char *name)
{
    static const char *const pieces[] = {
        "l", "o", "h", "e", "\xe2\x96\x81", "ll", "he", "llo", "\xe2\x96\x81he",
        "\xe2\x96\x81hello", "\xea\xb0\x80", "d\xe2\x96\x81he", "d",
    };
    enum { N = sizeof pieces / sizeof *pieces };
    struct gguf_build b;
    struct buf tokens = { 0 }, types = { 0 }, scores = { 0 };
    char byte[8];
    gguf_build_begin(&b);
    gguf_build_string(&b, "tokenizer.ggml.model", "llama");
    put_piece(&tokens, &types, &scores, "<unk>", 2, 0);
    put_piece(&tokens, &types, &scores, "<s>", 3, 0);
    put_piece(&tokens, &types, &scores, "  ", 4, 0);
    for (int i = 0; i < 256; i++) {
        snprintf(byte, sizeof byte, "<0x%02X>", i);
        put_piece(&tokens, &types, &scores, byte, 6, 0);
    }
    for (int i = 0; i < N; i++)
        put_piece(&tokens, &types, &scores, pieces[i], 1, (float)-i);
    gguf_build_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, 259 + N, &tokens);
    gguf_build_array(&b, "tokenizer.ggml.token_type", GGUF_I32, 259 + N, &types);
    gguf_build_array(&b, "tokenizer.ggml.scores", GGUF_F32, 259 + N, &scores);
    gguf_build_number(&b, "tokenizer.ggml.bos_token_id", GGUF_U32, 1);
    gguf_build_number(&b, "tokenizer.ggml.unknown_token_id", GGUF_U32, 0);
    gguf_build_number(&b, "tokenizer.ggml.add_space_prefix", GGUF_BOOL, 0);
    struct buf file = gguf_build_end(&b);
    keep(name, &file);
}


/* A number at an offset of a saved session, with the checksum made right again. */
static void keep_session_lie(const char *name, const struct buf *good, size_t at, uint32_t value)
{
    struct buf file = { 0 };
    buf_put(&file, good->at, good->len);
    check(buf_ok(&file, NULL));
    memcpy(file.at + at, &value, sizeof value);
    session_rig_sum((uint8_t *)file.at, file.len);
    keep(name, &file);
}

static void make_session(void)
{
    struct session *s = session_rig_open();
    struct sampler_options o;
    struct err err;
    const uint32_t ids[] = { 5, 100, 0, 7 };
    struct buf file = session_rig_save(s);
    keep("session/ok-empty", &file);
    sampler_options_init(&o);
    o.temperature = 0.5;
    o.n_bias = 2;
    o.bias[0] = (struct sampler_bias){ 3, -INFINITY };
    check(session_sampling(s, &o, &err) && session_add(s, ids, 4, &err));
    file = session_rig_save(s);
    keep_session_lie("session/lie-version", &file, 8, 2);
    keep_session_lie("session/lie-model", &file, 16, 1);
    keep_session_lie("session/lie-context", &file, 28, 1u << 31);
    keep_session_lie("session/lie-tokens", &file, 40, 5);
    keep_session_lie("session/lie-kv-bytes", &file, 56, 64);
    keep_session_lie("session/lie-temperature", &file, 68, 0xbff00000);
    keep_session_lie("session/lie-biases", &file, 152, 100000000);
    keep_session_lie("session/lie-bias", &file, 160, 101);
    keep_session_lie("session/lie-id", &file, 176, 101);
    keep("session/ok-four", &file);
    session_rig_close(s);
}

/* A byte of a checkpoint is another; the target makes the checksums right. */
static void keep_checkpoint_lie(const char *name, const struct buf *good, size_t at, int value)
{
    struct buf file = { 0 };
    buf_put(&file, good->at, good->len);
    check(buf_ok(&file, NULL));
    file.at[at] = (char)value;
    keep(name, &file);
}

static void make_checkpoint(void)
{
    float weights[33] = { 1, 2, 3 };
    const struct checkpoint_part parts[] = {
        { "model.embed_tokens.weight", weights, sizeof weights }, { "none", NULL, 0 },
        { "loader", weights, 5 } };
    struct file_out out;
    char path[1024];
    for (size_t n = 0; n <= 3; n += 3) {
        snprintf(path, sizeof path, "%s/checkpoint/ok-%zu", root, n);
        check(file_out_begin(&out, path, NULL)
              && checkpoint_file_write(&out, 7, bytes_of("{\"recipe\":\"a = 1\\n\"}"), parts, n,
                                       NULL)
              && file_out_end(&out, NULL));
    }
    struct buf good = { 0 };
    check(file_read(&good, path, 1 << 20, NULL));
    keep_checkpoint_lie("checkpoint/lie-version", &good, 8, 2);
    keep_checkpoint_lie("checkpoint/lie-sections", &good, 12, 4);
    keep_checkpoint_lie("checkpoint/lie-file-bytes", &good, 24, 65);
    keep_checkpoint_lie("checkpoint/lie-json", &good, 34, 1);
    keep_checkpoint_lie("checkpoint/lie-table", &good, 40, 0);
    keep_checkpoint_lie("checkpoint/lie-place", &good, 64 + 20, 64);
    keep_checkpoint_lie("checkpoint/lie-bytes", &good, 64 + 20 + 8, 255);
    keep_checkpoint_lie("checkpoint/lie-no-name", &good, 64 + 20 + 24, 0);
    keep_checkpoint_lie("checkpoint/lie-padding", &good, good.len - 1, 1);
    buf_release(&good);
}

/* Two shards, and one with a token beyond its vocabulary, whose sums are right. */
static void make_shards(void)
{
    static const uint32_t ids[] = { 5, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5 };
    static const size_t length[] = { 3, 0, 5, 1, 2 };
    struct shard_kind kind = { .tokenizer = 7, .vocab = 10 };
    struct shard_writer w;
    char path[4200];
    size_t at = 0;
    snprintf(path, sizeof path, "%s/shard/ok-five", root);
    check(shard_writer_begin(&w, path, &kind, NULL));
    for (size_t i = 0; i < 5; at += length[i++])
        check(shard_writer_put(&w, ids + at, length[i], length[i], NULL));
    check(shard_writer_finish(&w, NULL) && shard_writer_name(&w, NULL));
    snprintf(path, sizeof path, "%s/shard/ok-empty", root);
    check(shard_writer_begin(&w, path, &kind, NULL));
    check(shard_writer_finish(&w, NULL) && shard_writer_name(&w, NULL));
    kind.vocab = 9;                       /* and there is a 9 */
    snprintf(path, sizeof path, "%s/shard/lie-vocabulary", root);
    check(shard_writer_begin(&w, path, &kind, NULL) && shard_writer_put(&w, ids, 11, 11, NULL));
    check(shard_writer_finish(&w, NULL) && shard_writer_name(&w, NULL));
}

static void make_lines(void)
{
    static const char lines[] =
        "{\"text\": \"a\\n\\\"b\\\" \\\\ \\t \xea\xb0\x80\", \"id\": \"x-1\", \"rating\": 10}\n"
        "\n {\"lang\":null,\"text\":\"\\ud83d\\ude00 \\u0000\",\"n\":[1.5,-2e3,{\"text\":5}]} \r\n"
        "{\"id\":\"\",\"license\":\"CC0-1.0\",\"text\":\"\",\"n\":123456789012345}";
    char packed[512];
    struct buf file = { 0 };
    size_t half = sizeof lines / 2;
    size_t n = ZSTD_compress(packed, sizeof packed, lines, half, 3);
    n += ZSTD_compress(packed + n, sizeof packed - n, lines + half, sizeof lines - 1 - half, 3);
    buf_put(&file, packed, n);
    keep("jsonl/ok-packed", &file);
    buf_put(&file, packed, n - 3);
    keep("jsonl/lie-packed", &file);
    keep_text("jsonl/ok-lines", lines);
    keep_text("jsonl/lie-number", "{\"text\":\"a\"}\n{\"text\":5}\n{\"text\":\"b\"}\n");
    buf_printf(&file, "{\"%063d\":1,\"%064d\":2,\"text\":\"keys\"}", 1, 2);
    keep("jsonl/ok-keys", &file);
    keep_text("jsonl/lie-license", "{\"text\":\"a\",\"license\":[]}\n");
    keep_text("jsonl/lie-lang", "{\"text\":\"a\",\"lang\":7}\n");
    keep_text("jsonl/lie-list", "[1]\n");
    keep_text("jsonl/lie-open", "{\"text\":\"a\"}\n{\"text\":\"b\n\"}\n");
    keep_text("jsonl/lie-twice", "{\"text\":\"a\",\"text\":\"b\"}\n");
    keep_text("jsonl/lie-utf8", "{\"text\":\"\xed\xa0\x80\"}\n");
    keep_text("jsonl/lie-surrogate", "{\"text\":\"\\ud800\"}\n");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus FOLDER\n");
        return 2;
    }
    root = argv[1];
    make_gguf();
    make_safetensors();
    make_session();
    make_shards();
    make_checkpoint();
    make_lines();
    make_tokenizer_json("tokenizer/ok-gpt2", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                        "\"use_regex\":true}", "null", "null");
    make_tokenizer_json("tokenizer/ok-smollm", "{\"type\":\"Sequence\",\"pretokenizers\":["
                        "{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"ByteLevel\","
                        "\"add_prefix_space\":false,\"use_regex\":true}]}", "{\"type\":\"NFC\"}",
                        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
                        "\"<|end|>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
                        "\"special_tokens\":{\"<|end|>\":{\"ids\":[263]}}}");
    keep_text("tokenizer/lie-model", "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}");
    keep_text("tokenizer/lie-vocab", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},"
              "\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}");
    keep_text("tokenizer/lie-merge", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},"
              "\"merges\":[\"a b\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}");
    make_gguf_tokenizer("gguf_tokenizer/ok-smollm", "smollm");
    make_gguf_tokenizer("gguf_tokenizer/ok-exaone-moe", "exaone-moe");
    make_spm("gguf_tokenizer/ok-spm");
    return 0;
}
