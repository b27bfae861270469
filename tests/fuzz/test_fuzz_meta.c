/* SPDX-License-Identifier: Apache-2.0 */
/* The headers kept with a value: the input is header lines, and stored bytes as well. */
#include "../../api/meta.h"
#include "../lib/fuzz.h"

enum { META_BYTES_MAX = 200, FIELDS_MAX = 20 };

struct head {
    struct api_header fields[FIELDS_MAX];
    char *texts[FIELDS_MAX];
    size_t count;
};

static void add_field(struct head *head, char *text)
{
    char *colon = strchr(text, ':');
    if (colon != NULL)
        *colon = '\0';
    head->texts[head->count] = text;
    head->fields[head->count++] = (struct api_header){text, colon != NULL ? colon + 1 : ""};
}

static void free_head(struct head *head)
{
    while (head->count > 0)
        free(head->texts[--head->count]);
}

/* False: it is no head, or its kept headers are too many. */
static bool encode(const struct head *head, unsigned char **out_meta, size_t *out_bytes)
{
    struct exchange exchange = {.headers = head->fields, .header_count = head->count};
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    bool encoded = headers_read(&exchange, &headers, &problem) &&
                   meta_encode(&exchange, &headers, META_BYTES_MAX, out_meta, out_bytes, &problem);
    assert_true(encoded || problem.code == PROBLEM_BAD_FRAMING ||
                problem.code == PROBLEM_HEADERS_TOO_LARGE);
    return encoded;
}

/* ---- bytes that may be anything ---- */

static void decode(struct bytes all)
{
    struct bytes left = all, value;
    const unsigned char *start = all.data;
    enum meta_header header;
    for (size_t before = left.size; meta_next(&left, &header, &value); before = left.size) {
        const unsigned char *data = value.data, *rest = left.data;
        assert_true(left.size < before && rest + left.size == start + all.size);
        assert_true(data > start && data + value.size == rest);
        assert_int_equal(strncmp(meta_header_text(header), "Content-", 8), 0);
    }
}

/* ---- what is encoded ---- */

/* Kept, answered, sent again by the client that got them: the same bytes. */
static void encode_again(struct bytes meta)
{
    struct head head = {.count = 0};
    struct bytes left = meta, value;
    enum meta_header header, last = 0;
    unsigned char *again = NULL;
    size_t bytes = 0;
    while (meta_next(&left, &header, &value)) {
        char *line = NULL;
        assert_true(header > last && value.size > 0);
        assert_true(asprintf(&line, "%s: %.*s", meta_header_text(header), (int)value.size,
                             (const char *)value.data) > 0);
        add_field(&head, line);
        last = header;
    }
    assert_int_equal(left.size, 0);
    assert_true(encode(&head, &again, &bytes));
    assert_true(bytes_equal((struct bytes){again, bytes}, meta));
    free(again);
    free_head(&head);
}

static void meta_is_read(struct fuzz_input *input)
{
    struct head head = {.count = 0};
    unsigned char *meta = NULL;
    size_t bytes = 0;
    decode((struct bytes){input->data, input->size});
    while (input->size > 0 && head.count < FIELDS_MAX)
        add_field(&head, fuzz_text(input, '\n'));
    if (encode(&head, &meta, &bytes)) {
        assert_true(bytes <= META_BYTES_MAX);
        encode_again((struct bytes){meta, bytes});
    }
    free(meta);
    free_head(&head);
}

FUZZ_TARGET("fuzz_meta",
            "what is kept reads back as it was sent, and stored bytes never lead out of themselves",
            meta_is_read)
