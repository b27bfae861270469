/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the HTTP layer counts, and its rendering with all other figures as Prometheus text 0.0.4.
 * Labels have values from fixed lists only: methods, paths of routes.def, statuses that occur. A
 * series is made when it first counts. Any thread may count and render at any time.
 */
#ifndef KEYREST_API_METRICS_H
#define KEYREST_API_METRICS_H

#include "api.h"
#include "router.h"

struct metrics;

MUST_CHECK struct metrics *metrics_open(void); /* NULL: no memory */
void metrics_close(struct metrics *metrics);   /* NULL is allowed */

void metrics_begin(struct metrics *metrics);
/* `begun`: metrics_begin() counted it as in flight. */
void metrics_end(struct metrics *metrics, bool begun, enum method method, const struct route *route,
                 const struct api_result *result);

#endif
