/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranges live in a fixed array, so that the handler needs neither lock nor memory. A slot is
 * taken by exchanging its address; its end is published first.
 */
#include "fault_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANGES_MAX = 1 << 16 };

struct range {
    _Atomic uintptr_t end; /* written before `begin` (release), read after it (acquire) */
    _Atomic uintptr_t begin;
};

static struct range ranges[RANGES_MAX];
static _Atomic unsigned ranges_used; /* no range stands at or above it */
static pthread_mutex_t ranges_mutex = PTHREAD_MUTEX_INITIALIZER; /* of those who add and remove */

static bool is_guarded(uintptr_t address)
{
    unsigned used = atomic_load_explicit(&ranges_used, memory_order_acquire);
    for (unsigned i = 0; i < used; i++) {
        uintptr_t begin = atomic_load_explicit(&ranges[i].begin, memory_order_acquire);
        if (begin != 0 && address >= begin &&
            address < atomic_load_explicit(&ranges[i].end, memory_order_relaxed))
            return true;
    }
    return false;
}

/* Only calls that POSIX or Linux allow in a handler. */
static void on_bus_error(int signal_number, siginfo_t *about, void *context)
{
    (void)context;
    uintptr_t address = (uintptr_t)about->si_addr;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)(address & ~(page - 1));
    if (is_guarded(address) &&
        mmap(start, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == start)
        return;
    struct sigaction fatal = {.sa_handler = SIG_DFL};
    sigaction(signal_number, &fatal, NULL); /* the fault comes again and ends the process */
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

bool fault_guard_add(const void *map, size_t bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    pthread_mutex_lock(&ranges_mutex);
    unsigned slot = 0;
    while (slot < RANGES_MAX && atomic_load(&ranges[slot].begin) != 0)
        slot++;
    if (slot < RANGES_MAX) {
        atomic_store_explicit(&ranges[slot].end, (uintptr_t)map + bytes, memory_order_relaxed);
        atomic_store_explicit(&ranges[slot].begin, (uintptr_t)map, memory_order_release);
        if (slot >= atomic_load(&ranges_used))
            atomic_store_explicit(&ranges_used, slot + 1, memory_order_release);
    }
    pthread_mutex_unlock(&ranges_mutex);
    return slot < RANGES_MAX;
}

void fault_guard_remove(const void *map)
{
    pthread_mutex_lock(&ranges_mutex);
    for (unsigned slot = 0; slot < RANGES_MAX; slot++)
        if (atomic_load(&ranges[slot].begin) == (uintptr_t)map) {
            atomic_store_explicit(&ranges[slot].begin, 0, memory_order_release);
            break;
        }
    pthread_mutex_unlock(&ranges_mutex);
}
