/* SPDX-License-Identifier: Apache-2.0 */
/* proc(5): stat for times and memory, fd for descriptors. */
#include "process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct process {
    unsigned long user_ticks, system_ticks;
    long threads;
    unsigned long long start_ticks; /* since boot */
    unsigned long virtual_bytes;
    long resident_pages;
};

static bool read_stat(struct process *out_process)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL)
        return false;
    const char *read = fgets(line, sizeof line, file);
    fclose(file);
    /* The second field is the program's name in parentheses, which may hold anything. */
    const char *rest = read != NULL ? strrchr(line, ')') : NULL;
    return rest != NULL &&
           sscanf(
               rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d %llu "
               "%lu %ld",
               &out_process->user_ticks, &out_process->system_ticks, &out_process->threads,
               &out_process->start_ticks, &out_process->virtual_bytes,
               &out_process->resident_pages) == 6;
}

static bool read_boot_time(uint64_t *out_seconds)
{
    char line[256];
    bool found = false;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        found = sscanf(line, "btime %" SCNu64, out_seconds) == 1;
    fclose(file);
    return found;
}

static bool count_descriptors(uint64_t *out_count)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return false;
    uint64_t entries = 0;
    while (readdir(directory) != NULL)
        entries++;
    closedir(directory);
    *out_count = entries > 3 ? entries - 3 : 0; /* ".", ".." and the directory's own */
    return true;
}

static void write_figure(FILE *out, const char *name, const char *type, const char *help,
                         double value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

void process_write(FILE *out)
{
    struct process process;
    uint64_t boot_seconds, descriptors;
    struct rlimit limit;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    if (read_stat(&process)) {
        write_figure(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.",
                     (double)(process.user_ticks + process.system_ticks) / ticks);
        write_figure(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                     (double)process.resident_pages * (double)sysconf(_SC_PAGESIZE));
        write_figure(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
                     (double)process.virtual_bytes);
        write_figure(out, "process_threads", "gauge", "Threads.", (double)process.threads);
        if (read_boot_time(&boot_seconds))
            write_figure(out, "process_start_time_seconds", "gauge", "Start, in Unix time.",
                         (double)boot_seconds + (double)process.start_ticks / ticks);
    }
    if (count_descriptors(&descriptors))
        write_figure(out, "process_open_fds", "gauge", "Open file descriptors.",
                     (double)descriptors);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_figure(out, "process_max_fds", "gauge", "Limit of open file descriptors.",
                     (double)limit.rlim_cur);
}
