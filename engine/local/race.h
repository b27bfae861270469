/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ThreadSanitizer cannot see: Concurrency Kit orders memory by assembly in a prebuilt library
 * (keymap.c, reclaim.c). RACE_RELEASE stands before such a publication, RACE_ACQUIRE after the load
 * that pairs with it. They are claims for the tool, not fences.
 */
#ifndef KEYREST_ENGINE_LOCAL_RACE_H
#define KEYREST_ENGINE_LOCAL_RACE_H

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define RACE_RELEASE(address) __tsan_release((void *)(address))
#define RACE_ACQUIRE(address) __tsan_acquire((void *)(address))
#else
#define RACE_RELEASE(address) ((void)(address))
#define RACE_ACQUIRE(address) ((void)(address))
#endif

#endif
