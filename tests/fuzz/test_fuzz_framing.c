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
    if (lengths == 1) {
        struct bytes value = headers->values[HEADER_CONTENT_LENGTH];
        char text[24];
        assert_true(value.size > 0 && value.size < sizeof text);
        snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
        assert_int_equal(strspn(text, "0123456789"), value.size);
        assert_int_equal(strtoull(text, NULL, 10), framing.content_length);
    }
    return true;
}

/* However it is written, only a name of this service is accepted. */
static void check_host(const struct headers *headers)
{
    static const char *const allowed[] = {"keys.example", NULL};
    const struct api_options options = {.allowed_hosts = allowed};
    struct target target = {.path = bytes_of("/")};
    struct problem problem = {.code = PROBLEM_NONE};
    bool accepted = framing_accept_host(&options, headers, &target, false, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (!accepted || headers->counts[HEADER_HOST] == 0) /* HTTP/1.0 needs none */
        return;
    struct bytes host = headers->values[HEADER_HOST];
    assert_true(host.size >= strlen(allowed[0]));
    assert_int_equal(strncasecmp(host.data, allowed[0], strlen(allowed[0])), 0);
    assert_true(host.size == strlen(allowed[0]) ||
                ((const char *)host.data)[strlen(allowed[0])] == ':');
}

/* By other ways to write it, too, no name but localhost is this machine's own. */
static void check_loopback(const struct headers *headers)
{
    const struct api_options options = {.loopback = true};
    struct target target = {.path = bytes_of("/")};
    struct problem problem = {.code = PROBLEM_NONE};
    struct bytes host = headers->values[HEADER_HOST];
    if (!framing_accept_host(&options, headers, &target, true, &problem) || host.data == NULL)
        return;
    const char *text = host.data;
    size_t name = strlen("localhost");
    bool named = host.size >= name && strncasecmp(text, "localhost", name) == 0 &&
                 (host.size == name || text[name] == ':');
    for (size_t i = 0; i < host.size && !named; i++)
        assert_non_null(memchr("0123456789abcdefABCDEF:.[]", text[i], 26));
}

/* Behind its scheme, an origin names the host that was asked for. */
static void check_origin_host(const struct headers *headers)
{
    struct bytes origin = headers->values[HEADER_ORIGIN], host = headers->values[HEADER_HOST];
    if (headers->counts[HEADER_ORIGIN] == 0)
        return;
    assert_int_equal(headers->counts[HEADER_ORIGIN], 1);
    assert_int_equal(headers->counts[HEADER_HOST], 1);
    const char *from = memmem(origin.data, origin.size, "://", 3), *here = host.data;
    assert_non_null(from);
    from += 3;
    size_t left = (size_t)((const char *)origin.data + origin.size - from);
    size_t end = host.size > 0 && *here == '['
                     ? (size_t)((const char *)memchr(here, ']', host.size) - here)
                     : 0;
    while (end < host.size && here[end] != ':')
        end++;
    assert_true(left >= end && strncasecmp(from, here, end) == 0);
    assert_true(left == end || from[end] == ':');
}

static void check_origin(const struct headers *headers)
{
    struct target target = {.path = bytes_of("/")};
    struct problem problem = {.code = PROBLEM_NONE};
    bool accepted = framing_accept_origin(headers, &target, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (accepted && headers->counts[HEADER_SEC_FETCH_SITE] == 1)
        assert_false(header_is(headers->values[HEADER_SEC_FETCH_SITE], "cross-site"));
    if (accepted)
        check_origin_host(headers);
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
        check_loopback(&headers);
        check_origin(&headers);
    }
    while (head.count > 0)
        free(head.texts[--head.count]);
}

FUZZ_TARGET("fuzz_framing", "a head is refused, or has one reading", head_is_read)
