/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the process, and what the service manager is told of its life. SIGTERM and SIGINT ask
 * for a stop: no new connections, answers that close theirs, up to drain_ms for requests under way.
 * A second signal ends the process at once, with code 1. SIGHUP, SIGPIPE and SIGXFSZ are ignored.
 *
 * Threads: main, except where said.
 */
#ifndef KEYREST_SERVICE_DRAIN_H
#define KEYREST_SERVICE_DRAIN_H

#include <stdint.h>

#include "../api/api.h"
#include "logger.h"
#include "server.h"

/* Blocks the signals for this thread and those it starts: call it before any is started. */
void drain_prepare(void);

/* Asks for a stop that ends in `exit_code`. Any thread. */
void drain_request(int exit_code);

/* Waits for a signal or a request; returns the exit code to end with. */
int drain_wait(void);

/* Stops accepting and waits for requests under way; what is left after drain_ms is given up. */
void drain_run(struct server *server, struct api *api, uint64_t drain_ms, struct logger *logger);

/*
 * READY=1 goes to the socket in NOTIFY_SOCKET (systemd's sd_notify protocol), when there is one,
 * once both have been reached. Any thread.
 */
enum drain_milestone { DRAIN_LISTENING = 1, DRAIN_LOADED = 2 };
void drain_reached(enum drain_milestone milestone);

#endif
