/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that depend on what is there: the newest version is read, the write is made of it, and is
 * committed under the condition that it is still the newest. When another write came between, all
 * begins anew, until the deadline. The request's own conditions, dates among them, are judged by what
 * was read: it is what the commit finds. One thread.
 */
#ifndef KEYREST_API_CURRENT_H
#define KEYREST_API_CURRENT_H

#include "request.h"

/*
 * Makes the operation of what is there (zero: nothing); all but key and conditions is its own. It may
 * be called again. Anything but OK ends the request with that status, whatever the conditions say, and
 * nothing is applied. NULL: the operation is made already.
 */
typedef enum status current_change(void *context, const struct engine_item *item,
                                   struct engine_operation *operation);

/*
 * `with_value` false: items as of engine_head(). OK: `out_item` is what was there (zero: nothing), the
 * caller's now. CONFLICT: a condition of the request does not hold, for `operation->version`. BUSY at
 * the deadline: nothing is applied. Else as engine_get, engine_commit, or as `change` said.
 */
MUST_CHECK enum status current_commit(struct api *api, const struct exchange *exchange,
                                      bool with_value, current_change *change, void *context,
                                      struct engine_operation *operation,
                                      struct engine_item *out_item);

#endif
