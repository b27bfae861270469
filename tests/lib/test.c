/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one suite of cmocka tests, or those whose names contain some words. */
#include "test.h"

#include <fts.h>
#include <unistd.h>

int test_main_(int argc, char **argv, const char *suite, const struct CMUnitTest *tests,
               size_t count)
{
    struct CMUnitTest *chosen = calloc(count + 1, sizeof *chosen);
    size_t chosen_count = 0;
    for (size_t i = 0; i < count; i++)
        if (argc < 2 || strstr(tests[i].name, argv[1]) != NULL)
            chosen[chosen_count++] = tests[i];
    cmocka_set_message_output(CM_OUTPUT_TAP);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int failed =
        chosen_count == 0 ? 0 : _cmocka_run_group_tests(suite, chosen, chosen_count, NULL, NULL);
    free(chosen);
    return failed == 0 ? 0 : 1;
}

char *test_directory_make(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/keyrest-test-XXXXXX", base != NULL ? base : "/tmp") < 0 ||
        mkdtemp(path) == NULL)
        abort();
    return path;
}

void test_directory_remove(char *path)
{
    char *const roots[] = {path, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOSTAT, NULL);
    if (tree != NULL) {
        for (FTSENT *found; (found = fts_read(tree)) != NULL;)
            if (found->fts_info != FTS_D)
                remove(found->fts_accpath);
        fts_close(tree);
    }
    free(path);
}
