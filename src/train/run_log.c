#include "train/run_log.h"
#include "kern/cpu.h"
#include "text/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <sys/file.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

enum { LOADS_A_STEP = 64 };

/* ---- opening ------------------------------------------------------------------------- */

bool run_log_parse(struct bytes line, struct bytes *event, uint64_t *step)
{
    static const char head[] = "{\"event\":\"", between[] = "\",\"step\":";
    const uint8_t *at = line.at + sizeof head - 1, *end = line.at + line.len;
    if (line.len < sizeof head - 1 || memcmp(line.at, head, sizeof head - 1))
        return false;
    const uint8_t *quote = memchr(at, '"', (size_t)(end - at));
    if (!quote || (size_t)(end - quote) < sizeof between
        || memcmp(quote, between, sizeof between - 1))
        return false;
    uint64_t n = 0;
    const uint8_t *digit = quote + sizeof between - 1, *first = digit;
    for (; digit < end && *digit >= '0' && *digit <= '9'; digit++)
        if (!mul_u64(n, 10, &n) || !add_u64(n, (uint64_t)(*digit - '0'), &n))
            return false;
    *event = (struct bytes){ at, (size_t)(quote - at) };
    *step = n;
    return digit > first;
}

/* Where the line that ends before `end` (behind its newline) begins. */
static size_t line_before(struct bytes all, size_t end)
{
    size_t at = end - 1;
    while (at > 0 && all.at[at - 1] != '\n')
        at--;
    return at;
}

/* Length of the log up to the last whole line of a step up to `step`. */
static size_t length_until(struct bytes all, uint64_t step)
{
    size_t end = all.len;
    while (end > 0 && all.at[end - 1] != '\n')
        end--;
    while (end > 0) {
        struct bytes event;
        size_t begin = line_before(all, end);
        uint64_t at;
        if (run_log_parse((struct bytes){ all.at + begin, end - begin }, &event, &at)
            && at <= step && !bytes_eq(event, bytes_of("end")))
            break;
        end = begin;
    }
    return step ? end : 0;
}

static bool cut(struct run_log *l, uint64_t step, struct err *err)
{
    struct bytes all;
    if (!file_map_open(&all, l->path, err))
        return false;
    l->n_bytes = length_until(all, step);
    file_map_close(&all);
    return ftruncate(l->fd, (off_t)l->n_bytes) == 0
           || fail_errno(err, ERR_IO, "%s: cannot cut it to %" PRIu64 " bytes", l->path,
                         l->n_bytes);
}

static bool lock(struct run_log *l, struct err *err)
{
    l->fd = open(l->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (l->fd < 0)
        return fail_errno(err, ERR_IO, "%s: cannot write there", l->path);
    if (flock(l->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return true;                      /* no locks on this file system: none is taken */
    return fail(err, ERR_USAGE, "%s: another run is writing it; wait for it or choose another "
                "folder", l->path);
}

bool run_log_open(struct run_log *l, const char *out_dir, uint64_t step, struct err *err)
{
    struct buf path = { 0 };
    *l = (struct run_log){ .fd = -1 };
    if (!folder_make(out_dir, 0777, NULL, err))
        return false;
    buf_printf(&path, "%s/log.jsonl", out_dir);
    bool ok = buf_ok(&path, err);
    l->path = path.at;
    if (ok && lock(l, err) && cut(l, step, err))
        return true;
    run_log_close(l);
    return false;
}

void run_log_close(struct run_log *l)
{
    if (l->path && l->fd >= 0)
        close(l->fd);
    mem_give(l->path);
    buf_release(&l->line);
    *l = (struct run_log){ .fd = -1 };
}

/* ---- pieces of a line ---------------------------------------------------------------- */

static void put_number(struct buf *b, double v)
{
    if (isfinite(v))
        buf_printf(b, "%.17g", v);
    else
        buf_text(b, "null");
}

static void put_member(struct buf *b, const char *name, double v)
{
    buf_printf(b, ",\"%s\":", name);
    put_number(b, v);
}

static void put_whole(struct buf *b, const char *name, uint64_t v)
{
    buf_printf(b, ",\"%s\":%" PRIu64, name, v);
}

static void put_list(struct buf *b, const char *name, const double *v, size_t n)
{
    buf_printf(b, ",\"%s\":[", name);
    for (size_t i = 0; v && i < n; i++) {
        buf_text(b, i ? "," : "");
        put_number(b, v[i]);
    }
    buf_text(b, "]");
}

/* Control characters and what would end the string are escaped; the rest is UTF-8 as it is. */
static void put_string(struct buf *b, const char *name, struct bytes text)
{
    struct detok whole = { 0 };
    struct buf clean = { 0 };
    detok_put(&whole, text, &clean);
    detok_end(&whole, &clean);
    b->failed |= clean.failed;
    buf_printf(b, ",\"%s\":\"", name);
    for (size_t i = 0, from = 0; i <= clean.len; i++) {
        uint8_t c = i < clean.len ? (uint8_t)clean.at[i] : 0;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        buf_put(b, clean.at + from, i - from);
        if (i < clean.len)
            buf_printf(b, c == '\n' ? "\\n" : c == '"' || c == '\\' ? "\\%c" : "\\u%04x", c);
        from = i + 1;
    }
    buf_text(b, "\"");
    buf_release(&clean);
}

static void put_text(struct buf *b, const char *name, const char *text)
{
    put_string(b, name, bytes_of(text ? text : ""));
}

static void begin(struct run_log *l, const char *event, uint64_t step)
{
    buf_clear(&l->line);
    l->line.failed = false;
    buf_printf(&l->line, "{\"event\":\"%s\",\"step\":%" PRIu64, event, step);
}

/* Puts the time at the end and writes the line; of a failed write nothing stays. */
static bool end(struct run_log *l, double seconds, double cpu_seconds, struct err *err)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    buf_printf(&l->line, ",\"time\":{\"unix\":%.3f",
               (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    if (isfinite(seconds))
        put_member(&l->line, "seconds", seconds);
    if (isfinite(cpu_seconds))
        put_member(&l->line, "cpu_seconds", cpu_seconds);
    buf_text(&l->line, "}}\n");
    if (!buf_ok(&l->line, err))
        return false;
    for (size_t done = 0; done < l->line.len; ) {
        ssize_t n = write(l->fd, l->line.at + done, l->line.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fail_errno(err, ERR_IO, "%s: cannot write beyond %" PRIu64 " bytes", l->path,
                       l->n_bytes);
            return ftruncate(l->fd, (off_t)l->n_bytes) == 0 && false;
        }
        done += (size_t)n;
    }
    l->n_bytes += l->line.len;
    return true;
}

/* ---- lines --------------------------------------------------------------------------- */

/* "Intel(R) Xeon(R) ..., 2 CPUs, 16.0 GiB": CPU, CPUs and memory this process may use. */
static void put_machine(struct buf *out)
{
    char cpu[256];
    struct sysinfo s;
    uint64_t limit = sys_memory_limit();
    sys_cpu_name(cpu, sizeof cpu);
    uint64_t memory = sysinfo(&s) == 0 ? (uint64_t)s.totalram * s.mem_unit : 0;
    memory = limit < memory ? limit : memory;
    buf_printf(out, "%s, %d CPU%s, %.1f GiB", cpu, sys_cpus(), sys_cpus() == 1 ? "" : "s",
               (double)memory / 0x1p30);
}

bool run_log_begin(struct run_log *l, uint64_t step, const struct run_facts *f, struct err *err)
{
    struct buf machine = { 0 };
    put_machine(&machine);
    begin(l, step ? "resume" : "start", step);
    put_text(&l->line, "version", f->version);
    put_text(&l->line, "machine", machine.at);
    l->line.failed |= machine.failed;
    buf_release(&machine);
    put_text(&l->line, "cpu_level", cpu_level_name(cpu_level_chosen()));
    put_whole(&l->line, "threads", (uint64_t)f->n_threads);
    put_text(&l->line, "recipe_name", f->recipe_name);
    put_text(&l->line, "recipe", f->recipe);
    put_whole(&l->line, "seed", f->seed);
    put_whole(&l->line, "n_params", f->n_params);
    put_whole(&l->line, "n_active", f->n_active);
    put_whole(&l->line, "n_steps", f->n_steps);
    put_member(&l->line, "roof_flops", f->roof_flops);
    return end(l, NAN, NAN, err);
}

static void put_losses(struct buf *b, const struct step_stats *s)
{
    put_whole(b, "tokens", s->n_tokens);
    put_whole(b, "targets", s->n_targets);
    put_whole(b, "all_tokens", s->all_tokens);
    put_member(b, "loss", s->loss);
    put_member(b, "ce", s->ce);
    put_member(b, "mtp", s->mtp);
    put_member(b, "balance", s->balance);
    put_member(b, "z", s->z);
    put_member(b, "bits_per_byte", s->bits_per_byte);
    put_member(b, "heldout_bits_per_byte", s->heldout_bits_per_byte);
    put_member(b, "lr", s->lr);
    put_member(b, "grad_norm", s->grad_norm);
    buf_printf(b, ",\"clipped\":%s,\"skipped\":%s", s->clipped ? "true" : "false",
               s->skipped ? "true" : "false");
    put_member(b, "flops", s->flops);
    put_member(b, "flops_6nd", s->flops_6nd);
}

static void put_load(struct buf *b, const struct step_stats *s)
{
    uint64_t every = (s->n_sparse * s->n_experts + LOADS_A_STEP - 1) / LOADS_A_STEP;
    if (!every || !s->load || s->step % every)
        return;
    buf_text(b, ",\"load\":[");
    for (size_t i = 0; i < s->n_sparse; i++) {
        buf_text(b, i ? ",[" : "[");
        for (size_t e = 0; e < s->n_experts; e++)
            buf_printf(b, "%s%" PRIu64, e ? "," : "", s->load[i * s->n_experts + e]);
        buf_text(b, "]");
    }
    buf_text(b, "]");
}

bool run_log_step(struct run_log *l, const struct step_stats *s, struct err *err)
{
    const double bias[2] = { s->bias_low, s->bias_high };
    begin(l, "step", s->step);
    put_losses(&l->line, s);
    if (s->n_sparse) {
        put_list(&l->line, "load_max", s->load_max, s->n_sparse);
        put_list(&l->line, "load_dead", s->load_dead, s->n_sparse);
        put_list(&l->line, "entropy", s->entropy, s->n_sparse);
        put_list(&l->line, "bias", bias, 2);
        put_load(&l->line, s);
    }
    return end(l, s->seconds, s->cpu_seconds, err);
}

bool run_log_sample(struct run_log *l, uint64_t step, struct bytes prompt, struct bytes text,
                    struct err *err)
{
    begin(l, "sample", step);
    put_string(&l->line, "prompt", prompt);
    put_string(&l->line, "text", text);
    return end(l, NAN, NAN, err);
}

bool run_log_checkpoint(struct run_log *l, uint64_t step, const char *path, uint64_t n_bytes,
                        double seconds, struct err *err)
{
    begin(l, "checkpoint", step);
    put_text(&l->line, "file", path);
    put_whole(&l->line, "bytes", n_bytes);
    return end(l, seconds, NAN, err);
}

bool run_log_end(struct run_log *l, uint64_t step, const char *why, struct err *err)
{
    begin(l, "end", step);
    put_text(&l->line, "why", why);
    return end(l, NAN, NAN, err);
}

bool run_log_sync(struct run_log *l, struct err *err)
{
    return fdatasync(l->fd) == 0 || errno == EINVAL
           || fail_errno(err, ERR_IO, "%s: cannot write it to the disk", l->path);
}
