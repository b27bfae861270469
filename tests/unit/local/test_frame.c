/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's frames: their size on disk, and what passes for one. */
#include "../../../engine/local/frame.h"
#include "../../lib/test.h"

static const char payload[] = "the records of one group";

static struct frame_header make(uint64_t seed)
{
    struct frame_header header = {
        .magic = FORMAT_FRAME_MAGIC,
        .bytes = sizeof payload,
        .records = 2,
        .first_sequence = 8,
        .last_sequence = 9,
        .durable_sequence = 7,
        .payload_check = checksum64(payload, sizeof payload, seed),
    };
    header.head_check = frame_head_check(&header, seed);
    return header;
}

static void starts_and_ends_on_whole_blocks(void **state)
{
    (void)state;
    assert_int_equal(frame_extent(0, false), 4096);
    assert_int_equal(frame_extent(4096 - 64, false), 4096);
    assert_int_equal(frame_extent(4096 - 63, false), 8192);
}

static void a_lazy_frame_is_packed_to_eight_bytes(void **state)
{
    (void)state;
    assert_int_equal(frame_extent(0, true), 64);
    assert_int_equal(frame_extent(8, true), 72);
    assert_int_equal(frame_extent(9, true), 80);
}

static void the_largest_payload_does_not_wrap(void **state)
{
    (void)state;
    assert_true(frame_extent(UINT32_MAX, false) > UINT32_MAX);
    assert_int_equal(frame_extent(UINT32_MAX, false) % 4096, 0);
}

static void is_valid_in_its_place(void **state)
{
    (void)state;
    uint64_t seed = frame_seed(11, 3, 8192);
    struct frame_header header = make(seed);
    assert_true(frame_head_is_valid(&header, seed));
    assert_true(frame_payload_is_valid(&header, payload, seed));
}

static void is_not_valid_elsewhere(void **state)
{
    (void)state;
    uint64_t seed = frame_seed(11, 3, 8192);
    struct frame_header header = make(seed);
    const uint64_t others[] = {frame_seed(12, 3, 8192), frame_seed(11, 4, 8192),
                               frame_seed(11, 3, 4096)};
    for (size_t i = 0; i < 3; i++) {
        assert_false(frame_head_is_valid(&header, others[i]));
        assert_false(frame_payload_is_valid(&header, payload, others[i]));
    }
}

static void a_flipped_bit_anywhere_is_noticed(void **state)
{
    (void)state;
    uint64_t seed = frame_seed(11, 3, 8192);
    struct frame_header header = make(seed);
    unsigned char *bytes = (unsigned char *)&header;
    for (size_t bit = 0; bit < sizeof header * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(frame_head_is_valid(&header, seed));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    char copy[sizeof payload];
    memcpy(copy, payload, sizeof copy);
    for (size_t bit = 0; bit < sizeof copy * 8; bit++) {
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        assert_false(frame_payload_is_valid(&header, copy, seed));
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
    }
}

static void sequences_that_run_backwards_are_refused(void **state)
{
    (void)state;
    uint64_t seed = frame_seed(11, 3, 8192);
    struct frame_header header = make(seed);
    header.first_sequence = 10;
    header.head_check = frame_head_check(&header, seed);
    assert_false(frame_head_is_valid(&header, seed));
}

static void pieces_have_the_checksum_of_the_whole(void **state)
{
    (void)state;
    enum { BYTES = 3000 };
    unsigned char data[BYTES];
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (unsigned char)(i * 7);
    for (size_t cut = 0; cut <= BYTES; cut += 37) {
        struct checksum_stream stream;
        checksum_stream_begin(&stream, 99);
        checksum_stream_add(&stream, data, cut);
        checksum_stream_add(&stream, data + cut, BYTES - cut);
        assert_true(checksum_stream_end(&stream) == checksum64(data, BYTES, 99));
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("starts and ends on whole blocks", starts_and_ends_on_whole_blocks),
        TEST("a lazy frame is packed to eight bytes", a_lazy_frame_is_packed_to_eight_bytes),
        TEST("the largest payload does not wrap", the_largest_payload_does_not_wrap),
        TEST("is valid in its place", is_valid_in_its_place),
        TEST("is not valid elsewhere", is_not_valid_elsewhere),
        TEST("a flipped bit anywhere is noticed", a_flipped_bit_anywhere_is_noticed),
        TEST("sequences that run backwards are refused", sequences_that_run_backwards_are_refused),
        TEST("pieces have the checksum of the whole", pieces_have_the_checksum_of_the_whole),
    };
    return test_main(argc, argv, "frame", tests);
}
