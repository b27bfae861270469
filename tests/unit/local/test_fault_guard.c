/* SPDX-License-Identifier: Apache-2.0 */
/* Reading past the end of a mapped file that was cut short: zeros inside a guard, the end outside. */
#include "../../../engine/local/fault_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../engine/scope.h"
#include "../../lib/test.h"
#include "../../lib/threads.h"

enum { PAGES = 8 };

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* A mapping of PAGES pages of 'x' of which only `left` are there any more. */
static const volatile char *map_cut_file(size_t left)
{
    char name[] = "/tmp/keyrest-guard-XXXXXX";
    int file = mkstemp(name);
    THREAD_ASSERT(file >= 0);
    unlink(name);
    char *page = malloc(page_bytes());
    memset(page, 'x', page_bytes());
    for (int i = 0; i < PAGES; i++)
        THREAD_ASSERT(write(file, page, page_bytes()) == (ssize_t)page_bytes());
    free(page);
    const volatile char *map = mmap(NULL, PAGES * page_bytes(), PROT_READ, MAP_SHARED, file, 0);
    THREAD_ASSERT(map != MAP_FAILED && ftruncate(file, (off_t)(left * page_bytes())) == 0);
    close(file);
    return map;
}

static void guard(const volatile char *map, size_t pages)
{
    THREAD_ASSERT(fault_guard_add((const void *)map, pages * page_bytes()));
}

static void unguard(const volatile char *map)
{
    fault_guard_remove((const void *)map);
}

/* In a child: the guard is installed once in a process, and cmocka takes its signal in each test. */
static int end_of_child(void (*run)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* a fault that comes again and again is no end */
        run();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

/* ---- promises ---- */

static void read_guarded(void)
{
    const volatile char *map = map_cut_file(3);
    guard(map, PAGES);
    for (size_t i = 0; i < PAGES * page_bytes(); i += 511)
        THREAD_ASSERT(map[i] == (i < 3 * page_bytes() ? 'x' : 0));
    THREAD_ASSERT(map[PAGES * page_bytes() - 1] == 0);
    unguard(map);
}

static void a_guarded_page_that_is_gone_reads_as_zeros(void **state)
{
    (void)state;
    assert_int_equal(end_of_child(read_guarded), 0);
}

static void read_unguarded(void)
{
    const volatile char *guarded = map_cut_file(1), *other = map_cut_file(1);
    guard(guarded, PAGES);
    THREAD_ASSERT(guarded[2 * page_bytes()] == 0);
    (void)other[2 * page_bytes()];
}

static void read_after_removal(void)
{
    const volatile char *map = map_cut_file(1);
    guard(map, PAGES);
    unguard(map);
    (void)map[2 * page_bytes()];
}

static void read_behind_the_range(void)
{
    const volatile char *map = map_cut_file(1);
    guard(map, 4);
    THREAD_ASSERT(map[4 * page_bytes() - 1] == 0);
    (void)map[4 * page_bytes()];
}

static void faults_elsewhere_end_the_process_as_ever(void **state)
{
    (void)state;
    void (*const runs[])(void) = {read_unguarded, read_after_removal, read_behind_the_range};
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        int status = end_of_child(runs[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGBUS);
    }
}

static void *guard_and_read(void *context)
{
    (void)context;
    for (int i = 0; i < 60; i++) {
        const volatile char *map = map_cut_file(2);
        guard(map, PAGES);
        for (size_t page = 0; page < PAGES; page++)
            THREAD_ASSERT(map[page * page_bytes() + 9] == (page < 2 ? 'x' : 0));
        unguard(map);
        munmap((void *)(uintptr_t)map, PAGES * page_bytes());
    }
    return NULL;
}

static void read_in_threads(void)
{
    struct threads threads = {.count = 0};
    for (int i = 0; i < 4; i++)
        threads_start(&threads, guard_and_read, NULL);
    threads_join(&threads);
}

static void threads_guard_side_by_side(void **state)
{
    (void)state;
    assert_int_equal(end_of_child(read_in_threads), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a guarded page that is gone reads as zeros",
             a_guarded_page_that_is_gone_reads_as_zeros),
        TEST("faults elsewhere end the process as ever", faults_elsewhere_end_the_process_as_ever),
        TEST("threads guard side by side", threads_guard_side_by_side),
    };
    return test_main(argc, argv, "fault_guard", tests);
}
