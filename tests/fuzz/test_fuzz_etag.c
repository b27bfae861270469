/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags: the input is a tag's text, and its first bytes are a version as well. */
#include "../../api/etag.h"
#include "../lib/fuzz.h"

static void read_text(struct bytes text)
{
    struct engine_version version;
    char again[ETAG_BYTES];
    if (!etag_read(text, &version))
        return;
    assert_true(version.epoch >> 48 == 0 && version.sequence >> 53 == 0 && version.sequence != 0);
    assert_int_equal(etag_write(version, again), text.size + 2);
    assert_int_equal(strlen(again), text.size + 2);
    assert_memory_equal(again + 1, text.data, text.size);
}

static void write_version(struct bytes bytes)
{
    struct engine_version version, again;
    char text[ETAG_BYTES];
    if (bytes.size < sizeof version)
        return;
    memcpy(&version, bytes.data, sizeof version);
    version.epoch >>= 16;
    version.sequence >>= 11 + version.sequence % 53;
    size_t length = etag_write(version, text);
    assert_true(length < ETAG_BYTES && text[0] == '"' && text[length - 1] == '"');
    bool is_read = etag_read((struct bytes){text + 1, length - 2}, &again);
    assert_true(is_read == (version.sequence != 0)); /* 0 stands for no version */
    assert_true(!is_read || engine_version_equal(version, again));
}

static void tags_are_read(struct fuzz_input *input)
{
    struct bytes all = fuzz_bytes(input, input->size);
    read_text(all);
    write_version(all);
}

FUZZ_TARGET("fuzz_etag", "a version has one spelling, and no other text is read as one",
            tags_are_read)
