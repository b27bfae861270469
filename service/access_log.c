/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of the line. */
#include "access_log.h"

#include "listener.h"

void access_log(struct logger *logger, const struct sockaddr *client, const char *method,
                const char *path, const struct response *response, const struct api_result *result)
{
    struct logger_line line;
    char address[64];
    listener_address_text(client, false, address, sizeof address);
    logger_begin_access(&line, logger);
    logger_text(&line, "method", method);
    logger_text(&line, "path", path);
    logger_number(&line, "status", result->status);
    logger_milliseconds(&line, "duration_ms", result->duration_ns);
    logger_number(&line, "received_bytes", result->received_bytes);
    logger_number(&line, "sent_bytes", result->sent_bytes);
    logger_text(&line, "client", address);
    if (result->status != 0) {
        logger_text(&line, "route", response->route);
        logger_text(&line, "problem", response->problem_code);
        logger_text(&line, "request_id", response->request_id);
        logger_text(&line, "traceparent", response->traceparent);
    }
    logger_end(&line);
}
