/*
 * Any text as a recipe: refused with a sentence that names the file, or resolved into a run
 * whose recipe, written out and read again, is the same run.
 */
#include "fuzz.h"

#include "train/train.h"

uint64_t fuzz_accepted, fuzz_sum;

static void check_again(const struct train_recipe *r)
{
    struct train_recipe again;
    struct err err = { 0 };
    struct buf text = { 0 };
    train_recipe_write(r, &text);
    train_recipe_init(&again);
    check(buf_ok(&text, &err));
    check(train_recipe_read(&again, "again", (struct bytes){ (uint8_t *)text.at, text.len }, &err));
    check(train_recipe_resolve(&again, &err) && train_recipe_same(r, &again, &err));
    fuzz_sum += text.len + r->run.steps;
    train_recipe_release(&again);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct train_recipe r;
    struct err err = { 0 };
    train_recipe_init(&r);
    bool ok = train_recipe_read(&r, "fuzz.recipe", (struct bytes){ data, size }, &err)
              && train_recipe_resolve(&r, &err);
    check(ok || (err.code != ERR_NONE && !strncmp(err.msg, "fuzz.recipe", 11)));
    if (ok)
        check_again(&r);
    fuzz_accepted += ok;
    train_recipe_release(&r);
    return 0;
}
