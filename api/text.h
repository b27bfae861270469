/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text that is written piece by piece and becomes a response's body. Memory that runs out shows
 * at the end only.
 */
#ifndef KEYREST_API_TEXT_H
#define KEYREST_API_TEXT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct text {
    FILE *out; /* write here; NULL: no memory */
    char *bytes;
    size_t size;
};

/* False: no memory. */
static inline bool text_open(struct text *text)
{
    *text = (struct text){0};
    text->out = open_memstream(&text->bytes, &text->size);
    return text->out != NULL;
}

/* Ends the writing; returns the malloc'ed bytes, or NULL when memory ran out. */
static inline char *text_take(struct text *text)
{
    bool complete = ferror(text->out) == 0;
    if (fclose(text->out) == 0 && complete)
        return text->bytes;
    free(text->bytes);
    return NULL;
}

#endif
