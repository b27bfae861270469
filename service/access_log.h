/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the log for each request, however it ended. Any thread. */
#ifndef KEYREST_SERVICE_ACCESS_LOG_H
#define KEYREST_SERVICE_ACCESS_LOG_H

#include <sys/socket.h>

#include "../api/api.h"
#include "logger.h"

/* `path` is the raw target. What the response tells of itself is left out when none was queued. */
void access_log(struct logger *logger, const struct sockaddr *client, const char *method,
                const char *path, const struct response *response, const struct api_result *result);

#endif
