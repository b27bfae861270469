/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `keyrest health URL`: one GET, for a container's health check. HTTP/1.0 without a Host header, which
 * passes whatever allowed_hosts says, since no browser sends it. 0 when a status from 200 to 299 came
 * within PROBE_MS_MAX, 2 when the URL is of another form, else 1; the reason goes to standard error.
 */
#ifndef KEYREST_SERVICE_PROBE_H
#define KEYREST_SERVICE_PROBE_H

enum { PROBE_MS_MAX = 5000 };

/* `url`: http://HOST[:PORT][/PATH], or unix:SOCKET for /livez on a Unix socket. */
int probe_run(const char *url);

#endif
