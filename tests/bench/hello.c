/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that libmicrohttpd can do in the service's mode: a thread per connection, the service's
 * flags and limits. `once`: one response made at start and sent to every request; `each`: one made
 * for each, as by any server whose answers differ. What Keyrest adds to a request is the difference
 * to these. Reads a request's body and forgets it.
 *
 *     hello BYTES FILE once|each ['Name: value'...]
 *
 * GET is answered 200 with BYTES bytes, everything else 204; both carry the headers given. With a
 * FILE (else "") everything but GET is answered after a write of 4096 bytes and an fdatasync, forward
 * through a file that was filled with zeros: the least that a durable put can do. Prints the port it
 * listens on, on loopback, and serves until it is killed.
 */
#include <microhttpd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, FILE_BYTES = 64 << 20 };

/* set at start, then constant */
static bool each;
static size_t value_bytes;
static char *headers[64][2]; /* name and value; NULL ends them */
static struct MHD_Response *full, *empty;
static int file = -1;

static void write_block(off_t offset)
{
    static const char block[BLOCK_BYTES];
    if (pwrite(file, block, BLOCK_BYTES, offset) != BLOCK_BYTES)
        abort();
}

static void store_block(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static off_t offset;
    pthread_mutex_lock(&mutex);
    write_block(offset);
    offset = (offset + BLOCK_BYTES) % FILE_BYTES;
    if (fdatasync(file) != 0)
        abort();
    pthread_mutex_unlock(&mutex);
}

static void file_open(const char *path)
{
    file = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0)
        abort();
    for (off_t offset = 0; offset < FILE_BYTES; offset += BLOCK_BYTES)
        write_block(offset);
    if (fdatasync(file) != 0)
        abort();
}

static struct MHD_Response *response_make(size_t size)
{
    char *body = malloc(size + 1);
    if (body == NULL)
        abort();
    memset(body, 'x', size);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        abort();
    for (size_t i = 0; headers[i][0] != NULL; i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    return response;
}

static enum MHD_Result answer_made(struct MHD_Connection *connection)
{
    struct MHD_Response *made = response_make(value_bytes);
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, made);
    MHD_destroy_response(made);
    return queued;
}

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
    if (strcmp(method, "GET") == 0)
        return each ? answer_made(connection) : MHD_queue_response(connection, MHD_HTTP_OK, full);
    if (file >= 0)
        store_block();
    return MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, empty);
}

static void headers_split(char **lines)
{
    for (size_t i = 0; lines[i] != NULL; i++) {
        char *colon = strstr(lines[i], ": ");
        if (colon == NULL || i + 1 == sizeof headers / sizeof *headers)
            abort();
        *colon = '\0';
        headers[i][0] = lines[i];
        headers[i][1] = colon + 2;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: hello BYTES FILE once|each ['Name: value'...]\n");
        return 2;
    }
    each = strcmp(argv[3], "each") == 0;
    value_bytes = strtoul(argv[1], NULL, 10);
    headers_split(argv + 4);
    full = response_make(value_bytes);
    empty = response_make(0);
    if (*argv[2] != '\0')
        file_open(argv[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)24576, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)1 << 20, MHD_OPTION_STRICT_FOR_CLIENT, -1, MHD_OPTION_END);
    if (daemon == NULL)
        return 1;
    printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    for (;;)
        pause();
}
