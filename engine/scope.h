/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes and scope-bound cleanup shared by every layer. Owns no state.
 */
#ifndef KEYREST_ENGINE_SCOPE_H
#define KEYREST_ENGINE_SCOPE_H

#include <stdlib.h>

#define MUST_CHECK                        __attribute__((warn_unused_result))
#define PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))

static inline void scope_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

/* Frees the malloc'ed object that the local points at when the scope ends. */
#define AUTO_FREE __attribute__((cleanup(scope_free)))

/* Hands an AUTO_FREE local over to the caller. */
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
