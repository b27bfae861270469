/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls. */
#include "bell.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void bell_ring(struct bell *bell, uint32_t bits)
{
    atomic_fetch_add_explicit(&bell->rings, 1, memory_order_release);
    syscall(SYS_futex, &bell->rings, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

void bell_sleep(struct bell *bell, uint32_t heard, uint32_t bits, const struct timespec *until)
{
    syscall(SYS_futex, &bell->rings, FUTEX_WAIT_BITSET_PRIVATE, heard, until, NULL, bits);
}
