/* SPDX-License-Identifier: Apache-2.0 */
/* unshare(), mount(), and the tools that make a file system. */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/loop.h>

/* ---- may we ---- */

static void write_text(const char *path, const char *text)
{
    int file = open(path, O_WRONLY);
    if (file >= 0 && write(file, text, strlen(text)) < 0)
        errno = 0; /* then mounting fails, which is told */
    if (file >= 0)
        close(file);
}

/* A user that is not root becomes one of a namespace of its own, where tmpfs may be mounted. */
static bool enter_namespace(void)
{
    char map[64];
    uid_t user = geteuid();
    gid_t group = getegid();
    if (user == 0)
        return unshare(CLONE_NEWNS) == 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", user);
    write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", group);
    write_text("/proc/self/gid_map", map);
    return true;
}

static bool may_mount(void)
{
    char *path = test_directory_make();
    bool may = mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("none", path, "tmpfs", 0, "size=64k") == 0;
    if (may)
        umount(path);
    test_directory_remove(path);
    return may;
}

static const char *refusal(bool loops)
{
    if (!enter_namespace() || !may_mount())
        return "mounts are not allowed here";
    if (loops && access("/dev/loop-control", R_OK | W_OK) != 0)
        return "there are no loop devices here";
    if (loops && system("command -v mkfs.ext4 >/dev/null") != 0)
        return "mkfs.ext4 is not installed (package e2fsprogs)";
    return NULL;
}

int mounts_main_(int argc, char **argv, const char *suite, bool loops,
                 const struct CMUnitTest *tests, size_t count)
{
    const char *why = refusal(loops);
    if (why == NULL)
        return test_main_(argc, argv, suite, tests, count);
    for (size_t i = 0; i < count; i++)
        printf("ok %zu # SKIP %s: %s\n", i + 1, tests[i].name, why);
    printf("1..%zu\n", count);
    return 0;
}

/* ---- mounting ---- */

static void must(bool done, const char *what, const char *path)
{
    if (!done)
        fail_msg("%s %s: %s", what, path, strerror(errno));
}

void mounts_tmpfs(const char *path, uint64_t bytes)
{
    char data[64];
    snprintf(data, sizeof data, "size=%llu", (unsigned long long)bytes);
    must(mount("none", path, "tmpfs", 0, data) == 0, "mounting tmpfs at", path);
}

void mounts_end(const char *path)
{
    if (umount(path) != 0)
        must(umount2(path, MNT_DETACH) == 0, "unmounting", path);
}

void mounts_make_ext4(const char *image, uint64_t bytes)
{
    char command[600];
    int file = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(file >= 0 && ftruncate(file, (off_t)bytes) == 0, "making", image);
    snprintf(command, sizeof command,
             "mkfs.ext4 -q -b 4096 -m 0 -E nodiscard,lazy_itable_init=0 '%s'", image);
    assert_int_equal(system(command), 0);
    must(posix_fallocate(file, 0, (off_t)bytes) == 0, "making", image);
    close(file);
}

/* The loop driver takes a write for done of which only a part found room: so each is one page. */
static void whole_requests(const char *device)
{
    char path[64];
    snprintf(path, sizeof path, "/sys/block/%s/queue/max_sectors_kb", device + strlen("/dev/"));
    write_text(path, "4");
}

/* A free device, bound to the image; it is let go of when the last mount ends. */
static int bind_loop(const char *image, char out_device[32])
{
    struct loop_config config = {.info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
    int file = open(image, O_RDWR | O_CLOEXEC);
    must(file >= 0, "opening", image);
    config.fd = (uint32_t)file;
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), device = -1;
    for (int tries = 0; tries < 20 && device < 0; tries++) {
        snprintf(out_device, 32, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
        device = open(out_device, O_RDWR | O_CLOEXEC);
        if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) != 0) {
            close(device); /* another process was faster */
            device = -1;
        }
    }
    must(device >= 0, "a loop device for", image);
    whole_requests(out_device);
    close(control);
    close(file);
    return device;
}

void mounts_ext4(const char *image, const char *path)
{
    char name[32];
    int device = bind_loop(image, name);
    must(mount(name, path, "ext4", MS_NOATIME, "errors=continue") == 0, "mounting ext4 at", path);
    close(device);
}

/* ---- below the file system ---- */

void mounts_punch(const char *image, uint64_t offset, uint64_t bytes)
{
    int file = open(image, O_RDWR | O_CLOEXEC);
    must(file >= 0 && fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                                (off_t)bytes) == 0,
         "punching", image);
    close(file);
}

/* So that its own writing is done while there is room. */
static void sync_file_system(const char *path)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(directory >= 0 && syncfs(directory) == 0, "syncing", path);
    close(directory);
}

/* The piece of the file that holds the byte at `offset`, as it lies on the device. */
static struct fiemap_extent extent_at(const char *path, uint64_t offset)
{
    union {
        struct fiemap map;
        unsigned char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
    } request = {.map = {.fm_start = offset,
                         .fm_length = 1,
                         .fm_flags = FIEMAP_FLAG_SYNC,
                         .fm_extent_count = 1}};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    must(file >= 0 && ioctl(file, FS_IOC_FIEMAP, &request) == 0, "asking for the extents of", path);
    close(file);
    assert_int_equal(request.map.fm_mapped_extents, 1);
    return request.map.fm_extents[0];
}

uint64_t mounts_device_offset(const char *path, uint64_t offset)
{
    struct fiemap_extent extent = extent_at(path, offset);
    return extent.fe_physical + (offset - extent.fe_logical);
}

void mounts_hollow_out(const char *image, const char *path)
{
    char filler[300];
    snprintf(filler, sizeof filler, "%s/filler", path);
    mounts_fill(filler, mounts_free_bytes(path) / 16);
    struct stat about;
    must(stat(filler, &about) == 0, "looking at", filler);
    for (uint64_t offset = 0; offset < (uint64_t)about.st_size;) {
        struct fiemap_extent extent = extent_at(filler, offset);
        mounts_punch(image, extent.fe_physical, extent.fe_length);
        offset = extent.fe_logical + extent.fe_length;
    }
    must(unlink(filler) == 0, "removing", filler);
    sync_file_system(path);
}

/* EXT4_IOC_SHUTDOWN: not in the kernel's headers for programs. */
void mounts_shut_down(const char *path, enum mounts_power_cut cut)
{
    uint32_t how = cut;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(directory >= 0 && ioctl(directory, _IOR('X', 125, uint32_t), &how) == 0, "shutting down",
         path);
    close(directory);
}

/* ---- space ---- */

uint64_t mounts_free_bytes(const char *path)
{
    struct statvfs about;
    must(statvfs(path, &about) == 0, "statvfs", path);
    return about.f_bavail * about.f_frsize;
}

void mounts_fill(const char *path, uint64_t bytes)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(file >= 0, "opening", path);
    off_t end = lseek(file, 0, SEEK_END);
    for (off_t step = 16 << 20; step >= 4096;) {
        uint64_t free_bytes = mounts_free_bytes(path);
        if (free_bytes <= bytes)
            break;
        if ((uint64_t)step <= free_bytes - bytes + 4095 && fallocate(file, 0, end, step) == 0)
            end += step;
        else
            step /= 2;
    }
    close(file);
}
