/* SPDX-License-Identifier: Apache-2.0 */
/* What must be so of every record that a reader is given, spelled out a second time. */
#ifndef KEYREST_TESTS_FUZZ_RECORD_CHECK_H
#define KEYREST_TESTS_FUZZ_RECORD_CHECK_H

#include "../../engine/local/checksum.h"
#include "../../engine/local/record.h"
#include "../lib/test.h"

/* It is inside what is there, and has the checksums that it states. */
static inline void check_record(const struct record *record, uint64_t available)
{
    assert_true(available >= sizeof *record && record_bytes(record) <= available);
    assert_true(record->key_bytes > 0);
    assert_true(record->type >= RECORD_PUT && record->type <= RECORD_EXPIRE);
    size_t head = sizeof *record + record->key_bytes + record->meta_bytes;
    const unsigned char *bytes = (const unsigned char *)record;
    assert_true(record->head_check == (uint32_t)checksum64(bytes + 4, head - 4, 0));
    assert_true(record->value_check == (uint32_t)checksum64(bytes + head, record->value_bytes, 0));
}

#endif
