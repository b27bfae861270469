/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error type. Expected outcomes are statuses, returned by value and never ignored; broken
 * invariants are asserts. errno stays inside disk.c and server.c.
 */
#ifndef KEYREST_ENGINE_STATUS_H
#define KEYREST_ENGINE_STATUS_H

#include "scope.h"

enum status {
#define X(name, text) STATUS_##name,
#include "status.def"
};

/* Static text of a status, for logs and messages. */
const char *status_text(enum status status);

/* What opening tells a person: where a status alone says too little. Empty until a call fails. */
struct failure {
    enum status status;
    char message[400];
};

/* Fills `failure` (may be NULL) and returns `status`, so that a caller can `return failure_set()`. */
MUST_CHECK enum status failure_set(struct failure *failure, enum status status, const char *format,
                                   ...) PRINTF(3, 4);

#endif
