/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk allows one writer: 4096 bytes and an fdatasync, again and again, forward through a
 * file that was filled with zeros and synced before, as a journal segment is.
 *
 *     sync_loop FILE SECONDS
 *
 * Prints writes per second. The file is made anew and removed at the end.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, FILE_BYTES = 64 << 20 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void write_block(int file, const char *block, off_t offset)
{
    if (pwrite(file, block, BLOCK_BYTES, offset) != BLOCK_BYTES) {
        perror("sync_loop: write");
        exit(1);
    }
}

static void sync_data(int file)
{
    if (fdatasync(file) != 0) {
        perror("sync_loop: fdatasync");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static char block[BLOCK_BYTES];
    if (argc != 3) {
        fprintf(stderr, "usage: sync_loop FILE SECONDS\n");
        return 2;
    }
    int file = open(argv[1], O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
    if (file < 0) {
        perror(argv[1]);
        return 1;
    }
    for (off_t offset = 0; offset < FILE_BYTES; offset += BLOCK_BYTES)
        write_block(file, block, offset);
    sync_data(file);

    double begun = now(), end = begun + atof(argv[2]);
    long writes = 0;
    for (; now() < end; writes++) {
        block[writes % BLOCK_BYTES]++;
        write_block(file, block, writes * (off_t)BLOCK_BYTES % FILE_BYTES);
        sync_data(file);
    }
    printf("%.0f\n", (double)writes / (now() - begun));
    close(file);
    unlink(argv[1]);
    return 0;
}
