#include "base/base.h"

#include <math.h>
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

/* The folder of this process's cgroup: of version 2, or version 1's of CPU time. */
static bool own_cgroup(bool v2, char *dir, size_t size)
{
    char line[512];
    bool found = false;
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && !found && fgets(line, sizeof line, f)) {
        char *name = strchr(line, ':'), *path = name ? strchr(name + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        found = v2 ? !name[1] : !strcmp(name + 1, "cpu") || !strncmp(name + 1, "cpu,", 4);
        snprintf(dir, size, "/sys/fs/cgroup%s%s", v2 ? "" : "/cpu", path);
    }
    if (f)
        fclose(f);
    return found;
}

static void read_limits(uint64_t *limit, uint64_t *room)
{
    char dir[600];
    *limit = *room = UINT64_MAX;
    add_cgroup("/sys/fs/cgroup", "memory.max", "memory.current", limit, room);
    add_cgroup("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
               limit, room);
    if (own_cgroup(true, dir, sizeof dir))
        add_cgroup(dir, "memory.max", "memory.current", limit, room);
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

double sys_cpu_quota_of(const char *dir)
{
    char path[700];
    double time = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    FILE *f = fopen(path, "r");
    if (f) {
        if (fscanf(f, "%lf %lf", &time, &period) != 2)
            time = 0;                     /* "max" */
        fclose(f);
    } else {
        uint64_t us = 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
        if (read_number(path, &us))       /* -1, no limit, is a huge number here */
            time = us < (uint64_t)1 << 60 ? (double)us : 0;
        us = 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
        read_number(path, &us);
        period = (double)us;
    }
    return time > 0 && period > 0 ? time / period : INFINITY;
}

double sys_cpu_quota(void)
{
    char dir[600];
    double least = fmin(sys_cpu_quota_of("/sys/fs/cgroup"), sys_cpu_quota_of("/sys/fs/cgroup/cpu"));
    for (int v2 = 0; v2 < 2; v2++)
        if (own_cgroup(v2, dir, sizeof dir))
            least = fmin(least, sys_cpu_quota_of(dir));
    return least;
}

int sys_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    double quota = sys_cpu_quota() + 0.5;
    int n = CPU_COUNT(&set);
    n = quota < n ? (int)quota : n;
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
