/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths, hosts, origins. */
#include "framing.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { LENGTH_DIGITS_MAX = 18 }; /* fits into 64 bits */

/* ---- lengths ---- */

static bool read_length(struct bytes value, uint64_t *out_length)
{
    const char *digits = value.data;
    uint64_t length = 0;
    if (value.size == 0 || value.size > LENGTH_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        length = length * 10 + (uint64_t)(digits[i] - '0');
    }
    *out_length = length;
    return true;
}

/*
 * A blank behind it means nothing by RFC 9110 section 5.5, but libmicrohttpd 0.9.75 takes "chunked "
 * for another coding, and all that follows on the connection for its body.
 */
static bool is_chunked(struct bytes coding)
{
    return header_is(coding, "chunked") && ((const char *)coding.data)[coding.size] == '\0';
}

static bool read_body_framing(const struct exchange *exchange, const struct headers *headers,
                              struct framing *out_framing, struct problem *problem)
{
    uint32_t lengths = headers->counts[HEADER_CONTENT_LENGTH];
    uint32_t codings = headers->counts[HEADER_TRANSFER_ENCODING];
    if (lengths > 1)
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "Content-Length is sent %u times: send it once.", lengths);
    if (codings > 0 && lengths > 0)
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "Transfer-Encoding and Content-Length are both sent: send one.");
    if (codings > 0 && !exchange->http_1_1)
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "Transfer-Encoding needs HTTP/1.1: send a Content-Length.");
    if (codings > 1 || (codings == 1 && !is_chunked(headers->values[HEADER_TRANSFER_ENCODING])))
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "The only Transfer-Encoding understood is chunked, once, with no "
                                  "blank behind it.");
    if (lengths == 1 &&
        !read_length(headers->values[HEADER_CONTENT_LENGTH], &out_framing->content_length))
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "Content-Length must be a decimal number of bytes.");
    out_framing->chunked = codings == 1;
    return true;
}

bool framing_read(const struct exchange *exchange, const struct headers *headers,
                  struct framing *out_framing, struct problem *problem)
{
    *out_framing = (struct framing){0};
    if (exchange->head_is_ambiguous)
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "The head holds a NUL byte, a folded line or a header without a "
                                  "name: send each header on one line, as name: value.");
    if (headers->counts[HEADER_HOST] > 1)
        return problem_set_detail(problem, PROBLEM_BAD_HOST, "Host is sent %u times: send it once.",
                                  headers->counts[HEADER_HOST]);
    if (headers->counts[HEADER_HOST] == 0 && exchange->http_1_1)
        return problem_set_detail(problem, PROBLEM_BAD_HOST,
                                  "HTTP/1.1 needs a Host header (RFC 9112 section 3.2).");
    return read_body_framing(exchange, headers, out_framing, problem);
}

/* ---- hosts ---- */

/* A host and port as they stand in Host, in an absolute target and in Origin. */
struct authority {
    struct bytes host; /* IPv6 without its brackets */
    struct bytes port; /* empty: none given */
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_port(struct bytes text)
{
    const char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (!is_digit(bytes[i]))
            return false;
    return true;
}

/* Of letters, digits and what else such a host may have. */
static bool is_host(struct bytes text, const char *others)
{
    const char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (!is_digit(bytes[i]) && !is_letter(bytes[i]) &&
            (bytes[i] == '\0' || strchr(others, bytes[i]) == NULL))
            return false;
    return true;
}

static bool authority_read(struct bytes text, struct authority *out_authority)
{
    const char *start = text.data;
    bool bracketed = text.size > 0 && start[0] == '[';
    const char *bracket = bracketed ? memchr(start, ']', text.size) : NULL;
    if (bracketed && (bracket == NULL || memchr(start, ':', (size_t)(bracket - start)) == NULL))
        return false; /* what stands in brackets is an IPv6 address, not a name */
    const char *after_brackets = bracketed ? bracket + 1 : start;
    size_t rest = text.size - (size_t)(after_brackets - start);
    const char *colon = rest > 0 ? memchr(after_brackets, ':', rest) : NULL;
    const char *host_end = bracketed ? bracket : colon != NULL ? colon : start + text.size;
    if (bracketed && rest > 0 && colon != after_brackets)
        return false;
    const char *host = start + bracketed;
    struct authority found = {{host, (size_t)(host_end - host)}, {"", 0}};
    if (colon != NULL)
        found.port = (struct bytes){colon + 1, (size_t)(start + text.size - colon) - 1};
    *out_authority = found;
    return is_port(found.port) && is_host(found.host, bracketed ? ":.%" : "-._~!$&'()*+,;=%");
}

static bool is_loopback(struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (header_is(host, "localhost"))
        return true;
    if (host.size >= sizeof text)
        return false;
    memcpy(text, host.data, host.size);
    text[host.size] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* An allowed host without a port stands for all its ports. */
static bool is_allowed(const struct authority *asked, const char *allowed_text)
{
    struct authority allowed;
    return authority_read(bytes_of(allowed_text), &allowed) &&
           allowed.host.size == asked->host.size &&
           strncasecmp(allowed.host.data, asked->host.data, asked->host.size) == 0 &&
           (allowed.port.size == 0 || bytes_equal(allowed.port, asked->port));
}

static struct bytes asked_host(const struct headers *headers, const struct target *target)
{
    return target->authority.data != NULL ? target->authority : headers->values[HEADER_HOST];
}

bool framing_accept_host(const struct api_options *options, const struct headers *headers,
                         const struct target *target, bool is_probe, struct problem *problem)
{
    bool has_list = options->allowed_hosts != NULL && options->allowed_hosts[0] != NULL;
    struct bytes text = asked_host(headers, target);
    struct authority asked;
    if (options->unix_socket || text.data == NULL) /* HTTP/1.0 without Host: no browser sends it */
        return true;
    if (!authority_read(text, &asked))
        return problem_set_detail(
            problem, PROBLEM_BAD_HOST,
            "The host is malformed: write name, name:port or [address]:port.");
    if (!options->loopback && (!has_list || is_probe))
        return true;
    if (options->loopback && is_loopback(asked.host))
        return true;
    for (const char *const *host = options->allowed_hosts; has_list && *host != NULL; host++)
        if (is_allowed(&asked, *host))
            return true;
    return problem_set(problem, PROBLEM_HOST_NOT_ALLOWED);
}

/* ---- origins ---- */

/* What is behind "http://" or "https://"; leaves out a port that is the scheme's own. */
static bool origin_read(struct bytes text, struct authority *out_authority)
{
    static const struct {
        const char *prefix, *port;
    } schemes[] = {{"http://", "80"}, {"https://", "443"}};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        struct bytes prefix = bytes_of(schemes[i].prefix);
        if (text.size <= prefix.size || strncasecmp(text.data, prefix.data, prefix.size) != 0)
            continue;
        struct bytes rest = {(const char *)text.data + prefix.size, text.size - prefix.size};
        if (!authority_read(rest, out_authority))
            return false;
        if (bytes_equal(out_authority->port, bytes_of(schemes[i].port)))
            out_authority->port.size = 0;
        return true;
    }
    return false;
}

static bool is_same_origin(struct bytes origin, struct bytes host)
{
    struct authority from, here;
    if (!origin_read(origin, &from) || host.data == NULL || !authority_read(host, &here))
        return false;
    if (bytes_equal(here.port, bytes_of("80")) || bytes_equal(here.port, bytes_of("443")))
        here.port.size = 0;
    return from.host.size == here.host.size &&
           strncasecmp(from.host.data, here.host.data, here.host.size) == 0 &&
           bytes_equal(from.port, here.port);
}

bool framing_accept_origin(const struct headers *headers, const struct target *target,
                           struct problem *problem)
{
    struct bytes origin = headers->values[HEADER_ORIGIN];
    if (headers->counts[HEADER_ORIGIN] > 1 ||
        header_is(headers->values[HEADER_SEC_FETCH_SITE], "cross-site"))
        return problem_set(problem, PROBLEM_CROSS_SITE);
    if (origin.data != NULL && !is_same_origin(origin, asked_host(headers, target)))
        return problem_set(problem, PROBLEM_CROSS_SITE);
    return true;
}
