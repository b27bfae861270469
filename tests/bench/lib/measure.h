/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every benchmark program needs: clocks, memory, keys, random numbers, latencies, and rows of
 * figures on standard output that report.awk reads:
 *
 *     CASE <tab> CONTENDER <tab> METRIC <tab> ROUND <tab> VALUE
 *
 * Figures of one case and round were taken one right after the other, so their ratio is fair.
 */
#ifndef KEYREST_TESTS_BENCH_LIB_MEASURE_H
#define KEYREST_TESTS_BENCH_LIB_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_KEY_BYTES = 16, BENCH_VALUE_BYTES = 100 };

/* Says why on standard error and ends the program. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Not NULL. */
void *allocate(size_t count, size_t size);

uint64_t now_ns(void); /* monotonic */

/* CPU of the process or of the calling thread until now, user and system. */
double process_cpu_s(void);
double thread_cpu_s(void);

/* RssAnon of the process. */
uint64_t anonymous_bytes(void);

void sleep_ns(uint64_t duration_ns);
void sleep_until_ns(uint64_t due_ns);

/* Until the process has used next to no CPU for a while: its background work is done. */
void wait_until_idle(void);

/* The next number of a fixed sequence that begins at `*state`, spread over 64 bits. */
uint64_t random_next(uint64_t *state);

/* 16 hexadecimal digits; numbers that follow each other are spread over the whole order. */
void key_of(uint64_t number, char out_key[BENCH_KEY_BYTES + 1]);

void row(const char *case_name, const char *contender, const char *metric, unsigned round,
         double value);

/* ---- latencies ---- */

struct latencies {
    uint32_t *us_tenths;
    size_t count, capacity;
};

void latencies_init(struct latencies *latencies, size_t capacity);
void latencies_done(struct latencies *latencies);
/* Ignored when there is no room left. */
void latencies_add(struct latencies *latencies, uint64_t ns);
/* Rows p50_us, p99_us, p999_us and max_us; sorts them. */
void latencies_rows(struct latencies *latencies, const char *case_name, const char *contender,
                    unsigned round);

#endif
