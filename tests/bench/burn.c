/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control's load: uses a share of one processor (up to 2) until it is killed.
 *
 *     burn SHARE
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/burn.h"
#include "lib/measure.h"

int main(int argc, char **argv)
{
    struct burners burners;
    if (argc != 2)
        fail("usage: burn SHARE");
    burners_start(&burners, strtod(argv[1], NULL));
    for (;;)
        pause();
}
