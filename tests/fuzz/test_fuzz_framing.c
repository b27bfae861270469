/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests: each line of the input is one field. What is accepted has one reading. */
#include <strings.h>

#include "../../api/framing.h"
#include "../lib/fuzz.h"

enum { FIELDS_MAX = 40 };

struct head {
    struct api_header fields[FIELDS_MAX];
    char *texts[FIELDS_MAX];
    size_t count;
    bool http_1_1;
};

static void read_head(struct fuzz_input *input, struct head *head)
{
    head->http_1_1 = fuzz_byte(input) % 2 == 0;
    for (head->count = 0; input->size > 0 && head->count < FIELDS_MAX; head->count++) {
        char *text = fuzz_text(input, '\n'), *colon = strchr(text, ':');
        const char *value = colon != NULL ? colon + 1 + strspn(colon + 1, " ") : "";
        if (colon != NULL)
            *colon = '\0';
        head->texts[head->count] = text;
        head->fields[head->count] = (struct api_header){text, value};
    }
}

static bool check_framing(const struct head *head, const struct headers *headers)
{
    struct exchange exchange = {
        .headers = head->fields, .header_count = head->count, .http_1_1 = head->http_1_1};
    struct framing framing = {.chunked = false};
    struct problem problem = {.code = PROBLEM_NONE};
    bool accepted = framing_read(&exchange, headers, &framing, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (!accepted)
        return false;
    uint32_t lengths = headers->counts[HEADER_CONTENT_LENGTH];
    uint32_t encodings = headers->counts[HEADER_TRANSFER_ENCODING];
    assert_true(lengths + encodings <= 1);
    assert_int_equal(framing.chunked, encodings == 1);
    assert_true(head->http_1_1 || encodings == 0);
    assert_true(lengths == 1 || framing.content_length == 0);
    return true;
}

/* However it is written, only a name of this service is accepted. */
static void check_host(const struct headers *headers)
{
    static const char *const allowed[] = {"keys.example", NULL};
    const struct api_options options = {.allowed_hosts = allowed};
    struct target target = {.path = bytes_of("/")};
    struct problem problem = {.code = PROBLEM_NONE};
    bool accepted = framing_accept_host(&options, headers, &target, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (!accepted || headers->counts[HEADER_HOST] == 0) /* HTTP/1.0 needs none */
        return;
    struct bytes host = headers->values[HEADER_HOST];
    assert_true(host.size >= strlen(allowed[0]));
    assert_int_equal(strncasecmp(host.data, allowed[0], strlen(allowed[0])), 0);
    assert_true(host.size == strlen(allowed[0]) ||
                ((const char *)host.data)[strlen(allowed[0])] == ':');
}

static void check_origin(const struct headers *headers)
{
    struct target target = {.path = bytes_of("/")};
    struct problem problem = {.code = PROBLEM_NONE};
    bool accepted = framing_accept_origin(headers, &target, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (accepted && headers->counts[HEADER_SEC_FETCH_SITE] == 1)
        assert_false(header_is(headers->values[HEADER_SEC_FETCH_SITE], "cross-site"));
}

static void head_is_read(struct fuzz_input *input)
{
    struct head head;
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    read_head(input, &head);
    struct exchange exchange = {.headers = head.fields, .header_count = head.count};
    if (headers_read(&exchange, &headers, &problem) && check_framing(&head, &headers)) {
        check_host(&headers);
        check_origin(&headers);
    }
    while (head.count > 0)
        free(head.texts[--head.count]);
}

FUZZ_TARGET("fuzz_framing", "a head is refused, or has one reading", head_is_read)
