#include "base/base.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

/* First unsigned number in a one-line file such as memory.max; false for "max". */
static bool read_number(const char *path, uint64_t *out)
{
    FILE *f = fopen(path, "r");
    unsigned long long v = 0;
    bool ok = f && fscanf(f, "%llu", &v) == 1;
    if (f)
        fclose(f);
    if (ok)
        *out = v;
    return ok;
}

/* Folds in one cgroup's limit; *room also loses what the group already uses. */
static void add_cgroup(const char *dir, const char *limit_file, const char *used_file,
                       uint64_t *limit, uint64_t *room)
{
    char path[600];
    uint64_t max, used = 0;
    snprintf(path, sizeof path, "%s/%s", dir, limit_file);
    if (!read_number(path, &max) || max >= (uint64_t)1 << 60)
        return;
    snprintf(path, sizeof path, "%s/%s", dir, used_file);
    read_number(path, &used);
    if (max < *limit)
        *limit = max;
    if ((max > used ? max - used : 0) < *room)
        *room = max > used ? max - used : 0;
}

static void read_limits(uint64_t *limit, uint64_t *room)
{
    *limit = *room = UINT64_MAX;
    add_cgroup("/sys/fs/cgroup", "memory.max", "memory.current", limit, room);
    add_cgroup("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
               limit, room);
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        char dir[600], *path = strchr(line, '/');
        if (strncmp(line, "0::", 3) || !path)
            continue;
        path[strcspn(path, "\n")] = 0;
        snprintf(dir, sizeof dir, "/sys/fs/cgroup%s", path);
        add_cgroup(dir, "memory.max", "memory.current", limit, room);
    }
    if (f)
        fclose(f);
    struct rlimit as;
    if (getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur != RLIM_INFINITY) {
        if (as.rlim_cur < *limit)
            *limit = as.rlim_cur;
        if (as.rlim_cur < *room)
            *room = as.rlim_cur;
    }
}

uint64_t sys_memory_limit(void)
{
    uint64_t limit, room;
    read_limits(&limit, &room);
    return limit;
}

uint64_t sys_memory_available(void)
{
    uint64_t limit, room, kib = 0;
    read_limits(&limit, &room);
    char line[256];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long v;
        if (sscanf(line, "MemAvailable: %llu kB", &v) == 1)
            kib = v;
    }
    if (f)
        fclose(f);
    uint64_t free_bytes = kib ? kib * 1024 : UINT64_MAX;
    return free_bytes < room ? free_bytes : room;
}

int sys_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

/* The first "model name : value" of /proc/cpuinfo. */
void sys_cpu_name(char *out, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !value)
            continue;
        value += 1 + strspn(value + 1, " ");
        value[strcspn(value, "\n")] = 0;
        snprintf(out, size, "%s", value);
        break;
    }
    if (f)
        fclose(f);
}

uint64_t sys_disk_free(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = mem_copy_text(slash ? path : ".", slash ? (size_t)(slash - path) + 1 : 1);
    struct statvfs v;
    bool known = dir && statvfs(dir, &v) == 0;
    mem_give(dir);
    return known ? (uint64_t)v.f_bavail * v.f_frsize : UINT64_MAX;
}
