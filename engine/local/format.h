/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on disk: file names, magics, versions, fixed sizes. Little-endian. Values that reach the
 * disk are never renumbered; a new meaning takes a new number.
 */
#ifndef KEYREST_ENGINE_LOCAL_FORMAT_H
#define KEYREST_ENGINE_LOCAL_FORMAT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are written in host order");
_Static_assert(sizeof(void *) == 8, "pointers and positions share one 64-bit word");
#if !defined(__x86_64__)
#error "Concurrency Kit 0.7.1 lacks fences on other processors: Keyrest is built for amd64 only"
#endif

enum {
    FORMAT_VERSION = 1,
    FORMAT_BLOCK_BYTES = 4096, /* a device's write is not torn below this, we assume */
    FORMAT_RECORD_ALIGNMENT = 8,
    FORMAT_UUID_BYTES = 16,
};

#define FORMAT_MANIFEST_NAME      "MANIFEST"
#define FORMAT_MANIFEST_TEMPORARY "MANIFEST.tmp"
#define FORMAT_LOCK_NAME          "LOCK"
#define FORMAT_JOURNAL_PREFIX     "journal-"
#define FORMAT_SPARE_PREFIX       "spare-"
#define FORMAT_JOURNAL_SUFFIX     ".log"
#define FORMAT_JOURNAL_NAME       FORMAT_JOURNAL_PREFIX "%016" PRIx64 FORMAT_JOURNAL_SUFFIX
#define FORMAT_SPARE_NAME         FORMAT_SPARE_PREFIX "%016" PRIx64 FORMAT_JOURNAL_SUFFIX
#define FORMAT_TABLE_NAME         "table-%016" PRIx64 ".tbl"
#define FORMAT_BALLAST_NAME       "BALLAST"

#define FORMAT_MANIFEST_MAGIC UINT64_C(0x74736566696e614d) /* "Manifest" */
#define FORMAT_SEGMENT_MAGIC  UINT64_C(0x6c616e72756f4a4b) /* "KJournal" */
#define FORMAT_TABLE_MAGIC    UINT64_C(0x656c62617454524b) /* "KRTtable" */
#define FORMAT_FRAME_MAGIC    UINT32_C(0x6d724646)         /* "FFrm" */

/* Whether `name` is what `format`, one of the names above, makes of an id; sets it. */
bool format_name_parse(const char *name, const char *format, uint64_t *out_id);

static inline uint64_t format_align(uint64_t bytes, uint64_t alignment)
{
    return (bytes + alignment - 1) & ~(alignment - 1);
}

#endif
