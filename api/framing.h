/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is refused before anything of a request is believed: heads that two programs could read
 * differently (RFC 9112 section 6.3, 11.2), hosts that are not ours (DNS rebinding), and writes
 * that a web page of another site sent. What the HTTP library hides is listed in api/README.md.
 */
#ifndef KEYREST_API_FRAMING_H
#define KEYREST_API_FRAMING_H

#include "api.h"
#include "headers.h"
#include "problem.h"
#include "target.h"

struct framing {
    bool chunked;
    uint64_t content_length; /* 0 when absent or chunked */
};

/* bad-framing, bad-host. */
MUST_CHECK bool framing_read(const struct exchange *exchange, const struct headers *headers,
                             struct framing *out_framing, struct problem *problem);

static inline bool framing_has_body(const struct framing *framing)
{
    return framing->chunked || framing->content_length > 0;
}

/*
 * The host asked for must be one of this service's. An absolute target's authority comes before the
 * Host header (RFC 9112 section 3.2.2). Probes ask by address, as Kubernetes' do: away from loopback,
 * where pages could reach them by DNS rebinding, they may name any host. bad-host, host-not-allowed.
 */
MUST_CHECK bool framing_accept_host(const struct api_options *options,
                                    const struct headers *headers, const struct target *target,
                                    bool is_probe, struct problem *problem);

/* For methods that change something: no other web site's page may have sent them. cross-site. */
MUST_CHECK bool framing_accept_origin(const struct headers *headers, const struct target *target,
                                      struct problem *problem);

#endif
