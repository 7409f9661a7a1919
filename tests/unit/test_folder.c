/* Folders: made with all above them, taken back, and what is in the way. */
#include "../harness.h"
#include "base/base.h"
#include "format/scratch.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GONE = -1 };

/* The permissions of a folder; GONE: there is none. */
static int mode_of(const char *name)
{
    struct stat st;
    return stat(scratch_path(name), &st) == 0 && S_ISDIR(st.st_mode) ? (int)(st.st_mode & 0777)
                                                                      : GONE;
}

/* How many folders were made; GONE: it failed, and err says why. */
static int make(const char *name, struct err *err)
{
    size_t n = 99;
    return folder_make(scratch_path(name), 0750, &n, err) ? (int)n : GONE;
}

static void folders_are_made_with_all_above_them(void)
{
    struct err err = { 0 };
    umask(022);
    EXPECTF(make("a/b/c", &err) == 3, "%s", err.msg);
    EXPECT(mode_of("a") == 0750 && mode_of("a/b") == 0750 && mode_of("a/b/c") == 0750);
    EXPECT(make("a/b/c", &err) == 0 && make("a/b/d", &err) == 1 && mode_of("a/b/d") == 0750);
    EXPECT(make("a//e///f//", &err) == 2 && mode_of("a/e/f") == 0750);
    EXPECT(make("a/e/f/", &err) == 0 && make("a/./e/../g", &err) == 1 && mode_of("a/g") == 0750);
    EXPECT(folder_make("/", 0777, NULL, &err) && folder_make(".", 0777, NULL, &err));
    EXPECT(err.code == ERR_NONE);
    EXPECT(symlink("b", scratch_path("a/link")) == 0);
    EXPECT(make("a/link", &err) == 0 && make("a/link/h", &err) == 1 && mode_of("a/b/h") == 0750);
}

static void a_file_in_the_way_is_named_and_nothing_stays(void)
{
    struct err err = { 0 };
    scratch_text("file", "x");
    EXPECT(make("file", &err) == GONE && SAYS(&err, ERR_USAGE, "/file", "no folder"));
    EXPECT(make("file/deep/down", &err) == GONE);
    EXPECT(SAYS(&err, ERR_USAGE, "/file/deep/down: cannot", "/file is no folder"));
    EXPECT(symlink("nowhere", scratch_path("dangling")) == 0);
    EXPECT(make("dangling", &err) == GONE && SAYS(&err, ERR_USAGE, "/dangling"));
    EXPECT(!folder_make("", 0777, NULL, &err) && SAYS(&err, ERR_USAGE, "empty"));
    char name[5000];
    memset(name, 'n', sizeof name);
    name[300] = 0;                        /* more than a file system takes for one name */
    memcpy(name, "new/er/", 7);
    EXPECT(make(name, &err) == GONE && SAYS(&err, ERR_IO, "/new/er/nn", "too long"));
    EXPECT(mode_of("new") == GONE);
    name[300] = 'n';
    name[sizeof name - 1] = 0;
    EXPECT(!folder_make(name, 0777, NULL, &err) && SAYS(&err, ERR_USAGE, "4095 bytes"));
}

static void the_folder_of_a_file_is_made(void)
{
    struct err err = { 0 };
    EXPECT(folder_make_above(scratch_path("up/on/file.txt"), 0700, &err));
    EXPECT(mode_of("up/on") == 0700 && !file_exists(scratch_path("up/on/file.txt")));
    EXPECT(folder_make_above(scratch_path("up/on/file.txt"), 0700, &err));
    EXPECT(folder_make_above("file.txt", 0700, &err) && folder_make_above("/file", 0700, &err));
    scratch_text("up/plain", "x");
    EXPECT(!folder_make_above(scratch_path("up/plain/x"), 0700, &err));
    EXPECT(SAYS(&err, ERR_USAGE, "up/plain"));
    EXPECT(!folder_make_above("", 0700, &err) && SAYS(&err, ERR_USAGE, "empty"));
}

static void what_was_made_is_taken_back_while_it_is_empty(void)
{
    struct err err = { 0 };
    EXPECT(make("own", &err) == 1 && make("own/x//y/", &err) == 2);
    folder_unmake(scratch_path("own/x//y/"), 0);
    EXPECT(mode_of("own/x/y") == 0750);
    folder_unmake(scratch_path("own/x//y/"), 2);
    EXPECT(mode_of("own/x") == GONE && mode_of("own") == 0750);
    EXPECT(make("own/x/y/z", &err) == 3);
    scratch_text("own/x/note", "mine");
    folder_unmake(scratch_path("own/x/y/z"), 3);
    EXPECT(mode_of("own/x/y") == GONE && mode_of("own/x") == 0750);
    EXPECT(make("own/p/q", &err) == 2);
    scratch_text("own/p/q/file", "");
    folder_remove(scratch_path("own/p/q"));
    EXPECT(mode_of("own/p/q") == GONE);
    folder_unmake(scratch_path("own/p/q"), 2);            /* its folder is gone already */
    EXPECT(mode_of("own/p") == GONE && mode_of("own") == 0750);
}

const struct test tests[] = {
    { "folders are made", folders_are_made_with_all_above_them },
    { "in the way", a_file_in_the_way_is_named_and_nothing_stays },
    { "the folder of a file", the_folder_of_a_file_is_made },
    { "taken back", what_was_made_is_taken_back_while_it_is_empty },
    { 0 }
};
