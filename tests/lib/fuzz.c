/* SPDX-License-Identifier: Apache-2.0 */
/* Feeding a fuzz target without a fuzzer: the corpus, and changes of it drawn from a fixed seed. */
#include "fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <unistd.h>

enum { INPUT_BYTES_MAX = 64 << 10, CHANGES = 200 /* of each file */ };

/* ---- input ---- */

struct bytes fuzz_bytes(struct fuzz_input *input, size_t size)
{
    struct bytes bytes = {input->data, size < input->size ? size : input->size};
    input->data += bytes.size;
    input->size -= bytes.size;
    return bytes;
}

uint32_t fuzz_number(struct fuzz_input *input, unsigned bytes)
{
    uint32_t number = 0;
    struct bytes taken = fuzz_bytes(input, bytes);
    if (taken.size > 0)
        memcpy(&number, taken.data, taken.size);
    return number;
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
    return (uint8_t)fuzz_number(input, 1);
}

char *fuzz_text(struct fuzz_input *input, char end)
{
    const uint8_t *found = input->size > 0 ? memchr(input->data, end, input->size) : NULL;
    struct bytes bytes =
        fuzz_bytes(input, found != NULL ? (size_t)(found - input->data) : input->size);
    char *text = calloc(1, bytes.size + 1);
    if (bytes.size > 0)
        memcpy(text, bytes.data, bytes.size);
    for (size_t i = 0; i < bytes.size; i++)
        if (text[i] == '\0')
            text[i] = '0';
    if (found != NULL)
        fuzz_bytes(input, 1);
    return text;
}

unsigned char *fuzz_copy(struct bytes bytes)
{
    unsigned char *copy = malloc(bytes.size);
    assert_true(copy != NULL || bytes.size == 0);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* ---- changes ---- */

static uint64_t draw(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

struct sample {
    uint8_t bytes[INPUT_BYTES_MAX];
    size_t size;
};

static void change_byte(struct sample *sample, uint64_t *random)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '%', '"', ',', '\n', ':'};
    if (sample->size == 0)
        return;
    uint8_t *byte = &sample->bytes[draw(random) % sample->size];
    if (draw(random) % 2 == 0)
        *byte = (uint8_t)(*byte ^ 1u << draw(random) % 8);
    else
        *byte = telling[draw(random) % sizeof telling];
}

static void cut_out(struct sample *sample, uint64_t *random)
{
    if (sample->size == 0)
        return;
    size_t at = draw(random) % sample->size;
    size_t bytes = 1 + draw(random) % (sample->size - at);
    memmove(sample->bytes + at, sample->bytes + at + bytes, sample->size - at - bytes);
    sample->size -= bytes;
}

static void repeat(struct sample *sample, uint64_t *random)
{
    if (sample->size == 0)
        return;
    size_t at = draw(random) % sample->size;
    size_t bytes = 1 + draw(random) % (sample->size - at);
    if (sample->size + bytes > sizeof sample->bytes)
        return;
    memmove(sample->bytes + at + bytes, sample->bytes + at, sample->size - at);
    sample->size += bytes;
}

static void change(struct sample *sample, uint64_t *random)
{
    for (uint64_t left = 1 + draw(random) % 4; left > 0; left--) {
        switch (draw(random) % 4) {
        case 0:
            cut_out(sample, random);
            break;
        case 1:
            repeat(sample, random);
            break;
        default:
            change_byte(sample, random);
            break;
        }
    }
}

/* ---- the test ---- */

static struct {
    const char *suite;
    fuzz_target *target;
    char path[400]; /* of the sample at hand; empty: none is */
    unsigned changed;
    const struct sample *sample;
} run;

static void feed(const struct sample *sample)
{
    run.sample = sample;
    unsigned char *bytes = fuzz_copy((struct bytes){sample->bytes, sample->size});
    run.target(&(struct fuzz_input){bytes, sample->size});
    free(bytes);
}

static void feed_with_changes(const struct sample *original)
{
    static struct sample sample;
    uint64_t random = UINT64_C(88172645463325252) + original->size;
    const char *wanted = getenv("KEYREST_FUZZ_CHANGES");
    unsigned changes = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : CHANGES;
    for (run.changed = 0; run.changed <= changes; run.changed++) {
        memcpy(&sample, original, sizeof sample);
        if (run.changed > 0)
            change(&sample, &random);
        feed(&sample);
    }
}

static void feed_file(const char *path)
{
    static struct sample sample;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    sample.size = fread(sample.bytes, 1, sizeof sample.bytes, file);
    fclose(file);
    snprintf(run.path, sizeof run.path, "%.390s", path);
    feed_with_changes(&sample);
    run.path[0] = '\0';
}

static void feed_corpus(void **state)
{
    (void)state;
    char directory[300], path[600];
    struct dirent **names;
    snprintf(directory, sizeof directory, "tests/fuzz/corpus/%s", run.suite);
    int count = scandir(directory, &names, NULL, alphasort);
    if (count <= 2)
        fail_msg("%s has no files: run this from the root of the tree", directory);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            feed_file(path);
        free(names[i]);
    }
    free(names);
}

/* What the target failed on, to be looked at and added to the corpus. */
static int keep_sample(void **state)
{
    (void)state;
    char path[300];
    const char *build = getenv("KEYREST_BUILD");
    if (run.path[0] == '\0')
        return 0;
    snprintf(path, sizeof path, "%s/%s.input", build != NULL ? build : ".", run.suite);
    FILE *file = fopen(path, "wb");
    if (file != NULL) {
        fwrite(run.sample->bytes, 1, run.sample->size, file);
        fclose(file);
    }
    printf("# it happened to change %u of %s, kept as %s\n", run.changed, run.path, path);
    return 0;
}

int fuzz_main(int argc, char **argv, const char *suite, const char *promise, fuzz_target *target)
{
    const struct CMUnitTest tests[] = {{promise, feed_corpus, NULL, keep_sample, NULL}};
    run.suite = suite;
    run.target = target;
    return test_main_(argc, argv, suite, tests, 1);
}
