/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests made before the clock starts, in a file that wrk (requests.lua) and pace.c send round and
 * round: before each its length in decimal and a line feed.
 *
 *     requests DIALECT KIND KEYS VALUE_BYTES [PERCENT | TAG] >FILE
 *
 * Dialects: plain (/keys/bench/NUMBER), webdis, etcd. Kinds: put and get of all keys, each once in
 * random order; miss, of as many other keys; match: get with If-None-Match: TAG of the first key;
 * mix: zipfian (0.99) requests, PERCENT of them gets and the others puts.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/measure.h"

enum { FILE_BYTES_MAX = 64 << 20, MIX_REQUESTS_MAX = 20000 };

struct text {
    char *data;
    size_t size;
};

static struct text value, value_base64;

/* ---- base64 --------------------------------------------------------------------------------- */

static struct text base64(const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = bytes;
    struct text text = {allocate(1, size * 4 / 3 + 8), 0};
    for (size_t i = 0; i < size; i += 3) {
        unsigned long bits = (unsigned long)from[i] << 16;
        bits |= i + 1 < size ? (unsigned long)from[i + 1] << 8 : 0;
        bits |= i + 2 < size ? from[i + 2] : 0;
        for (size_t digit = 0; digit < 4; digit++)
            text.data[text.size++] = i + digit > size ? '=' : digits[bits >> (18 - 6 * digit) & 63];
    }
    return text;
}

/* ---- one request ---------------------------------------------------------------------------- */

static void print(const char *head, struct text body)
{
    printf("%zu\n%s", strlen(head) + body.size, head);
    fwrite(body.data, 1, body.size, stdout);
}

/* A head that ends with the length of its body; "0" for none is no part of a get. */
static void plain(bool put, uint64_t key, const char *tag)
{
    char head[512];
    int size =
        snprintf(head, sizeof head, "%s /keys/bench/%09" PRIu64 " HTTP/1.1\r\nHost: localhost\r\n",
                 put ? "PUT" : "GET", key);
    if (tag != NULL)
        size += snprintf(head + size, sizeof head - (size_t)size, "If-None-Match: %s\r\n", tag);
    if (put)
        size += snprintf(head + size, sizeof head - (size_t)size, "Content-Length: %zu\r\n",
                         value.size);
    snprintf(head + size, sizeof head - (size_t)size, "\r\n");
    print(head, put ? value : (struct text){NULL, 0});
}

static void webdis(bool put, uint64_t key, const char *tag)
{
    char head[512];
    if (put)
        snprintf(head, sizeof head,
                 "PUT /SET/bench%09" PRIu64
                 " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                 key, value.size);
    else
        snprintf(head, sizeof head,
                 "GET /GET/bench%09" PRIu64 ".txt HTTP/1.1\r\nHost: localhost\r\n%s%s%s\r\n", key,
                 tag != NULL ? "If-None-Match: " : "", tag != NULL ? tag : "",
                 tag != NULL ? "\r\n" : "");
    print(head, put ? value : (struct text){NULL, 0});
}

static void etcd(bool put, uint64_t key, const char *tag)
{
    char head[512], name[32];
    snprintf(name, sizeof name, "bench/%09" PRIu64, key);
    struct text key_base64 = base64(name, strlen(name));
    struct text body = {allocate(1, value_base64.size + 128), 0};
    (void)tag;
    body.size = (size_t)snprintf(
        body.data, value_base64.size + 128,
        put ? "{\"key\":\"%.*s\",\"value\":\"%.*s\"}" : "{\"key\":\"%.*s\"}", (int)key_base64.size,
        key_base64.data, (int)value_base64.size, value_base64.data);
    snprintf(head, sizeof head,
             "POST /v3/kv/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             put ? "put" : "range", body.size);
    print(head, body);
    free(body.data);
    free(key_base64.data);
}

typedef void speak(bool put, uint64_t key, const char *tag);

/* ---- many ----------------------------------------------------------------------------------- */

static void print_all(speak *say, bool put, uint64_t first, uint64_t keys)
{
    uint64_t random = 1, *order = allocate(keys, sizeof *order);
    for (uint64_t i = 0; i < keys; i++) {
        uint64_t other = random_next(&random) % (i + 1);
        order[i] = order[other];
        order[other] = first + i;
    }
    for (uint64_t i = 0; i < keys; i++)
        say(put, order[i], NULL);
    free(order);
}

static void print_mix(speak *say, uint64_t keys, unsigned percent)
{
    uint64_t random = 2, requests = FILE_BYTES_MAX / (value.size + 256);
    double sum = 0, *below = allocate(keys, sizeof *below);
    for (uint64_t rank = 0; rank < keys; rank++)
        below[rank] = sum += 1 / pow((double)(rank + 1), 0.99);
    if (requests > MIX_REQUESTS_MAX)
        requests = MIX_REQUESTS_MAX;
    for (uint64_t i = 0; i < requests; i++) {
        double at = (double)(random_next(&random) >> 11) * 0x1p-53 * sum;
        uint64_t low = 0, high = keys - 1;
        while (low < high) {
            uint64_t middle = (low + high) / 2;
            if (below[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        say(random_next(&random) % 100 >= percent, low, NULL);
    }
    free(below);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        speak *say;
    } dialects[] = {{"plain", plain}, {"webdis", webdis}, {"etcd", etcd}};
    speak *say = NULL;
    if (argc < 5)
        fail("usage: requests DIALECT KIND KEYS VALUE_BYTES [PERCENT | TAG]");
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (strcmp(argv[1], dialects[i].name) == 0)
            say = dialects[i].say;
    if (say == NULL)
        fail("there is no dialect %s", argv[1]);
    const char *kind = argv[2], *last = argc > 5 ? argv[5] : "";
    uint64_t keys = strtoull(argv[3], NULL, 10);
    value.size = strtoull(argv[4], NULL, 10);
    value.data = allocate(1, value.size);
    memset(value.data, 'x', value.size);
    value_base64 = base64(value.data, value.size);
    if (strcmp(kind, "mix") == 0)
        print_mix(say, keys, (unsigned)strtoul(last, NULL, 10));
    else if (strcmp(kind, "match") == 0)
        say(false, 0, last);
    else
        print_all(say, strcmp(kind, "put") == 0, strcmp(kind, "miss") == 0 ? keys : 0, keys);
    return 0;
}
