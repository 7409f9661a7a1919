/*
 * sysinfo: what this process may use: min(machine, cgroup v1/v2 limit, ulimit).
 */
#ifndef KEXA_BASE_SYSINFO_H
#define KEXA_BASE_SYSINFO_H

#include <stddef.h>
#include <stdint.h>

uint64_t sys_memory_available(void);      /* bytes; UINT64_MAX if unknown */
uint64_t sys_memory_limit(void);          /* cgroup or RLIMIT_AS limit; UINT64_MAX if none */
uint64_t sys_disk_free(const char *path); /* bytes this process may still write in the folder of
                                             the file `path`; UINT64_MAX if unknown */
void sys_cpu_name(char *out, size_t size); /* as the system calls it, or "unknown" */
int sys_cpus(void);                       /* CPUs this process may run on and has time for, >= 1 */
double sys_cpu_quota(void);               /* CPUs' worth of time that its cgroups grant, version 1
                                             or 2; INFINITY: no limit */
double sys_cpu_quota_of(const char *dir); /* that one cgroup's folder grants */

#endif
