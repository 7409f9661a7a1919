#include "cmd/pull_fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_interrupt(int sig)
{
    (void)sig;
    stop = 1;
}

bool pull_begin(struct pull *p, struct err *err)
{
    struct sigaction a = { .sa_handler = on_interrupt };
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    p->curl = curl_global_init(CURL_GLOBAL_DEFAULT) == 0 ? curl_easy_init() : NULL;
    p->wait_ms = 250;
    return p->curl || fail(err, ERR_MEMORY, "cannot start libcurl");
}

void pull_end(struct pull *p)
{
    if (p->curl)
        curl_easy_cleanup(p->curl);
    curl_global_cleanup();
}

/* ---- checksums -------------------------------------------------------------------------- */

static uint64_t file_length(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The digest of a file as hex; git: with git's header before the bytes. */
static bool file_digest(const char *path, const EVP_MD *md, bool git, char *hex, struct err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE], piece[65536];
    unsigned n = 0;
    char header[40];
    FILE *f = fopen(path, "rb");
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = f && c && EVP_DigestInit_ex(c, md, NULL);
    int len = snprintf(header, sizeof header, "blob %" PRIu64, file_length(path));
    ok = ok && (!git || EVP_DigestUpdate(c, header, (size_t)len + 1));
    for (size_t got; ok && (got = fread(piece, 1, sizeof piece, f)) > 0;)
        ok = EVP_DigestUpdate(c, piece, got);
    ok = ok && !ferror(f) && EVP_DigestFinal_ex(c, digest, &n);
    for (unsigned i = 0; ok && i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (f)
        fclose(f);
    EVP_MD_CTX_free(c);
    return ok || fail(err, ERR_IO, "%s: cannot compute its checksum", path);
}

/* true: the bytes at `path` are what f says. *same is false when they are not. */
static bool check_content(const struct pull_file *f, const char *path, bool *same,
                          struct err *err)
{
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    *same = f->n_bytes == UINT64_MAX || file_length(path) == f->n_bytes;
    if (*same && f->sha256) {
        if (!file_digest(path, EVP_sha256(), false, hex, err))
            return false;
        *same = !strcmp(hex, f->sha256);
    } else if (*same && f->git_sha1) {
        if (!file_digest(path, EVP_sha1(), true, hex, err))
            return false;
        *same = !strcmp(hex, f->git_sha1);
    }
    return true;
}

/* ---- one transfer ------------------------------------------------------------------------ */

struct sink {
    struct pull *p;
    FILE *file;                           /* a part file, or: */
    struct buf *text;
    const char *path;
    uint64_t at, most;                    /* length so far; more is refused */
    bool asked_range, judged, too_long, full;
};

/* The first bytes tell whether the server took the range: 206, or the whole file again. */
static bool judge(struct sink *s)
{
    long status = 0;
    curl_easy_getinfo(s->p->curl, CURLINFO_RESPONSE_CODE, &status);
    s->judged = true;
    if (s->asked_range && status == 200) {
        s->p->done_bytes -= s->at;
        s->at = 0;
        return fflush(s->file) == 0 && ftruncate(fileno(s->file), 0) == 0
               && fseek(s->file, 0, SEEK_SET) == 0;
    }
    return true;
}

static size_t on_bytes(char *at, size_t size, size_t n, void *arg)
{
    struct sink *s = arg;
    size_t len = size * n;
    if (stop || (!s->judged && !judge(s)))
        return 0;
    if (len > s->most - s->at) {
        s->too_long = true;
        return 0;
    }
    if (s->text)
        buf_put(s->text, at, len);
    else if (fwrite(at, 1, len, s->file) != len) {
        s->full = true;
        return 0;
    }
    s->at += len;
    if (s->file) {
        s->p->done_bytes += len;
        progress_at(&s->p->bar, s->p->done_bytes);
    }
    return s->text && s->text->failed ? 0 : len;
}

static int on_tick(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)arg, (void)a, (void)b, (void)c, (void)d;
    return stop;
}

static void set_options(struct pull *p, const char *url, struct sink *s)
{
    CURL *c = p->curl;
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 8L);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 20L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 30L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "kexa");
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_tick);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
    if (p->token) {                       /* libcurl does not pass it on to another host */
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, p->token);
    }
    if (s->asked_range) {                 /* RESUME_FROM would refuse a server without ranges */
        char range[32];
        snprintf(range, sizeof range, "%" PRIu64 "-", s->at);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

enum verdict { GOT, AGAIN, GIVE_UP };

static enum verdict judge_status(const struct pull *p, const char *url, long status,
                                 struct err *err)
{
    const char *hint = "";
    if (status == 401 || status == 403)
        hint = p->token ? "; is $HF_TOKEN right, and were the model's terms accepted?"
                        : "; the model may be gated: set HF_TOKEN to your access token";
    else if (status == 404)
        hint = "; check the name and the revision";
    fail(err, status == 404 ? ERR_USAGE : ERR_IO, "%s: the server says %ld%s", url, status, hint);
    return status == 408 || status == 429 || status >= 500 ? AGAIN : GIVE_UP;
}

static enum verdict transfer(struct pull *p, const char *url, struct sink *s, struct err *err)
{
    set_options(p, url, s);
    CURLcode code = curl_easy_perform(p->curl);
    long status = 0;
    curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
    if (stop) {
        fail(err, ERR_CANCELLED, "stopped; the same command goes on from here");
        return GIVE_UP;
    }
    if (code == CURLE_OK)
        return GOT;
    if (s->too_long || s->full || (s->text && s->text->failed)) {
        if (s->full)
            fail_errno(err, ERR_IO, "%s: cannot write", s->path);
        else
            fail(err, ERR_FORMAT, "%s: more than the %" PRIu64 " bytes that were announced", url,
                 s->most);
        return GIVE_UP;
    }
    if (code == CURLE_HTTP_RETURNED_ERROR)
        return judge_status(p, url, status, err);
    fail(err, ERR_IO, "%s: %s", url, curl_easy_strerror(code));
    return code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT
           || code == CURLE_PEER_FAILED_VERIFICATION ? GIVE_UP : AGAIN;
}

static void wait_before(const struct pull *p, int attempt)
{
    uint64_t ms = (uint64_t)p->wait_ms << (attempt - 1);
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
    nanosleep(&t, NULL);
}

bool pull_text(struct pull *p, const char *url, struct buf *out, struct err *err)
{
    for (int attempt = 0; attempt < PULL_ATTEMPTS; attempt++) {
        struct sink s = { .p = p, .text = out, .path = url, .most = PULL_JSON_MAX };
        if (attempt)
            wait_before(p, attempt);
        buf_clear(out);
        enum verdict v = transfer(p, url, &s, err);
        if (v != AGAIN)
            return v == GOT && buf_ok(out, err);
    }
    return false;
}

/* One attempt to complete the part file. */
static enum verdict complete_part(struct pull *p, const struct pull_file *f, const char *part,
                                  struct err *err)
{
    struct sink s = { .p = p, .path = part, .most = f->n_bytes, .at = file_length(part) };
    if (f->n_bytes != UINT64_MAX && s.at > f->n_bytes)
        s.at = 0;
    s.file = fopen(part, s.at ? "ab" : "wb");
    s.asked_range = s.at > 0;
    if (!s.file) {
        fail_errno(err, ERR_IO, "%s: cannot write", part);
        return GIVE_UP;
    }
    uint64_t before = p->done_bytes;
    p->done_bytes += s.at;
    enum verdict v = s.at == f->n_bytes ? GOT : transfer(p, f->url, &s, err);
    if (fclose(s.file) != 0 && v == GOT) {
        fail_errno(err, ERR_IO, "%s: cannot write", part);
        v = GIVE_UP;
    }
    if (v == GOT && f->n_bytes != UINT64_MAX && s.at != f->n_bytes) {
        fail(err, ERR_IO, "%s: the connection ended after %" PRIu64 " of %" PRIu64 " bytes",
             f->url, s.at, f->n_bytes);
        v = AGAIN;
    }
    if (v != GOT)
        p->done_bytes = before;
    return v;
}

static bool finish_part(const struct pull_file *f, const char *part, bool *wrong, struct err *err)
{
    bool same = false;
    *wrong = false;
    if (!check_content(f, part, &same, err))
        return false;
    if (!same) {
        *wrong = true;
        unlink(part);
        return fail(err, ERR_FORMAT, "%s: what came is not what was announced (checksum or "
                    "length); it was thrown away", f->url);
    }
    return rename(part, f->path) == 0 || fail_errno(err, ERR_IO, "%s: cannot rename", part);
}

bool pull_one(struct pull *p, const struct pull_file *f, bool *kept, struct err *err)
{
    char part[4200];
    bool wrong = false;
    *kept = false;
    if ((size_t)snprintf(part, sizeof part, "%s.part", f->path) >= sizeof part)
        return fail(err, ERR_USAGE, "the path %s is too long", f->path);
    if (file_exists(f->path) && !check_content(f, f->path, kept, err))
        return false;
    if (*kept) {
        p->done_bytes += f->n_bytes == UINT64_MAX ? 0 : f->n_bytes;
        return true;
    }
    for (int attempt = 0; attempt < PULL_ATTEMPTS; attempt++) {
        if (attempt)
            wait_before(p, attempt);
        enum verdict v = complete_part(p, f, part, err);
        if (v == GOT && finish_part(f, part, &wrong, err))
            return true;
        if (v == GIVE_UP || (v == GOT && (!wrong || attempt >= 1)))
            return false;
    }
    return false;
}
