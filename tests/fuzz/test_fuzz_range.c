/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges and dates: four bytes are the value's size, then each line is a Range, an If-Range, or a date.
 */
#include <strings.h>
#include <time.h>

#include "../../api/http_date.h"
#include "../../api/range.h"
#include "../lib/fuzz.h"

static const struct engine_version current = {0x0123456789ab, 0x1f};

/* ---- ranges ---- */

/* Of a value of `size` bytes the range is what its Content-Range, read as a Range again, is. */
static void check_part(struct range range, uint64_t size)
{
    char content[RANGE_CONTENT_BYTES], text[RANGE_CONTENT_BYTES];
    assert_true(range.count > 0 && range.first < size && range.count <= size - range.first);
    range_write(&range, size, content);
    assert_true(strlen(content) < RANGE_CONTENT_BYTES);
    strcpy(text, content);
    text[strlen("bytes")] = '=';
    *strchr(text, '/') = '\0';
    struct headers headers = {.counts = {[HEADER_RANGE] = 1}};
    headers.values[HEADER_RANGE] = bytes_of(text);
    struct range again = range_select(&headers, current, size);
    assert_true(again.kind == RANGE_PART && again.first == range.first &&
                again.count == range.count);
}

static void check_range(const char *text, const char *if_range, uint64_t size)
{
    struct headers headers = {.counts = {[HEADER_RANGE] = 1}};
    headers.values[HEADER_RANGE] = bytes_of(text);
    if (if_range != NULL) {
        headers.counts[HEADER_IF_RANGE] = 1;
        headers.values[HEADER_IF_RANGE] = bytes_of(if_range);
    }
    struct range range = range_select(&headers, current, size);
    bool is_ours = if_range == NULL || strcmp(if_range, "\"0123456789ab-1f\"") == 0;
    if (range.kind == RANGE_WHOLE)
        assert_true(range.first == 0 && range.count == size);
    else
        assert_true(is_ours && strncasecmp(text, "bytes=", 6) == 0 && strchr(text, ',') == NULL);
    if (range.kind == RANGE_PART)
        check_part(range, size);
}

/* ---- dates ---- */

/* A second has one preferred spelling, and libc agrees which. */
static void check_date(const char *text)
{
    enum { NOW = 1795525200 };
    char written[HTTP_DATE_BYTES], expected[64];
    int64_t seconds, again;
    struct tm utc;
    if (!http_date_read(bytes_of(text), NOW, &seconds))
        return;
    http_date_write(seconds, written);
    assert_true(http_date_read(bytes_of(written), NOW, &again));
    assert_int_equal(again, seconds);
    time_t time = seconds;
    gmtime_r(&time, &utc);
    assert_true(strftime(expected, sizeof expected, "%a, %d %b %4Y %H:%M:%S GMT", &utc) > 0);
    assert_string_equal(written, expected);
}

static void ranges_are_selected(struct fuzz_input *input)
{
    uint64_t size = fuzz_number(input, 4);
    AUTO_FREE char *range = fuzz_text(input, '\n');
    AUTO_FREE char *if_range = fuzz_text(input, '\n');
    check_range(range, NULL, size);
    check_range(range, if_range, size);
    check_range(range, if_range, UINT64_MAX - size);
    while (input->size > 0) {
        AUTO_FREE char *date = fuzz_text(input, '\n');
        check_date(date);
    }
}

FUZZ_TARGET("fuzz_range",
            "a range lies within the value and is of the version named, and a date is one second",
            ranges_are_selected)
