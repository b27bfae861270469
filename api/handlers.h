/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that routes.def names. `finish` handlers fill the response or set the request's
 * problem; a handler that does neither is a bug. Contracts of their parts: router.h, request.h.
 */
#ifndef KEYREST_API_HANDLERS_H
#define KEYREST_API_HANDLERS_H

#include "api.h"

bool key_put_begin(struct api *api, struct exchange *exchange);
bool batch_begin(struct api *api, struct exchange *exchange);
bool ttl_put_begin(struct api *api, struct exchange *exchange);

void keys_list(struct api *api, struct exchange *exchange, struct response *out_response);
void keys_delete(struct api *api, struct exchange *exchange, struct response *out_response);
void key_get(struct api *api, struct exchange *exchange, struct response *out_response);
void key_put(struct api *api, struct exchange *exchange, struct response *out_response);
void key_delete(struct api *api, struct exchange *exchange, struct response *out_response);
void batch_get(struct api *api, struct exchange *exchange, struct response *out_response);
void batch_post(struct api *api, struct exchange *exchange, struct response *out_response);
void ttl_get(struct api *api, struct exchange *exchange, struct response *out_response);
void ttl_put(struct api *api, struct exchange *exchange, struct response *out_response);
void ttl_delete(struct api *api, struct exchange *exchange, struct response *out_response);
void incr_post(struct api *api, struct exchange *exchange, struct response *out_response);
void changes_get(struct api *api, struct exchange *exchange, struct response *out_response);
void health_live(struct api *api, struct exchange *exchange, struct response *out_response);
void health_ready(struct api *api, struct exchange *exchange, struct response *out_response);
void compact_post(struct api *api, struct exchange *exchange, struct response *out_response);
void compactions_list(struct api *api, struct exchange *exchange, struct response *out_response);
void compactions_post(struct api *api, struct exchange *exchange, struct response *out_response);
void compactions_get(struct api *api, struct exchange *exchange, struct response *out_response);
void metrics_get(struct api *api, struct exchange *exchange, struct response *out_response);
void discovery_root(struct api *api, struct exchange *exchange, struct response *out_response);
void discovery_openapi(struct api *api, struct exchange *exchange, struct response *out_response);
void discovery_problem(struct api *api, struct exchange *exchange, struct response *out_response);

#endif
