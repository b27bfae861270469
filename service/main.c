/* SPDX-License-Identifier: Apache-2.0 */
/* The composition root: opens the parts from the settings, waits, closes them in reverse. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../api/api.h"
#include "../engine/engine.h"
#include "config.h"
#include "drain.h"
#include "listener.h"
#include "logger.h"
#include "machine.h"
#include "probe.h"
#include "server.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LOCKED = 3, EXIT_UNUSABLE = 4 };

enum { LARGE_BLOCK_BYTES = 2 << 20 };

enum { FILES_KEPT = 64 /* descriptors for the engine, the log and the library */ };

struct service {
    struct config config;
    struct logger *logger;
    struct listener listener;
    struct engine *engine;
    struct server *server;
    struct api *api;
};

/* ---- what the parts tell each other ---- */

static int exit_code_of(enum status status)
{
    if (status == STATUS_INVALID)
        return EXIT_USAGE;
    if (status == STATUS_LOCKED)
        return EXIT_LOCKED;
    if (status == STATUS_CORRUPT_LOG || status == STATUS_CORRUPT || status == STATUS_FORMAT)
        return EXIT_UNUSABLE;
    return EXIT_FAILED;
}

static void log_event(struct logger *logger, const struct engine_event *event)
{
    static const enum logger_level levels[] = {
        [EVENT_DEBUG] = LOGGER_DEBUG, [EVENT_INFO] = LOGGER_INFO,   [EVENT_WARN] = LOGGER_WARN,
        [EVENT_ERROR] = LOGGER_ERROR, [EVENT_FATAL] = LOGGER_FATAL,
    };
    const struct engine_event_kind *kind = engine_event_kind(event->name);
    struct logger_line line;
    logger_begin(&line, logger, levels[kind->level], kind->message);
    if (kind->fields & EVENT_FILE)
        logger_text(&line, "file", event->file);
    if (kind->fields & EVENT_OFFSET)
        logger_number(&line, "offset", event->offset);
    if (kind->fields & EVENT_SEQUENCE)
        logger_number(&line, "sequence", event->sequence);
    if (kind->fields & EVENT_BYTES)
        logger_number(&line, "bytes", event->bytes);
    if (kind->fields & EVENT_COUNT)
        logger_number(&line, "count", event->count);
    if (kind->fields & EVENT_MS)
        logger_number(&line, "ms", event->ms);
    if (kind->fields & EVENT_STATUS)
        logger_text(&line, "reason", status_text(event->status));
    if (kind->fields & EVENT_DETAIL)
        logger_text(&line, "detail", event->detail);
    logger_end(&line);
}

static void on_event(void *context, const struct engine_event *event)
{
    struct service *service = context;
    log_event(service->logger, event);
    if (event->name == EVENT_RECOVERY_DONE)
        drain_reached(DRAIN_LOADED);
    if (event->name == EVENT_RECOVERY_FAILED)
        drain_request(exit_code_of(event->status));
}

static size_t figures(void *context, struct api_figure *out_rows, size_t capacity)
{
    struct service *service = context;
    size_t count = server_figures(service->server, out_rows, capacity);
    if (count < capacity)
        out_rows[count++] =
            (struct api_figure){"log_lines_suppressed_total", "Log lines held back by rate.", true,
                                logger_suppressed(service->logger)};
    return count;
}

/* ---- the start, part by part ---- */

MUST_CHECK static enum status open_config(struct service *service, char **arguments,
                                          struct failure *failure)
{
    struct config_source source = {arguments, environ, machine_memory_bytes()};
    return config_load(&service->config, &source, failure);
}

static void log_stranger(void *context, const char *name)
{
    struct logger_line line;
    logger_begin(&line, context, LOGGER_WARN, "environment variable is no setting: ignored");
    logger_text(&line, "name", name);
    logger_end(&line);
}

static void log_setting(void *line, const char *name, const char *value)
{
    logger_text(line, name, value);
}

MUST_CHECK static enum status open_logger(struct service *service)
{
    struct logger_line line;
    service->logger = logger_open(STDERR_FILENO, (enum logger_level)service->config.log_level,
                                  time_source_system());
    if (service->logger == NULL)
        return STATUS_NO_MEMORY;
    logger_begin(&line, service->logger, LOGGER_INFO, "settings");
    logger_text(&line, "version", KEYREST_VERSION);
    config_each(&service->config, log_setting, &line);
    logger_end(&line);
    config_each_stranger(environ, log_stranger, service->logger);
    return STATUS_OK;
}

MUST_CHECK static enum status open_listener(struct service *service, struct failure *failure)
{
    const struct config *config = &service->config;
    struct listener_address address;
    enum status status = listener_parse(config->listen, &address, failure);
    if (status != STATUS_OK)
        return status;
    if (!address.loopback && !config->insecure)
        return failure_set(failure, STATUS_INVALID,
                           "listen = %s can be reached from other machines, and there are no "
                           "access rules: whoever connects reads and writes every key. Put an "
                           "authenticating proxy before a loopback address, or say --insecure",
                           config->listen);
    if (!address.loopback)
        logger_say(service->logger, LOGGER_WARN,
                   "insecure: whoever can connect reads and writes every key");
    return listener_open(&address, &service->listener, failure);
}

MUST_CHECK static enum status open_engine(struct service *service, struct failure *failure)
{
    const struct config *config = &service->config;
    struct engine_options options = engine_options_default();
    char file_url[4096 + sizeof "file:"];
    if ((size_t)snprintf(file_url, sizeof file_url, "file:%s", config->data) >= sizeof file_url)
        return failure_set(failure, STATUS_INVALID, "data: the path is too long");
    options.url = *config->engine != '\0' ? config->engine : file_url;
    options.durability_interval_ms = config->durability;
    options.key_bytes_max = (uint32_t)config->key_bytes_max;
    options.meta_bytes_max = (uint32_t)config->meta_bytes_max;
    options.batch_operations_max = (uint32_t)config->batch_operations_max;
    options.value_bytes_max = config->value_bytes_max;
    options.memory_bytes_max = config->memory_bytes_max;
    options.memtable_bytes = config->memtable_bytes;
    options.journal_segment_bytes = config->journal_segment_bytes;
    options.reserve_bytes = config->reserve_bytes;
    options.ballast_bytes = config->ballast_bytes;
    options.compaction_interval_ms = config->compaction_interval_ms;
    options.compaction_bytes_per_second_max = config->compaction_bytes_per_second_max;
    options.changes_bytes_max = config->changes_bytes_max;
    options.on_event = on_event;
    options.on_event_context = service;
    return engine_open(&options, &service->engine, failure);
}

/* Prepared before api, which asks it for figures; started after it. */
MUST_CHECK static enum status open_server(struct service *service, struct failure *failure)
{
    struct config *config = &service->config;
    uint64_t files_max = machine_raise_files_max();
    uint64_t connections_most = files_max - FILES_KEPT - SERVER_REFUSED_MAX;
    if (files_max <= FILES_KEPT + SERVER_REFUSED_MAX)
        return failure_set(failure, STATUS_IO,
                           "only %" PRIu64 " open files are allowed: raise ulimit -n", files_max);
    if (connections_most < config->connections_max) {
        config->connections_max = connections_most;
        logger_say(service->logger, LOGGER_WARN,
                   "connections_max lowered to fit the limit of open files (ulimit -n)");
    }
    struct server_options options = {
        .logger = service->logger,
        .time = time_source_system(),
        .listen_fd = service->listener.fd,
        .connections_max = config->connections_max,
        .connections_per_client_max = config->connections_per_client_max,
        .header_bytes_max = config->header_bytes_max,
        .kept_bytes_max = config->meta_bytes_max,
        .header_ms_max = config->header_ms_max,
        .idle_ms_max = config->idle_ms_max,
        .request_ms_max = config->request_ms_max,
        .body_bytes_per_second_min = config->body_bytes_per_second_min,
        .access_log = config->access_log,
    };
    return server_open(&options, &service->server);
}

/* What waits holds its connection: others need some, too. After open_server(). */
static uint64_t watchers_max(const struct config *config)
{
    uint64_t most = config->connections_max / 2;
    return config->watchers_max < most ? config->watchers_max : most;
}

MUST_CHECK static enum status open_api(struct service *service)
{
    struct api_options options = {
        .version = KEYREST_VERSION,
        .allowed_hosts = (const char *const *)service->config.allowed_hosts,
        .loopback = service->listener.address.loopback,
        .unix_socket = service->listener.address.unix_socket,
        .batch_get_keys_max = (uint32_t)service->config.batch_get_keys_max,
        .watchers_max = watchers_max(&service->config),
        .wait_ms_max = service->config.wait_ms_max,
        .heartbeat_ms = service->config.heartbeat_ms,
        .time = time_source_system(),
        .figures = figures,
        .figures_context = service,
    };
    return api_open(service->engine, &options, &service->api);
}

static void log_listening(const struct service *service)
{
    struct logger_line line;
    logger_begin(&line, service->logger, LOGGER_INFO, "listening");
    logger_text(&line, "address", service->listener.name);
    logger_end(&line);
}

static void announce(struct service *service)
{
    struct engine_health health;
    log_listening(service);
    engine_health(service->engine, &health);
    drain_reached(DRAIN_LISTENING);
    if (health.state == ENGINE_READY)
        drain_reached(DRAIN_LOADED);
}

MUST_CHECK static enum status start(struct service *service, char **arguments,
                                    struct failure *failure)
{
    enum status status = open_config(service, arguments, failure);
    if (status == STATUS_OK)
        status = open_logger(service);
    if (status == STATUS_OK)
        status = open_listener(service, failure);
    if (status == STATUS_OK)
        status = open_engine(service, failure);
    if (status == STATUS_OK)
        status = open_server(service, failure);
    if (status == STATUS_OK)
        status = open_api(service);
    if (status == STATUS_OK)
        status = server_start(service->server, service->api, failure);
    return status;
}

static void stop(struct service *service)
{
    server_stop(service->server);
    api_close(service->api);
    engine_close(service->engine);
    server_close(service->server);
    listener_close(&service->listener);
    logger_close(service->logger);
    config_done(&service->config);
}

static void report(const struct service *service, const struct failure *failure, enum status status)
{
    const char *message = *failure->message != '\0' ? failure->message : status_text(status);
    struct logger_line line;
    if (service->logger == NULL || status == STATUS_INVALID) {
        fprintf(stderr, "keyrest: %s\n", message);
        return;
    }
    logger_begin(&line, service->logger, LOGGER_FATAL, "cannot start");
    logger_text(&line, "reason", message);
    logger_end(&line);
}

/*
 * Fixed, since the allocator would raise them to the largest block it saw: blocks as large as values
 * go back to the system when they are freed, and are not kept by each of the threads' arenas.
 */
static void bound_idle_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK_BYTES);
}

/* ---- the commands ---- */

static int serve(char **arguments)
{
    struct service service = {.listener.fd = -1};
    struct failure failure = {0};
    bound_idle_memory();
    drain_prepare();
    enum status status = start(&service, arguments, &failure);
    int exit_code = exit_code_of(status);
    if (status == STATUS_OK) {
        announce(&service);
        exit_code = drain_wait();
        drain_run(service.server, service.api, service.config.drain_ms, service.logger);
    } else {
        report(&service, &failure, status);
    }
    stop(&service);
    return exit_code;
}

static void print_finding(void *context, const char *finding)
{
    (void)context;
    puts(finding);
}

static void print_verification(const char *directory, const struct engine_verification *found)
{
    printf("%s: %" PRIu64 " tables (%" PRIu64 " records, %" PRIu64 " bytes), %" PRIu64
           " journal segments (%" PRIu64 " frames, %" PRIu64 " records), %" PRIu64 " strays: ",
           directory, found->tables, found->records, found->table_bytes, found->segments,
           found->frames, found->journal_records, found->strays);
    if (found->findings == 0)
        printf("clean\n");
    else
        printf("%" PRIu64 " finding%s\n", found->findings, found->findings == 1 ? "" : "s");
}

/* Exit status 0: clean, 4: there were findings; others as ever. */
static int verify(const char *directory)
{
    struct engine_verification found;
    struct failure failure = {0};
    char url[4096 + sizeof "file:"];
    if ((size_t)snprintf(url, sizeof url, "file:%s", directory) >= sizeof url) {
        fprintf(stderr, "keyrest verify: the path is too long\n");
        return EXIT_USAGE;
    }
    enum status status = engine_verify(url, print_finding, NULL, &found, &failure);
    if (status == STATUS_OK || status == STATUS_CORRUPT_LOG)
        print_verification(directory, &found);
    else
        fprintf(stderr, "keyrest verify: %s\n", failure.message);
    if (fflush(stdout) != 0)
        return EXIT_FAILED;
    return status == STATUS_OK ? EXIT_OK : exit_code_of(status);
}

static int help(void)
{
    printf(
        "Keyrest " KEYREST_VERSION ", a durable key-value store over HTTP.\n\n"
        "usage: keyrest [serve] [--SETTING VALUE]...\n"
        "       keyrest health URL     0 when URL (http://HOST:PORT/PATH, unix:SOCKET) answers "
        "2xx\n"
        "       keyrest verify DIR     reads a whole store that is not in use; tells all damage\n"
        "       keyrest --version | --help\n\n"
        "A setting a-b is given as --a-b VALUE or --a-b=VALUE, as KEYREST_A_B in the environment,\n"
        "or as a line `a_b = VALUE` of the file named by --config FILE or KEYREST_CONFIG; the\n"
        "first of these that is there counts.\n\n");
    config_print_help(stdout);
    printf(
        "\nexit codes: 0 stopped, 1 failure, 2 usage, 3 data directory in use, 4 data unusable\n");
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

static bool asks_for(char *const *arguments, const char *flag)
{
    for (; *arguments != NULL; arguments++)
        if (strcmp(*arguments, flag) == 0)
            return true;
    return false;
}

static int with_one(char *const *arguments, int (*run)(const char *argument), const char *hint)
{
    if (arguments[0] != NULL && arguments[1] == NULL)
        return run(arguments[0]);
    fprintf(stderr, "keyrest %s\n", hint);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    bool has_command = argc > 1 && argv[1][0] != '-';
    const char *command = has_command ? argv[1] : "serve";
    char **arguments = argv + (has_command ? 2 : argc > 0);
    if (asks_for(arguments, "--help") || strcmp(command, "help") == 0)
        return help();
    if (asks_for(arguments, "--version")) {
        printf("keyrest " KEYREST_VERSION "\n");
        return EXIT_OK;
    }
    if (strcmp(command, "serve") == 0)
        return serve(arguments);
    if (strcmp(command, "health") == 0)
        return with_one(arguments, probe_run,
                        "health: give one URL, such as http://127.0.0.1:7070/livez");
    if (strcmp(command, "verify") == 0)
        return with_one(arguments, verify, "verify: give one data directory, such as ./data");
    fprintf(stderr, "keyrest: there is no command '%s'; see keyrest --help\n", command);
    return EXIT_USAGE;
}
