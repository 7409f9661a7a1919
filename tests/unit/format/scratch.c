#include "scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[256];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_all(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *name)
{
    static char path[8][512];
    static unsigned at;
    char *p = path[at++ & 7];
    if (!root[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(root, sizeof root, "%s/kexa-test-XXXXXX", tmp ? tmp : "/tmp");
        check(mkdtemp(root) != NULL);
        atexit(remove_all);
    }
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

const char *scratch_write(const char *name, const void *at, size_t len)
{
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    check(f != NULL);
    check(fwrite(at, 1, len, f) == len);
    check(fclose(f) == 0);
    return path;
}

const char *scratch_text(const char *name, const char *text)
{
    return scratch_write(name, text, strlen(text));
}

void scratch_folder(const char *name)
{
    check(mkdir(scratch_path(name), 0777) == 0);
}

struct bytes exact_copy(const void *at, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    check(copy != NULL);
    if (len)
        memcpy(copy, at, len);
    return (struct bytes){ copy, len };
}

void exact_give(struct bytes copy)
{
    free((void *)(uintptr_t)copy.at);
}

bool err_says(const struct err *err, enum err_code code, const char *const *words)
{
    bool all = err->code == code;
    for (; *words; words++)
        all = all && strstr(err->msg, *words);
    if (!all)
        fprintf(stderr, "code %d: %s\n", (int)err->code, err->msg);
    return all;
}

void keep_lie(const void *at, size_t len)
{
    const char *folder = getenv("KEXA_KEEP_LIES");
    char path[1024];
    if (!folder || len > 4096)
        return;
    snprintf(path, sizeof path, "%s/lie-%08x", folder,
             (unsigned)hash_bytes((struct bytes){ at, len }, 0));
    FILE *f = fopen(path, "wb");
    check(f != NULL);
    check(fwrite(at, 1, len, f) == len);
    check(fclose(f) == 0);
}
