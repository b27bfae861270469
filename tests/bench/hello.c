/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that libmicrohttpd can do in the service's mode: a thread per connection, the service's
 * flags and limits, one response made at start and sent to every request. What Keyrest adds to a
 * request is the difference to this. Reads a request's body and forgets it.
 *
 *     hello BYTES ['Name: value'...]
 *
 * GET is answered 200 with BYTES bytes, everything else 204; both carry the headers given. Prints
 * the port it listens on, on loopback, and serves until it is killed.
 */
#include <microhttpd.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct MHD_Response *full, *empty;

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload_data,
                              size_t *upload_data_size, void **request)
{
    static int begun;
    (void)context, (void)url, (void)version, (void)upload_data;
    if (*request == NULL) {
        *request = &begun;
        return MHD_YES;
    }
    if (*upload_data_size > 0) {
        *upload_data_size = 0;
        return MHD_YES;
    }
    return strcmp(method, "GET") == 0 ? MHD_queue_response(connection, MHD_HTTP_OK, full)
                                      : MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, empty);
}

static struct MHD_Response *response_make(size_t size, char **headers)
{
    char *body = calloc(1, size + 1);
    if (body == NULL)
        abort();
    memset(body, 'x', size);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_FREE);
    for (; *headers != NULL; headers++) {
        char *colon = strstr(*headers, ": ");
        if (response == NULL || colon == NULL)
            abort();
        *colon = '\0';
        MHD_add_response_header(response, *headers, colon + 2);
        *colon = ':';
    }
    return response;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: hello BYTES ['Name: value'...]\n");
        return 2;
    }
    full = response_make(strtoul(argv[1], NULL, 10), argv + 2);
    empty = response_make(0, argv + 2);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)1 << 20, MHD_OPTION_STRICT_FOR_CLIENT, -1, MHD_OPTION_END);
    if (daemon == NULL)
        return 1;
    printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    for (;;)
        pause();
}
