/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's callbacks. It calls, for each request on a connection's own thread: see_target once
 * the request line is there, handle when the headers are complete, for each piece of the body, and
 * at the end, then request_done. A response queued in the first call of handle closes the
 * connection, so only a refusal of an announced body is sent there: the body is not read then.
 */
#include "server.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "access_log.h"
#include "client.h"
#include "deadline.h"
#include "head.h"
#include "library_log.h"

enum {
    HEADERS_MAX = 128,
    NOTE_BYTES = 64,             /* in a connection's pool, for each header */
    ANSWER_HEAD_BYTES = 7 << 10, /* beside what was kept with a value: the same pool holds it */
    STACK_BYTES = 1 << 20,       /* the JSON library recurses */
    STREAM_BYTES = 16 << 10,     /* most of a stream that is asked for at once */
};

struct server {
    /* set at open and start, then constant */
    struct server_options options;
    struct api *api;
    struct MHD_Daemon *daemon;
    struct deadlines *deadlines;
    atomic_bool draining;
    /* owned by the accepting thread */
    struct clients clients;
    uint64_t open;
    /* atomic: counted by the accepting thread, read for /metrics */
    _Atomic uint64_t accepted, refused, refused_client;
};

enum stage {
    STAGE_NONE,     /* between requests */
    STAGE_HEADERS,  /* the request line is there */
    STAGE_BODY,     /* pieces go to api */
    STAGE_REFUSED,  /* `response` waits for the request's end */
    STAGE_ANSWERED, /* `response` was queued */
};

struct connection {
    /* set when accepted, then constant */
    struct server *server;
    struct client *client;
    struct sockaddr_storage address;
    const char *refusal; /* problem code of a connection over a cap; NULL: served */
    struct deadline deadline;
    /* owned by the connection's thread: the request under way */
    enum stage stage;
    bool begun; /* api_begin was called: api_end is due */
    bool body_announced;
    bool head_too_large;
    uint64_t began_ns, received_bytes, streamed_bytes;
    void *memory; /* api's part of the exchange, then `target`; grows to what a request needs */
    size_t memory_bytes;
    char *target; /* the library's own is changed under way */
    struct api_header *headers;
    size_t header_capacity;
    struct exchange exchange;
    struct response response;
};

static uint64_t now_ns(const struct server *server)
{
    return server->options.time->monotonic_ns(server->options.time);
}

/* ---- connections come and go: the accepting thread ---- */

/* The problem code that a new connection is answered with; NULL when there is room. */
static const char *admit(struct server *server, const struct connection *connection)
{
    uint64_t per_client = server->options.connections_per_client_max;
    if (server->open > server->options.connections_max) {
        atomic_fetch_add_explicit(&server->refused, 1, memory_order_relaxed);
        return "too-many-connections";
    }
    if (per_client > 0 && connection->client != NULL &&
        connection->client->connections > per_client) {
        atomic_fetch_add_explicit(&server->refused_client, 1, memory_order_relaxed);
        return "too-many-connections";
    }
    return NULL;
}

static struct connection *connection_open(struct server *server, struct MHD_Connection *library)
{
    const struct sockaddr *address =
        MHD_get_connection_info(library, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    int fd = MHD_get_connection_info(library, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->server = server;
    size_t size = address->sa_family == AF_INET6  ? sizeof(struct sockaddr_in6)
                  : address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                  : sizeof address->sa_family;
    memcpy(&connection->address, address, size);
    connection->client = clients_enter(&server->clients, address);
    server->open++;
    atomic_fetch_add_explicit(&server->accepted, 1, memory_order_relaxed);
    connection->refusal = admit(server, connection);
    deadlines_add(server->deadlines, &connection->deadline, fd);
    return connection;
}

static void connection_close(struct connection *connection)
{
    struct server *server = connection->server;
    deadlines_remove(server->deadlines, &connection->deadline);
    clients_leave(&server->clients, connection->client);
    server->open--;
    free(connection->memory);
    free(connection->headers);
    free(connection);
}

/* Without memory for its deadline a connection would be held for as long as the client likes. */
static void shut(struct MHD_Connection *library)
{
    shutdown(MHD_get_connection_info(library, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
             SHUT_RDWR);
}

static void connection_changed(void *context, struct MHD_Connection *library,
                               void **connection_context,
                               enum MHD_ConnectionNotificationCode change)
{
    if (change == MHD_CONNECTION_NOTIFY_STARTED) {
        *connection_context = connection_open(context, library);
        if (*connection_context == NULL)
            shut(library);
    } else if (*connection_context != NULL) {
        connection_close(*connection_context);
        *connection_context = NULL;
    }
}

/* ---- a request comes in: the connection's thread ---- */

static bool keep_target(struct connection *connection, const char *target)
{
    size_t size = strlen(target) + 1, api_bytes = api_exchange_bytes(target);
    if (api_bytes + size > connection->memory_bytes) {
        void *larger = realloc(connection->memory, api_bytes + size);
        if (larger == NULL)
            return false;
        connection->memory = larger;
        connection->memory_bytes = api_bytes + size;
    }
    connection->target = (char *)connection->memory + api_bytes;
    memcpy(connection->target, target, size);
    return true;
}

/* What it returns comes back as the request's context. */
static void *see_target(void *context, const char *target, struct MHD_Connection *library)
{
    const struct server *server = context;
    struct connection *connection =
        MHD_get_connection_info(library, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (connection == NULL || !keep_target(connection, target == NULL ? "" : target))
        return NULL;
    connection->stage = STAGE_HEADERS;
    connection->begun = connection->body_announced = false;
    connection->received_bytes = connection->streamed_bytes = 0;
    connection->began_ns = now_ns(server);
    deadline_headers(server->deadlines, &connection->deadline, connection->began_ns);
    return connection;
}

static bool is_header(const char *name, size_t size, const char *wanted, size_t wanted_size)
{
    return size == wanted_size && strncasecmp(name, wanted, size) == 0;
}

#define IS_HEADER(name, size, wanted) is_header(name, size, wanted, sizeof wanted - 1)

static bool reserve_headers(struct connection *connection, size_t count)
{
    if (count <= connection->header_capacity)
        return true;
    size_t bytes = count * sizeof *connection->headers;
    struct api_header *larger = realloc(connection->headers, bytes);
    if (larger == NULL)
        return false;
    connection->headers = larger;
    connection->header_capacity = count;
    return true;
}

static enum MHD_Result gather_header(void *context, enum MHD_ValueKind kind, const char *name,
                                     size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    (void)value_size;
    struct connection *connection = context;
    struct exchange *exchange = &connection->exchange;
    value = value == NULL ? "" : value;
    connection->headers[exchange->header_count++] = (struct api_header){name, value};
    if (IS_HEADER(name, name_size, "Transfer-Encoding") ||
        (IS_HEADER(name, name_size, "Content-Length") && strcmp(value, "0") != 0))
        connection->body_announced = true;
    return MHD_YES;
}

static size_t head_bytes(struct MHD_Connection *library)
{
    return MHD_get_connection_info(library, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
}

/* False: no memory. */
static bool fill_exchange(struct connection *connection, struct MHD_Connection *library,
                          const char *method, const char *url, const char *version)
{
    struct server *server = connection->server;
    struct exchange *exchange = &connection->exchange;
    int fields = MHD_get_connection_values(library, MHD_HEADER_KIND, NULL, NULL);
    if (!reserve_headers(connection, (size_t)fields))
        return false;
    *exchange = (struct exchange){
        .method = method,
        .target = connection->target,
        .http_1_1 = strcmp(version, MHD_HTTP_VERSION_1_0) != 0, /* 1.2 is as 1.1: RFC 9110 2.5 */
        .headers = connection->headers,
        .deadline_ns = connection->began_ns + server->options.request_ms_max * 1000000,
        .cancel = &connection->deadline.cancel,
        .draining = atomic_load_explicit(&server->draining, memory_order_relaxed),
        .refusal = connection->refusal,
        .memory = connection->memory,
    };
    MHD_get_connection_values_n(library, MHD_HEADER_KIND, gather_header, connection);
    const struct head head = {
        .method = method,
        .url = url,
        .version = version,
        .bytes = head_bytes(library),
        .fields = connection->headers,
        .field_count = exchange->header_count,
    };
    connection->head_too_large =
        head.field_count > HEADERS_MAX ||
        head.bytes + head.field_count * NOTE_BYTES > server->options.header_bytes_max;
    exchange->target_has_nul = head_line_has_nul(&head, connection->target);
    exchange->head_is_ambiguous = !head_is_all_told(&head);
    return true;
}

/* ---- a response goes out ---- */

/* Stands for the body of HEAD and 304: the library takes its length and never reads it. */
static ssize_t never_read(void *context, uint64_t position, char *buffer, size_t size)
{
    (void)context;
    (void)position;
    (void)buffer;
    (void)size;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Of a stream: each piece has the time of a body of its size. */
static ssize_t read_stream(void *context, uint64_t position, char *buffer, size_t size)
{
    struct connection *connection = context;
    struct server *server = connection->server;
    struct response *response = &connection->response;
    uint64_t deadline_ns = now_ns(server) + server->options.request_ms_max * 1000000;
    deadline_working(&connection->deadline);
    ssize_t got = response->read(response->owner, buffer, size, deadline_ns);
    uint64_t piece = got > 0 ? (uint64_t)got : 0;
    deadline_sending(server->deadlines, &connection->deadline, now_ns(server), piece);
    connection->streamed_bytes = position + piece;
    if (got == API_STREAM_FAILED)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return got == API_STREAM_END ? MHD_CONTENT_READER_END_OF_STREAM : got;
}

/* The body passes to the reply, which releases it; a stream is released when the request is done. */
static struct MHD_Response *make_body(struct connection *connection)
{
    struct response *response = &connection->response;
    struct MHD_Response *reply = NULL;
    void *body = (void *)(uintptr_t)response->body;
    switch (response->body_kind) {
    case RESPONSE_NONE:
        return MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    case RESPONSE_STATIC:
        return MHD_create_response_from_buffer(response->body_bytes, body, MHD_RESPMEM_PERSISTENT);
    case RESPONSE_OWNED:
        reply = MHD_create_response_from_buffer_with_free_callback_cls(
            response->body_bytes, body, response->release, response->owner);
        if (reply != NULL)
            response->release = NULL;
        return reply;
    case RESPONSE_STREAM:
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BYTES, read_stream,
                                                 connection, NULL);
    case RESPONSE_OMITTED:
        return MHD_create_response_from_callback(response->body_bytes, 1, never_read, NULL, NULL);
    }
    return NULL;
}

static struct MHD_Response *make_reply(struct connection *connection)
{
    const struct response *response = &connection->response;
    struct MHD_Response *reply = make_body(connection);
    if (reply == NULL)
        return NULL;
    enum MHD_Result complete = MHD_YES;
    for (size_t i = 0; i < response->header_count && complete == MHD_YES; i++)
        complete =
            MHD_add_response_header(reply, response->headers[i].name, response->headers[i].value);
    if (response->close && complete == MHD_YES)
        complete = MHD_add_response_header(reply, MHD_HTTP_HEADER_CONNECTION, "close");
    if (complete == MHD_YES)
        return reply;
    MHD_destroy_response(reply);
    return NULL;
}

static uint64_t sent_bytes(const struct connection *connection)
{
    const struct response *response = &connection->response;
    if (response->body_kind == RESPONSE_STREAM)
        return connection->streamed_bytes;
    return response->body_kind == RESPONSE_OMITTED ? 0 : response->body_bytes;
}

/* MHD_NO cuts the connection. */
static enum MHD_Result send_response(struct connection *connection, struct MHD_Connection *library,
                                     uint64_t now)
{
    struct response *response = &connection->response;
    struct MHD_Response *reply = response->status == 0 ? NULL : make_reply(connection);
    if (reply == NULL)
        return MHD_NO;
    deadline_sending(connection->server->deadlines, &connection->deadline, now,
                     sent_bytes(connection));
    connection->stage = STAGE_ANSWERED;
    enum MHD_Result queued = MHD_queue_response(library, response->status, reply);
    MHD_destroy_response(reply);
    return queued;
}

/* ---- the calls of one request ---- */

static enum MHD_Result begin(struct connection *connection, struct MHD_Connection *library)
{
    struct server *server = connection->server;
    enum api_verdict verdict = API_REFUSE;
    if (connection->head_too_large) {
        api_refuse(server->api, &connection->exchange, "headers-too-large", 0,
                   &connection->response);
        connection->response.close = true;
    } else {
        connection->begun = true;
        verdict = api_begin(server->api, &connection->exchange, &connection->response);
    }
    switch (verdict) {
    case API_REFUSE:
        if (connection->body_announced)
            return send_response(connection, library, now_ns(server));
        connection->stage = STAGE_REFUSED;
        break;
    case API_BODY:
    case API_NO_BODY:
        connection->stage = STAGE_BODY;
        if (connection->body_announced)
            deadline_body(server->deadlines, &connection->deadline, now_ns(server));
        break;
    }
    return MHD_YES;
}

static enum MHD_Result take_piece(struct connection *connection, const char *piece, size_t size)
{
    struct server *server = connection->server;
    connection->received_bytes += size;
    deadline_body_grows(server->deadlines, &connection->deadline, connection->received_bytes);
    bool going_on = connection->stage == STAGE_BODY &&
                    api_body(server->api, &connection->exchange, piece, size);
    return going_on ? MHD_YES : MHD_NO;
}

static enum MHD_Result answer(struct connection *connection, struct MHD_Connection *library)
{
    struct server *server = connection->server;
    uint64_t now = now_ns(server);
    if (connection->stage != STAGE_REFUSED) {
        connection->exchange.deadline_ns = now + server->options.request_ms_max * 1000000;
        deadline_working(&connection->deadline);
        api_finish(server->api, &connection->exchange, &connection->response);
        if (sent_bytes(connection) > 0)
            now = now_ns(server);
    }
    return send_response(connection, library, now);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *library, const char *url,
                              const char *method, const char *version, const char *piece,
                              size_t *piece_size, void **request_context)
{
    (void)context;
    struct connection *connection = *request_context;
    if (connection == NULL)
        return MHD_NO;
    if (connection->stage == STAGE_HEADERS)
        return fill_exchange(connection, library, method, url, version) ? begin(connection, library)
                                                                        : MHD_NO;
    if (*piece_size == 0)
        return answer(connection, library);
    enum MHD_Result result = take_piece(connection, piece, *piece_size);
    *piece_size = 0;
    return result;
}

/* Called for every request that see_target saw, however it ended. */
static void request_done(void *context, struct MHD_Connection *library, void **request_context,
                         enum MHD_RequestTerminationCode reason)
{
    (void)library;
    struct server *server = context;
    struct connection *connection = *request_context;
    if (connection == NULL)
        return;
    struct response *response = &connection->response;
    bool answered = connection->stage == STAGE_ANSWERED;
    bool sent = answered && reason == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    uint64_t now = now_ns(server);
    struct api_result result = {
        .status = answered ? response->status : 0,
        .duration_ns = now - connection->began_ns,
        .received_bytes = connection->received_bytes,
        .sent_bytes = sent ? sent_bytes(connection) : 0,
    };
    if (server->options.access_log && connection->stage != STAGE_HEADERS)
        access_log(server->options.logger, (const struct sockaddr *)&connection->address,
                   connection->exchange.method, connection->target, response, &result);
    if (connection->begun)
        api_end(server->api, &connection->exchange, &result);
    if (response->release != NULL)
        response->release(response->owner); /* a stream's, or it never became a reply's */
    response_done(response);
    *response = (struct response){0};
    connection->stage = STAGE_NONE;
    deadline_idle(server->deadlines, &connection->deadline, now);
    *request_context = NULL;
}

/* ---- the daemon ---- */

/* api decodes targets itself: %00 and %2F must not be lost here. */
static size_t leave_escaped(void *context, struct MHD_Connection *library, char *text)
{
    (void)context;
    (void)library;
    return strlen(text);
}

enum status server_open(const struct server_options *options, struct server **out_server)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return STATUS_NO_MEMORY;
    server->options = *options;
    struct deadlines_options deadlines = {
        .time = options->time,
        .header_ms = options->header_ms_max,
        .idle_ms = options->idle_ms_max,
        .bytes_per_second_min = options->body_bytes_per_second_min,
    };
    enum status status = deadlines_open(&deadlines, &server->deadlines);
    if (status != STATUS_OK) {
        server_close(server);
        return status;
    }
    *out_server = server;
    return STATUS_OK;
}

/*
 * What the library reads a head into, and writes the answer's to. It stays with the connection, and
 * the library clears it after each request: a larger one costs memory and time.
 */
static size_t pool_bytes(const struct server_options *options)
{
    return options->header_bytes_max + options->kept_bytes_max + ANSWER_HEAD_BYTES;
}

enum status server_start(struct server *server, struct api *api, struct failure *failure)
{
    const struct server_options *options = &server->options;
    server->api = api;
    if (deadlines_start(server->deadlines) != STATUS_OK)
        return failure_set(failure, STATUS_IO, "cannot start a thread");
    server->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, handle, server, MHD_OPTION_EXTERNAL_LOGGER, library_log, options->logger,
        MHD_OPTION_LISTEN_SOCKET, options->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->connections_max + SERVER_REFUSED_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        pool_bytes(options), MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, -1, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escaped, NULL, MHD_OPTION_URI_LOG_CALLBACK, see_target, server,
        MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server, MHD_OPTION_NOTIFY_COMPLETED,
        request_done, server, MHD_OPTION_END);
    if (server->daemon == NULL)
        return failure_set(failure, STATUS_IO,
                           "the HTTP library could not start; the log says why");
    return STATUS_OK;
}

void server_quiesce(struct server *server)
{
    atomic_store_explicit(&server->draining, true, memory_order_relaxed);
    MHD_quiesce_daemon(server->daemon);
    shutdown(server->options.listen_fd, SHUT_RDWR); /* closed only after the stop */
}

size_t server_busy(struct server *server)
{
    return deadlines_busy(server->deadlines);
}

void server_cancel(struct server *server)
{
    deadlines_cancel_all(server->deadlines);
}

void server_stop(struct server *server)
{
    if (server == NULL || server->daemon == NULL)
        return;
    MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    server_stop(server);
    deadlines_close(server->deadlines);
    free(server);
}

size_t server_figures(struct server *server, struct api_figure *out_rows, size_t capacity)
{
    struct deadlines_figures deadlines = deadlines_figures(server->deadlines);
    const struct api_figure rows[] = {
        {"connections", "Open connections.", false, deadlines.open},
        {"connections_limit", "Setting connections_max.", false, server->options.connections_max},
        {"connections_accepted_total", "Connections accepted.", true,
         atomic_load_explicit(&server->accepted, memory_order_relaxed)},
        {"connections_refused_total", "Connections refused over connections_max.", true,
         atomic_load_explicit(&server->refused, memory_order_relaxed)},
        {"connections_refused_client_total", "Connections refused over connections_per_client_max.",
         true, atomic_load_explicit(&server->refused_client, memory_order_relaxed)},
        {"connections_cut_headers_total", "Connections cut: headers too slow.", true,
         deadlines.cut[DEADLINE_FRESH] + deadlines.cut[DEADLINE_HEADERS]},
        {"connections_cut_body_total", "Connections cut: body too slow.", true,
         deadlines.cut[DEADLINE_BODY]},
        {"connections_cut_answer_total", "Connections cut: answer taken too slowly.", true,
         deadlines.cut[DEADLINE_SENDING]},
        {"connections_cut_idle_total", "Connections closed after idle_ms_max.", true,
         deadlines.cut[DEADLINE_IDLE]},
        {"clients_gone_total", "Clients that left while their request waited.", true,
         deadlines.gone},
    };
    size_t count = COUNT_OF(rows) < capacity ? COUNT_OF(rows) : capacity;
    memcpy(out_rows, rows, count * sizeof *rows);
    return count;
}
