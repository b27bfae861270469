/* SPDX-License-Identifier: Apache-2.0 */
/* Reading file names back: only what this program would write itself is taken for its own. */
#include "format.h"

#include <stdio.h>
#include <string.h>

bool format_name_parse(const char *name, const char *format, uint64_t *out_id)
{
    char again[64];
    uint64_t id;
    if (sscanf(name, format, &id) != 1)
        return false;
    snprintf(again, sizeof again, format, id);
    if (strcmp(again, name) != 0)
        return false;
    *out_id = id;
    return true;
}
