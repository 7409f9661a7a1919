#include "train/run_history.h"
#include "train/run_log.h"
#include "format/format.h"

#include <inttypes.h>
#include <math.h>

/* ---- members ------------------------------------------------------------------------- */

static double number(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static uint64_t whole(const json_t *o, const char *name)
{
    double v = number(o, name);
    return v >= 0 && v < 1e18 ? (uint64_t)v : 0;
}

static double or_zero(double v)
{
    return isfinite(v) ? v : 0;
}

/* Replaces *at; false: out of memory. */
static bool keep_text(char **at, const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    char *copy = mem_copy_text(text ? text : "", text ? strlen(text) : 0);
    if (!copy)
        return false;
    mem_give(*at);
    *at = copy;
    return true;
}

/* ---- lines --------------------------------------------------------------------------- */

static void begin_release(struct run_begin *b)
{
    mem_give(b->version);
    mem_give(b->machine);
    mem_give(b->cpu_level);
}

static bool add_begin(struct run_history *h, uint64_t step, const json_t *o)
{
    if (h->n_begins == STARTS_MOST) {     /* the first stays, the second oldest goes */
        begin_release(&h->begins[1]);
        memmove(&h->begins[1], &h->begins[2], (STARTS_MOST - 2) * sizeof *h->begins);
        h->n_begins--;
    }
    struct run_begin *b = &h->begins[h->n_begins++];
    *b = (struct run_begin){ .step = step, .n_threads = whole(o, "threads"),
                             .unix_time = number(json_object_get(o, "time"), "unix") };
    h->all_begins++;
    h->n_params = whole(o, "n_params");
    h->n_active = whole(o, "n_active");
    h->n_steps = whole(o, "n_steps");
    h->seed = whole(o, "seed");
    h->roof_now = number(o, "roof_flops");
    mem_give(h->why);
    h->why = NULL;
    return keep_text(&b->version, o, "version") && keep_text(&b->machine, o, "machine")
           && keep_text(&b->cpu_level, o, "cpu_level") && keep_text(&h->recipe, o, "recipe")
           && keep_text(&h->recipe_name, o, "recipe_name");
}

static void sample_release(struct run_sample *s)
{
    mem_give(s->prompt);
    mem_give(s->text);
}

/* When there are too many every other one goes, the first stays. */
static bool add_sample(struct run_history *h, uint64_t step, const json_t *o)
{
    if (h->n_samples == SAMPLES_MOST) {
        for (size_t i = 0; i < SAMPLES_MOST / 2; i++) {
            sample_release(&h->samples[2 * i + 1]);
            h->samples[i] = h->samples[2 * i];
        }
        h->n_samples /= 2;
    }
    struct run_sample *s = &h->samples[h->n_samples++];
    *s = (struct run_sample){ .step = step };
    return keep_text(&s->prompt, o, "prompt") && keep_text(&s->text, o, "text");
}

static bool add_checkpoint(struct run_history *h, uint64_t step, const json_t *o)
{
    h->n_checkpoints++;
    h->checkpoint_step = step;
    h->checkpoint_bytes = whole(o, "bytes");
    return keep_text(&h->checkpoint, o, "file");
}

/* One number a layer into its series; the first such list fixes how many layers there are. */
static bool add_layers(struct run_history *h, struct series **into, uint64_t step,
                       const json_t *list)
{
    size_t n = json_array_size(list);
    if (!n || n > LAYERS_MOST || (h->n_layers && n != h->n_layers))
        return true;
    if (!*into && !(*into = mem_take(n, sizeof **into)))
        return false;
    h->n_layers = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        (*into)[i].most = LAYER_POINTS;
        if (json_is_number(v) && !series_add(&(*into)[i], step, json_number_value(v)))
            return false;
    }
    return true;
}

/* The table of tokens of each expert, if it has the shape of those before it. */
static bool add_load(struct run_history *h, uint64_t step, const json_t *rows)
{
    size_t layers = json_array_size(rows);
    size_t experts = json_array_size(json_array_get(rows, 0));
    if (!layers || !experts || layers > LAYERS_MOST || experts > EXPERTS_MOST
        || (h->heat.at && (layers != h->heat.layers || experts != h->heat.experts)))
        return true;
    double *load = mem_take(layers * experts, sizeof *load);
    if (!load)
        return false;
    bool even = true;
    for (size_t i = 0; i < layers; i++) {
        const json_t *row = json_array_get(rows, i);
        even = even && json_array_size(row) == experts;
        for (size_t e = 0; even && e < experts; e++)
            load[i * experts + e] = fmax(0, json_number_value(json_array_get(row, e)));
    }
    bool ok = !even || heat_add(&h->heat, step, load, layers, experts);
    mem_give(load);
    return ok;
}

static bool add_curves(struct run_history *h, uint64_t step, const json_t *o)
{
    const json_t *time = json_object_get(o, "time");
    double seconds = number(time, "seconds"), cpu = number(time, "cpu_seconds");
    bool clipped = json_is_true(json_object_get(o, "clipped"));
    h->seconds += or_zero(seconds);
    h->cpu_seconds += or_zero(cpu);
    h->roof_work += h->roof_now * or_zero(seconds);
    h->flops += or_zero(number(o, "flops"));
    h->flops_6nd += or_zero(number(o, "flops_6nd"));
    h->all_clips += clipped;
    return series_add(&h->loss, step, number(o, "loss"))
           && series_add(&h->ce, step, number(o, "ce"))
           && series_add(&h->mtp, step, number(o, "mtp"))
           && series_add(&h->balance, step, number(o, "balance"))
           && series_add(&h->bits_per_byte, step, number(o, "bits_per_byte"))
           && series_add(&h->heldout_bits_per_byte, step, number(o, "heldout_bits_per_byte"))
           && series_add(&h->lr, step, number(o, "lr"))
           && series_add(&h->grad_norm, step, number(o, "grad_norm"))
           && series_add(&h->clipped, step, clipped)
           && series_add(&h->tokens_per_second, step, number(o, "tokens") / seconds)
           && series_add(&h->roof_share, step, number(o, "flops") / seconds / h->roof_now)
           && series_add(&h->cpus, step, cpu / seconds);
}

static bool add_step(struct run_history *h, uint64_t step, const json_t *o)
{
    if (json_is_true(json_object_get(o, "skipped"))) {
        if (h->n_skips < SKIPS_MOST) {
            h->skips[h->n_skips].step = step;
            h->skips[h->n_skips++].grad_norm = number(o, "grad_norm");
        }
        h->all_skips++;
    }
    h->last_step = step;
    h->n_logged++;
    h->all_tokens = whole(o, "all_tokens");
    return add_curves(h, step, o)
           && add_layers(h, &h->entropy, step, json_object_get(o, "entropy"))
           && add_layers(h, &h->load_max, step, json_object_get(o, "load_max"))
           && add_layers(h, &h->load_dead, step, json_object_get(o, "load_dead"))
           && add_load(h, step, json_object_get(o, "load"));
}

static bool add_line(struct run_history *h, struct bytes event, uint64_t step, const json_t *o)
{
    if (bytes_eq(event, bytes_of("step")))
        return add_step(h, step, o);
    if (bytes_eq(event, bytes_of("start")) || bytes_eq(event, bytes_of("resume")))
        return add_begin(h, step, o);
    if (bytes_eq(event, bytes_of("sample")))
        return add_sample(h, step, o);
    if (bytes_eq(event, bytes_of("checkpoint")))
        return add_checkpoint(h, step, o);
    if (bytes_eq(event, bytes_of("end")))
        return keep_text(&h->why, o, "why");
    return true;                          /* of a later version */
}

/* ---- the file ------------------------------------------------------------------------ */

/* false: out of memory, the only failure. */
static bool read_line(struct run_history *h, struct bytes line, uint64_t n_line,
                      const char *path, struct err *err)
{
    struct bytes event;
    struct err why;
    uint64_t step;
    json_t *o = NULL;
    bool ok = true, sound = run_log_parse(line, &event, &step) && step < UINT64_C(1) << 53
                            && (o = json_load_bytes(line, path, &why));
    bool is_step = sound && bytes_eq(event, bytes_of("step"));
    if (!sound || step < h->last_step || (is_step && step == h->last_step)) {
        h->torn_line = h->n_torn++ ? h->torn_line : n_line;
    } else {
        ok = add_line(h, event, step, o);
    }
    json_decref(o);
    return ok || fail(err, ERR_MEMORY, "%s: out of memory at line %" PRIu64, path, n_line);
}

static bool read_lines(struct run_history *h, struct bytes all, const char *path,
                       struct err *err)
{
    uint64_t n_line = 1;
    for (size_t at = 0; at < all.len; n_line++) {
        const uint8_t *end = memchr(all.at + at, '\n', all.len - at);
        size_t len = end ? (size_t)(end - (all.at + at)) : all.len - at;
        if (!read_line(h, (struct bytes){ all.at + at, len }, n_line, path, err))
            return false;
        at += len + 1;
    }
    if (h->n_logged)
        return true;
    return fail(err, ERR_FORMAT, "%s: no step in its %" PRIu64 " lines; expected the log that "
                "`kexa pretrain` writes", path, n_line - 1);
}

bool run_history_load(struct run_history *h, const char *path, struct err *err)
{
    struct bytes all;
    *h = (struct run_history){ .roof_now = NAN };
#define X(name) h->name.most = CURVE_POINTS;
    CURVES(X)
#undef X
    if (!file_map_open(&all, path, err))
        return false;
    bool ok = read_lines(h, all, path, err);
    file_map_close(&all);
    h->roof_flops = h->roof_work / h->seconds;
    if (!ok)
        run_history_release(h);
    return ok;
}

void run_history_release(struct run_history *h)
{
#define X(name) series_release(&h->name);
    CURVES(X)
#undef X
    for (size_t i = 0; i < h->n_layers; i++) {
        if (h->entropy)
            series_release(&h->entropy[i]);
        if (h->load_max)
            series_release(&h->load_max[i]);
        if (h->load_dead)
            series_release(&h->load_dead[i]);
    }
    mem_give(h->entropy);
    mem_give(h->load_max);
    mem_give(h->load_dead);
    heat_release(&h->heat);
    for (size_t i = 0; i < h->n_samples; i++)
        sample_release(&h->samples[i]);
    for (size_t i = 0; i < h->n_begins; i++)
        begin_release(&h->begins[i]);
    mem_give(h->recipe);
    mem_give(h->recipe_name);
    mem_give(h->why);
    mem_give(h->checkpoint);
    *h = (struct run_history){ 0 };
}
