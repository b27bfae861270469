/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { NS_PER_S = 1000000000 };

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        fail("no memory");
    return memory;
}

/* ---- clocks, memory ---- */

uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static double cpu_s(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double process_cpu_s(void)
{
    return cpu_s(RUSAGE_SELF);
}

double thread_cpu_s(void)
{
    return cpu_s(RUSAGE_THREAD);
}

uint64_t anonymous_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

void sleep_until_ns(uint64_t due_ns)
{
    struct timespec until = {(time_t)(due_ns / NS_PER_S), (long)(due_ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

void sleep_ns(uint64_t duration_ns)
{
    sleep_until_ns(now_ns() + duration_ns);
}

void wait_until_idle(void)
{
    enum { STEP_MS = 100, QUIET_STEPS = 5, STEPS_MAX = 6000 };
    double before = process_cpu_s();
    for (int quiet = 0, step = 0; quiet < QUIET_STEPS && step < STEPS_MAX; step++) {
        sleep_ns((uint64_t)STEP_MS * 1000000);
        double after = process_cpu_s();
        quiet = after - before < STEP_MS / 1e3 / 50 ? quiet + 1 : 0;
        before = after;
    }
}

/* ---- keys ---- */

uint64_t random_next(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

void key_of(uint64_t number, char out_key[BENCH_KEY_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t spread = number * UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < BENCH_KEY_BYTES; i++)
        out_key[i] = digits[spread >> (60 - 4 * i) & 15];
    out_key[BENCH_KEY_BYTES] = '\0';
}

/* ---- rows ---- */

void row(const char *case_name, const char *contender, const char *metric, unsigned round,
         double value)
{
    printf("%s\t%s\t%s\t%u\t%.6g\n", case_name, contender, metric, round, value);
    fflush(stdout);
}

/* ---- latencies ---- */

void latencies_init(struct latencies *latencies, size_t capacity)
{
    *latencies = (struct latencies){allocate(capacity, sizeof(uint32_t)), 0, capacity};
}

void latencies_done(struct latencies *latencies)
{
    free(latencies->us_tenths);
    *latencies = (struct latencies){0};
}

void latencies_add(struct latencies *latencies, uint64_t ns)
{
    uint64_t tenths = ns / 100;
    if (latencies->count < latencies->capacity)
        latencies->us_tenths[latencies->count++] =
            tenths < UINT32_MAX ? (uint32_t)tenths : UINT32_MAX;
}

static int compare(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

void latencies_rows(struct latencies *latencies, const char *case_name, const char *contender,
                    unsigned round)
{
    static const struct {
        const char *metric;
        size_t thousandth;
    } wanted[] = {{"p50_us", 500}, {"p99_us", 990}, {"p999_us", 999}};
    if (latencies->count == 0)
        return;
    qsort(latencies->us_tenths, latencies->count, sizeof(uint32_t), compare);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        size_t at = latencies->count * wanted[i].thousandth / 1000;
        row(case_name, contender, wanted[i].metric, round, latencies->us_tenths[at] / 10.0);
    }
    row(case_name, contender, "max_us", round, latencies->us_tenths[latencies->count - 1] / 10.0);
}
