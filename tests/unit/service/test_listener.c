/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "../../../service/client.h"
#include "../../../service/listener.h"

static struct listener_address parse_ok(const char *text)
{
    struct listener_address address;
    struct failure failure = {0};
    if (listener_parse(text, &address, &failure) != STATUS_OK)
        fail_msg("%s: %s", text, failure.message);
    return address;
}

static void knows_which_addresses_are_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:7070", true}, {"localhost:0", true}, {"127.9.9.9:1", true},
        {"[::1]:7070", true},     {"unix:/x", true},     {"0.0.0.0:7070", false},
        {"[::]:7070", false},     {"10.0.0.1:1", false}, {"128.0.0.1:65535", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (parse_ok(cases[i].text).loopback != cases[i].loopback)
            fail_msg("%s", cases[i].text);
}

static void writes_an_address_as_it_is_given(void **state)
{
    (void)state;
    static const char *const cases[] = {"127.0.0.1:7070", "[::1]:80", "0.0.0.0:1"};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[128];
        struct listener_address address = parse_ok(cases[i]);
        listener_address_text((struct sockaddr *)&address.address, true, text, sizeof text);
        assert_string_equal(text, cases[i]);
    }
}

static void refuses_what_is_no_address(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "7070",
        ":7070",
        "localhost",
        "localhost:",
        "::1:7070",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:000080",
        "1.2.3.4.5:1",
        "unix:",
        "[]:1",
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct listener_address address;
        struct failure failure = {0};
        if (listener_parse(cases[i], &address, &failure) != STATUS_INVALID)
            fail_msg("'%s' is taken", cases[i]);
        assert_non_null(strstr(failure.message, "listen: "));
    }
}

static void port_0_is_named_by_the_port_it_got(void **state)
{
    (void)state;
    struct listener_address address = parse_ok("127.0.0.1:0");
    struct listener listener;
    assert_int_equal(listener_open(&address, &listener, NULL), STATUS_OK);
    assert_memory_equal(listener.name, "127.0.0.1:", 10);
    assert_true(atoi(listener.name + 10) > 0);
    listener_close(&listener);
}

static void a_taken_port_is_named(void **state)
{
    (void)state;
    struct listener_address address = parse_ok("127.0.0.1:0");
    struct listener first, second;
    struct failure failure = {0};
    assert_int_equal(listener_open(&address, &first, NULL), STATUS_OK);
    address = parse_ok(first.name);
    assert_int_equal(listener_open(&address, &second, &failure), STATUS_IO);
    assert_non_null(strstr(failure.message, first.name));
    assert_non_null(strstr(failure.message, "in use"));
    listener_close(&first);
}

static void a_socket_file_is_replaced_only_when_nobody_serves_it(void **state)
{
    (void)state;
    char *directory = test_directory_make();
    char text[256];
    snprintf(text, sizeof text, "unix:%s/socket", directory);
    struct listener_address address = parse_ok(text);
    struct listener first, second;
    assert_int_equal(listener_open(&address, &first, NULL), STATUS_OK);
    assert_string_equal(first.name, text);
    assert_int_equal(listener_open(&address, &second, NULL), STATUS_IO);
    close(first.fd); /* as a crash leaves it: the file stays */
    assert_int_equal(listener_open(&address, &second, NULL), STATUS_OK);
    listener_close(&second);
    assert_int_equal(access(text + strlen("unix:"), F_OK), -1);
    test_directory_remove(directory);
}

static void a_file_that_is_no_socket_is_kept(void **state)
{
    (void)state;
    char *directory = test_directory_make();
    char text[256];
    snprintf(text, sizeof text, "unix:%s", directory);
    struct listener_address address = parse_ok(text);
    struct listener listener;
    assert_int_equal(listener_open(&address, &listener, NULL), STATUS_IO);
    assert_int_equal(access(directory, F_OK), 0);
    test_directory_remove(directory);
}

static struct client *enter(struct clients *clients, const char *text)
{
    struct listener_address address = parse_ok(text);
    return clients_enter(clients, (struct sockaddr *)&address.address);
}

static void clients_are_counted_by_address(void **state)
{
    (void)state;
    static struct clients clients;
    struct client *client = enter(&clients, "10.0.0.1:1");
    assert_ptr_equal(enter(&clients, "10.0.0.1:2"), client);
    assert_int_equal(client->connections, 2);
    struct client *other = enter(&clients, "10.0.0.2:1");
    assert_int_equal(other->connections, 1);
    clients_leave(&clients, client);
    assert_int_equal(client->connections, 1);
    clients_leave(&clients, client);
    clients_leave(&clients, other);
    for (size_t i = 0; i < CLIENT_BUCKETS; i++)
        assert_null(clients.buckets[i]);
}

static void an_ipv6_client_is_its_network(void **state)
{
    (void)state;
    static struct clients clients;
    struct client *client = enter(&clients, "[2001:db8::1]:1");
    assert_ptr_equal(enter(&clients, "[2001:db8::2]:1"), client);
    struct client *other = enter(&clients, "[2001:db8:0:1::1]:1");
    assert_ptr_not_equal(other, client);
    struct client *mapped = enter(&clients, "[::ffff:10.0.0.1]:1");
    struct client *mapped_other = enter(&clients, "[::ffff:10.0.0.2]:1");
    assert_ptr_not_equal(mapped, mapped_other);
    clients_leave(&clients, client);
    clients_leave(&clients, client);
    clients_leave(&clients, other);
    clients_leave(&clients, mapped);
    clients_leave(&clients, mapped_other);
}

static void clients_of_unix_sockets_are_not_counted(void **state)
{
    (void)state;
    static struct clients clients;
    assert_null(enter(&clients, "unix:/x"));
    clients_leave(&clients, NULL);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("knows which addresses are loopback", knows_which_addresses_are_loopback),
        TEST("writes an address as it is given", writes_an_address_as_it_is_given),
        TEST("refuses what is no address", refuses_what_is_no_address),
        TEST("port 0 is named by the port it got", port_0_is_named_by_the_port_it_got),
        TEST("a taken port is named", a_taken_port_is_named),
        TEST("a socket file is replaced only when nobody serves it",
             a_socket_file_is_replaced_only_when_nobody_serves_it),
        TEST("a file that is no socket is kept", a_file_that_is_no_socket_is_kept),
        TEST("clients are counted by address", clients_are_counted_by_address),
        TEST("an IPv6 client is its network", an_ipv6_client_is_its_network),
        TEST("clients of Unix sockets are not counted", clients_of_unix_sockets_are_not_counted),
    };
    return test_main(argc, argv, "listener", tests);
}
