#include "train/train_disk.h"
#include "train/checkpoint_folder.h"
#include "train/params.h"
#include "train/schedule.h"

/* Checkpoints that the run writes, up to its end. */
static uint64_t count_saves(const struct train_recipe *r)
{
    uint64_t every = r->run.checkpoint_every, steps = r->run.steps;
    uint64_t branch = schedule_branches(r);
    return every ? steps / every + (steps % every != 0) + (branch % every != 0) : 1;
}

static uint64_t count_most(const struct train_recipe *r)
{
    uint64_t saves = count_saves(r), held = r->run.checkpoint_every && schedule_branches(r);
    uint64_t most = r->run.keep + held + 1;
    return saves < most ? saves : most;
}

static uint64_t count_there(const char *out)
{
    struct checkpoint_folder folder;
    struct err none;
    uint64_t n = 0, step = UINT64_MAX;
    if (!out || !checkpoint_folder_init(&folder, out, &none))
        return 0;
    while (checkpoint_folder_below(&folder, step, &step))
        n++;
    return n;
}

/* Where OUT will be: in the nearest folder above it that is there. */
static uint64_t free_at(const char *out)
{
    char path[4200];
    int n = out ? snprintf(path, sizeof path, "%s/", out) : -1;
    if (n < 0 || (size_t)n >= sizeof path)
        return UINT64_MAX;
    for (char *slash; (slash = strrchr(path, '/')) && slash > path; *slash = 0) {
        slash[1] = 0;
        if (file_is_dir(path))
            break;
    }
    return sys_disk_free(path);
}

void train_disk_plan(struct train_disk *out, const struct train_recipe *r, const struct plan *p)
{
    bool muon = r->optimizer.kind == OPTIMIZER_MUON;
    struct train_disk d = { .n = count_most(r), .there = count_there(r->run.out),
                            .checkpoint = params_saved_bytes(p, muon),
                            .model = params_model_bytes(p, r->run.dtype == TRAIN_BF16),
                            .available = free_at(r->run.out) };
    uint64_t left = d.n > d.there ? d.n - d.there : 1;
    if (!mul_u64(left, d.checkpoint, &d.total) || !add_u64(d.total, d.model, &d.total))
        d.total = UINT64_MAX;
    *out = d;
}

void train_disk_line(const struct train_disk *d, struct buf *out)
{
    buf_printf(out, "%llu checkpoint%s of ", (unsigned long long)d->n, d->n == 1 ? "" : "s");
    put_size(out, d->checkpoint);
    if (d->there)
        buf_printf(out, ", %llu there already,", (unsigned long long)d->there);
    buf_text(out, " + ");
    put_size(out, d->model);
    buf_text(out, " of model = ");
    put_size(out, d->total);
    if (d->available == UINT64_MAX)
        return;
    buf_text(out, " of ");
    put_size(out, d->available);
    buf_text(out, " free");
}

bool train_disk_check(const struct train_disk *d, const struct train_recipe *r, struct err *err)
{
    struct buf line = { 0 };
    if (d->total <= d->available)
        return true;
    train_disk_line(d, &line);
    fail(err, ERR_IO, "%s: the disk of %s has no room for the run: %s.  Make room, name another "
         "folder (--out) or keep fewer (run.keep)", r->file, r->run.out,
         line.at && !line.failed ? line.at : "too much");
    buf_release(&line);
    return false;
}
