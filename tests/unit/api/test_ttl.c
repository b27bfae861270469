/* SPDX-License-Identifier: Apache-2.0 */
/* /ttl/{key} from head to answer, over the memory engine and a clock that stands still. */
#include "../../../api/timestamp.h"
#include "../../lib/manual_time.h"
#include "client.h"

static struct manual_time clock_by_hand;

static struct client client_at_noon(void)
{
    struct engine_options limits = engine_options_default();
    manual_time_init(&clock_by_hand);
    limits.time = &clock_by_hand.source;
    return client_open_with(
        "memory:", (struct api_options){.loopback = true, .time = &clock_by_hand.source}, limits);
}

#define JSON .headers = {"Content-Type: application/json"}

static struct answer set_ttl(struct client *client, const char *body)
{
    return SEND(client, .method = "PUT", .target = "/ttl/k", JSON, .body = bytes_of(body));
}

static const char *from_now(int64_t ms)
{
    static char text[TIMESTAMP_BYTES];
    timestamp_write(clock_by_hand.source.wall_ms(&clock_by_hand.source) + ms, text);
    return text;
}

static void it_says_how_long_a_key_is_to_live(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    char wanted[100];
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER stays = get(&client, "/ttl/k");
    assert_int_equal(stays.response.status, 200);
    assert_string_equal(stays.body, "{\"ttl_ms\":null,\"expires\":null}\n");
    assert_header(&stays, "Content-Type", "application/json");
    assert_header(&stays, "Cache-Control", "no-store");
    ANSWER again = put(&client, "/keys/k?ttl=2s", "v");
    manual_time_advance_ms(&clock_by_hand, 500);
    ANSWER lives = get(&client, "/ttl/k");
    snprintf(wanted, sizeof wanted, "{\"ttl_ms\":1500,\"expires\":\"%s\"}\n", from_now(1500));
    assert_string_equal(lives.body, wanted);
    assert_header(&lives, "Keyrest-Expires", from_now(1500));
    ANSWER read = get(&client, "/keys/k");
    assert_header(&lives, "ETag", header_of(&read, "ETag"));
    manual_time_advance_ms(&clock_by_hand, 1500);
    ANSWER gone = get(&client, "/ttl/k");
    assert_problem(&gone, 404, "key-not-found");
}

static void value_and_headers_stay_and_the_version_changes(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k",
                       .headers = {"Content-Type: text/plain", "Content-Language: la"},
                       .body = bytes_of("value"));
    char before[64];
    snprintf(before, sizeof before, "%.60s", header_of(&made, "ETag"));
    ANSWER set = set_ttl(&client, "{\"ttl\":\"60s\"}");
    assert_int_equal(set.response.status, 204);
    assert_header(&set, "Keyrest-Expires", from_now(60000));
    assert_string_not_equal(header_of(&set, "ETag"), before);
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "value");
    assert_header(&read, "Content-Type", "text/plain");
    assert_header(&read, "Content-Language", "la");
    assert_header(&read, "Keyrest-Expires", from_now(60000));
    assert_header(&set, "ETag", header_of(&read, "ETag"));
    char body[100];
    snprintf(body, sizeof body, "{\"expires\":\"%s\"}", from_now(1));
    ANSWER named = set_ttl(&client, body);
    assert_header(&named, "Keyrest-Expires", from_now(1));
}

static void delete_makes_a_key_permanent(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    ANSWER made = put(&client, "/keys/k?ttl=1s", "");
    ANSWER kept = SEND(&client, .method = "DELETE", .target = "/ttl/k");
    assert_int_equal(kept.response.status, 204);
    assert_header(&kept, "Keyrest-Expires", "");
    manual_time_advance_ms(&clock_by_hand, 1000);
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.status, 200);
    assert_header(&kept, "ETag", header_of(&read, "ETag"));
    ANSWER again = SEND(&client, .method = "DELETE", .target = "/ttl/k");
    assert_int_equal(again.response.status, 204);
    assert_header(&again, "ETag", header_of(&read, "ETag")); /* nothing was written */
}

static void conditions_are_obeyed(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    char match[64], none_match[64];
    ANSWER made = put(&client, "/keys/k", "v");
    snprintf(match, sizeof match, "If-Match: %.40s", header_of(&made, "ETag"));
    snprintf(none_match, sizeof none_match, "If-None-Match: %.40s", header_of(&made, "ETag"));
    ANSWER same = SEND(&client, .method = "GET", .target = "/ttl/k", .headers = {none_match});
    assert_int_equal(same.response.status, 304);
    assert_int_equal(same.response.body_kind, RESPONSE_OMITTED);
    assert_int_equal(same.response.body_bytes, strlen("{\"ttl_ms\":null,\"expires\":null}\n"));
    ANSWER first = SEND(&client, .method = "PUT", .target = "/ttl/k",
                        .headers = {match, "Content-Type: application/json"},
                        .body = bytes_of("{\"ttl\":\"1h\"}"));
    assert_int_equal(first.response.status, 204);
    ANSWER second = SEND(&client, .method = "PUT", .target = "/ttl/k",
                         .headers = {match, "Content-Type: application/json"},
                         .body = bytes_of("{\"ttl\":\"2h\"}"));
    assert_problem(&second, 412, "precondition-failed");
    assert_header(&second, "ETag", header_of(&first, "ETag"));
    ANSWER removed = SEND(&client, .method = "DELETE", .target = "/ttl/k", .headers = {match});
    assert_problem(&removed, 412, "precondition-failed");
    ANSWER told = SEND(&client, .method = "GET", .target = "/ttl/k", .headers = {match});
    assert_problem(&told, 412, "precondition-failed");
    ANSWER read = get(&client, "/keys/k");
    assert_header(&read, "Keyrest-Expires", from_now(3600000));
}

static void an_absent_key_is_404_whatever_the_conditions_say(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET", "PUT", "DELETE"};
    CLIENT client = client_at_noon();
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER absent = SEND(&client, .method = methods[i], .target = "/ttl/k",
                             .headers = {"If-Match: *", "Content-Type: application/json"},
                             .body = bytes_of("{\"ttl\":\"1h\"}"));
        assert_problem(&absent, 404, "key-not-found");
    }
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.status, 404);
}

static void another_body_is_refused_where_it_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer;
    } rows[] = {
        {"{}", ""},
        {"[]", ""},
        {"\"1h\"", ""},
        {"{\"ttl\":60}", "/ttl"},
        {"{\"ttl\":null}", "/ttl"},
        {"{\"ttl\":\"0s\"}", "/ttl"},
        {"{\"ttl\":\"keep\"}", "/ttl"},
        {"{\"expires\":\"1999-01-01T00:00:00Z\"}", "/expires"},
        {"{\"expires\":\"soon\"}", "/expires"},
        {"{\"ttl\":\"1h\",\"expires\":\"2999-01-01T00:00:00Z\"}", "/expires"},
        {"{\"ttl\":\"1h\",\"ttl\":\"1h\"}", "/ttl"},
        {"{\"tll\":\"1h\"}", "/tll"},
    };
    CLIENT client = client_at_noon();
    ANSWER made = put(&client, "/keys/k", "v");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char pointer[40];
        ANSWER refused = set_ttl(&client, rows[i].body);
        assert_problem(&refused, 422, "bad-shape");
        snprintf(pointer, sizeof pointer, "\"pointer\":\"%s\"", rows[i].pointer);
        if (rows[i].pointer[0] != '\0')
            assert_contains(refused.body, pointer);
    }
    ANSWER broken = set_ttl(&client, "{\"ttl\":\"1h\"");
    assert_problem(&broken, 400, "bad-json");
    ANSWER empty = set_ttl(&client, "");
    assert_problem(&empty, 400, "bad-json");
    ANSWER text =
        SEND(&client, .method = "PUT", .target = "/ttl/k", .headers = {"Content-Type: text/plain"},
             .body = bytes_of("{\"ttl\":\"1h\"}"));
    assert_problem(&text, 415, "media-type");
    ANSWER read = get(&client, "/keys/k");
    assert_header(&read, "Keyrest-Expires", "");
    assert_header(&made, "ETag", header_of(&read, "ETag"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("it says how long a key is to live", it_says_how_long_a_key_is_to_live),
        TEST("value and headers stay, and the version changes",
             value_and_headers_stay_and_the_version_changes),
        TEST("DELETE makes a key permanent", delete_makes_a_key_permanent),
        TEST("conditions are obeyed", conditions_are_obeyed),
        TEST("an absent key is 404 whatever the conditions say",
             an_absent_key_is_404_whatever_the_conditions_say),
        TEST("another body is refused where it is wrong",
             another_body_is_refused_where_it_is_wrong),
    };
    return test_main(argc, argv, "ttl", tests);
}
