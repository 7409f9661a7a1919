/* The folder of a run: a new one, one that is taken, one that goes on. */
#include "../../harness.h"
#include "../format/scratch.h"
#include "train/recipe_keys.h"
#include "train/train.h"

#include <stdio.h>

static bool open_recipe(struct train_recipe *r, const char *out, const char *lines,
                        struct err *err)
{
    char text[900];
    snprintf(text, sizeof text, "[model]\nsize = 3m\n[data]\ntokenizer = t\nsource = s\n"
             "[run]\nout = %s\n%s", out, lines);
    train_recipe_init(r);
    return train_recipe_read(r, "x.recipe", bytes_of(text), err)
           && train_recipe_resolve(r, err);
}

/* OUT/run.recipe as the trainer writes it. */
static void write_begun(const char *out, const char *lines, uint32_t micro_rows)
{
    struct train_recipe r;
    struct err err = { 0 };
    struct buf text = { 0 };
    char path[400];
    EXPECTF(open_recipe(&r, out, lines, &err), "%s", err.msg);
    r.run.micro_rows = micro_rows;        /* as memory allowed */
    train_recipe_write(&r, &text);
    snprintf(path, sizeof path, "%s/%s", out, RUN_RECIPE_NAME);
    EXPECTF(train_folder_make(&r, &err) && file_write(path, text.at, text.len, &err), "%s",
            err.msg);
    buf_release(&text);
    train_recipe_release(&r);
}

static void test_new(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    char out[300], path[320], under[340];
    snprintf(out, sizeof out, "%s", scratch_path("folder/new/deep"));
    EXPECT(open_recipe(&r, out, "", &err) && train_folder_check_new(&r, &err));
    EXPECT(train_folder_make(&r, &err) && file_is_dir(out) && train_folder_make(&r, &err));
    EXPECT(train_folder_check_new(&r, &err));             /* an empty folder is fine */
    snprintf(path, sizeof path, "%s/config.json", out);
    EXPECT(file_write(path, "", 0, &err) && !train_folder_check_new(&r, &err));
    EXPECT(strstr(err.msg, "--resume") && train_folder_check(&r, &err) && remove(path) == 0);
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    EXPECT(file_write(path, "", 0, &err) && !train_folder_check_new(&r, &err));
    EXPECTF(strstr(err.msg, "--resume") && strstr(err.msg, out), "%s", err.msg);
    train_recipe_release(&r);
    snprintf(under, sizeof under, "%s/under", path);     /* below a file */
    EXPECT(open_recipe(&r, under, "", &err) && !train_folder_make(&r, &err));
    EXPECTF(err.code == ERR_USAGE && strstr(err.msg, path), "%s", err.msg);
    train_recipe_release(&r);
}

static void test_nowhere(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    EXPECT(open_recipe(&r, "x", "", &err));
    recipe_value_clear(&r, recipe_key_find("run", "out"));
    EXPECT(!train_folder_check_new(&r, &err) && strstr(err.msg, "run.out") != NULL);
    EXPECT(!train_folder_resume(&r, &err) && strstr(err.msg, "--out") != NULL);
    train_recipe_release(&r);
}

static void test_resume(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    char out[300];
    snprintf(out, sizeof out, "%s", scratch_path("folder/going"));
    EXPECT(open_recipe(&r, out, "", &err) && train_folder_resume(&r, &err));   /* not begun */
    EXPECT(r.run.micro_rows == 4);
    train_recipe_release(&r);
    write_begun(out, "", 2);
    EXPECT(open_recipe(&r, out, "threads = 3\nkeep = 9\n", &err)
           && train_folder_resume(&r, &err));
    EXPECT(r.run.micro_rows == 2);        /* what memory allowed then, not now */
    train_recipe_release(&r);
    EXPECT(open_recipe(&r, out, "steps = 4000\n", &err) && r.schedule.warmup == 80
           && train_folder_resume(&r, &err) && r.schedule.warmup == 36);   /* a longer run's */
    train_recipe_release(&r);
    EXPECT(open_recipe(&r, out, "micro_rows = 16\n", &err) && !train_folder_resume(&r, &err));
    EXPECTF(strstr(err.msg, "x.recipe:8: run.micro_rows is 16") && strstr(err.msg, "with 2"),
            "%s", err.msg);
    train_recipe_release(&r);
    EXPECT(open_recipe(&r, out, "seed = 2\n", &err) && !train_folder_resume(&r, &err));
    EXPECTF(strstr(err.msg, "run.seed"), "%s", err.msg);
    train_recipe_release(&r);
}

/* A folder with nothing but a checkpoint: its recipe says how the run began. */
static void test_checkpoint_alone(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    struct buf text = { 0 };
    char out[300];
    snprintf(out, sizeof out, "%s", scratch_path("folder/alone"));
    EXPECT(open_recipe(&r, out, "micro_rows = 3\n[schedule]\nwarmup = 7\n", &err));
    train_recipe_write(&r, &text);
    train_recipe_release(&r);
    json_t *head = json_pack("{s:s}", "recipe", text.at);
    EXPECT(checkpoint_save(out, 5, head, NULL, 0, 1, UINT64_MAX, &err));
    json_decref(head);
    buf_release(&text);
    EXPECT(open_recipe(&r, out, "", &err) && train_folder_resume(&r, &err));
    EXPECT(r.run.micro_rows == 3 && r.schedule.warmup == 7);
    train_recipe_release(&r);
    EXPECT(open_recipe(&r, out, "seed = 2\n", &err) && !train_folder_resume(&r, &err));
    EXPECTF(strstr(err.msg, "run.seed"), "%s", err.msg);
    train_recipe_release(&r);
}

const struct test tests[] = {
    { "new", test_new }, { "nowhere", test_nowhere }, { "resume", test_resume },
    { "checkpoint alone", test_checkpoint_alone }, { 0 }
};
