/* SPDX-License-Identifier: Apache-2.0 */
/* Reading limits from the kernel's files. */
#include "machine.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number in a file of the control group; UINT64_MAX when it says "max" or is not there. */
static uint64_t read_limit(const char *path)
{
    uint64_t limit = UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return UINT64_MAX;
    if (fscanf(file, "%" SCNu64, &limit) != 1)
        limit = UINT64_MAX;
    fclose(file);
    return limit;
}

/*
 * The least limit of `group` and of the groups around it. Inside a container the path may be one of
 * the host that is not visible here; then the mount's root, the last step, is the container's own.
 */
static uint64_t group_limit(const char *mount, const char *group, const char *name)
{
    uint64_t least = UINT64_MAX;
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", strcmp(group, "/") == 0 ? "" : group);
    for (;;) {
        char path[PATH_MAX + 128];
        snprintf(path, sizeof path, "%s%s/%s", mount, directory, name);
        uint64_t limit = read_limit(path);
        least = limit < least ? limit : least;
        char *last = strrchr(directory, '/');
        if (last == NULL)
            return least;
        *last = '\0';
    }
}

/* One line of /proc/self/cgroup: "0::/group" (v2) or "4:memory,other:/group" (v1). */
static uint64_t line_limit(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (group == NULL)
        return UINT64_MAX;
    *controllers++ = '\0';
    *group++ = '\0';
    if (strcmp(line, "0") == 0 && *controllers == '\0')
        return group_limit("/sys/fs/cgroup", group, "memory.max");
    bool is_memory = false;
    for (char *one = strtok(controllers, ","); one != NULL; one = strtok(NULL, ","))
        is_memory = is_memory || strcmp(one, "memory") == 0;
    return is_memory ? group_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
                     : UINT64_MAX;
}

uint64_t machine_memory_bytes(void)
{
    uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL)
        return least;
    char line[PATH_MAX];
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t limit = line_limit(line);
        least = limit < least ? limit : least;
    }
    fclose(file);
    return least;
}

uint64_t machine_raise_files_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        limit = raised;
    return limit.rlim_cur == RLIM_INFINITY ? UINT32_MAX : (uint64_t)limit.rlim_cur;
}
