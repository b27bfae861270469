/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing the file; a failure to make it is no failure of the store. */
#include "ballast.h"

#include "format.h"

enum { FILLED_SHARE = 2 }; /* released when less than this share of the reserve is free */

void ballast_init(struct ballast *ballast, struct disk *disk, uint64_t bytes,
                  uint64_t reserve_bytes)
{
    *ballast = (struct ballast){.disk = disk, .bytes = bytes, .reserve_bytes = reserve_bytes};
    struct disk_file *file;
    ballast->there = disk_open_file(disk, FORMAT_BALLAST_NAME, &file) == STATUS_OK;
    if (ballast->there)
        disk_file_close(file);
}

bool ballast_release(struct ballast *ballast)
{
    if (!ballast->there || disk_remove(ballast->disk, FORMAT_BALLAST_NAME) != STATUS_OK)
        return false;
    ballast->there = false;
    ballast->missing = true;
    return true;
}

static void make(struct ballast *ballast)
{
    struct disk_file *file;
    enum status status = disk_create(ballast->disk, FORMAT_BALLAST_NAME, &file);
    if (status != STATUS_OK)
        return;
    status = disk_file_reserve(file, ballast->bytes);
    disk_file_close(file);
    ballast->there =
        status == STATUS_OK || disk_remove(ballast->disk, FORMAT_BALLAST_NAME) != STATUS_OK;
    ballast->missing = status != STATUS_OK;
}

void ballast_look(struct ballast *ballast, uint64_t free_bytes, uint64_t table_bytes)
{
    if (ballast->bytes == 0) { /* a start with another setting may have left one */
        ballast_release(ballast);
        ballast->missing = false;
        return;
    }
    if (ballast->there && free_bytes < ballast->reserve_bytes / FILLED_SHARE) {
        ballast_release(ballast);
        return;
    }
    if (table_bytes > ballast->bytes)
        ballast->missing = !ballast->there;
    if (ballast->missing && free_bytes > ballast->reserve_bytes + 2 * ballast->bytes)
        make(ballast);
}
