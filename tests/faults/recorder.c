/* Records what a program asks of the disk, for power_cut.py: every change of files and names under a prefix, with its
 * data and in the order in which it happened, and every flush.
 *
 *   PC_PREFIX   only files and folders at or below this
 *   PC_LOG      the file that gets the records: struct head, then two paths, then data
 *
 * A call that fails leaves no record, but for a flush: what it was to flush may be dropped for good. What is
 * written to descriptor 1 is recorded too: that is what the program told.
 * Stores into a shared mapping make no call; they are found at the next record, by comparison with a copy.
 *
 * For one process of several threads: calls are put in order by one lock. Linux only, as shim.c.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 'w', SIZE = 's', FLUSH = 'f', FLUSH_FAILED = 'e', FLUSH_ALL = 'a', FILE_MADE = 'n', FOLDER_MADE = 'd', RENAME = 'r', LINK = 'l',
       UNLINK = 'u', RMDIR = 'x', TOLD = 't', UNKNOWN = '?' };

struct head {
    uint8_t kind, flushed; /* flushed: through O_DSYNC or O_SYNC */
    uint16_t from, to;     /* lengths of the paths */
    uint32_t size;         /* length of the data */
    uint64_t node, at;     /* inode; offset, or the new size */
} __attribute__((packed));

struct mapping {
    char *start, *copy;
    size_t size;
    uint64_t node, at;
};

enum { MAPPINGS = 16, LARGEST = 1 << 20, BLOCK = 512, PATHS = 8300 };

static const char *prefix;
static int log_fd = -1;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static struct mapping mapped[MAPPINGS];

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("PC_LOG");
    prefix = getenv("PC_PREFIX");
    if (log && prefix) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(int kind, int flushed, uint64_t node, uint64_t at, const char *from, const char *to, const void *data,
                size_t size) {
    int saved = errno;
    struct head head = {kind, flushed, strlen(from), strlen(to), size, node, at};
    struct iovec parts[] = {{&head, sizeof head}, {(char *)from, head.from}, {(char *)to, head.to}, {(void *)data, size}};
    size_t whole = sizeof head + head.from + head.to + size;
    if (syscall(SYS_writev, log_fd, parts, 4) != (ssize_t)whole) abort(); /* a log with a gap would accuse the innocent */
    errno = saved;
}

static void look_at_mappings(void) {
    for (struct mapping *one = mapped; one < mapped + MAPPINGS; one++)
        for (size_t at = 0; one->start && at < one->size; at += BLOCK) {
            size_t size = one->size - at < BLOCK ? one->size - at : BLOCK;
            if (!memcmp(one->start + at, one->copy + at, size)) continue;
            memcpy(one->copy + at, one->start + at, size);
            put(WRITE, 0, one->node, one->at + at, "", "", one->copy + at, size);
        }
}

static void enter(void) {
    pthread_mutex_lock(&order);
    if (log_fd >= 0) look_at_mappings();
}

static void leave(void) {
    int saved = errno;
    pthread_mutex_unlock(&order);
    errno = saved;
}

static int ours(const char *path) {
    size_t width = prefix ? strlen(prefix) : 0;
    return log_fd >= 0 && width && !strncmp(path, prefix, width) && (path[width] == '/' || !path[width]);
}

/* The inode behind a descriptor, or 0 if it is not below the prefix. */
static uint64_t node_of(int fd) {
    char link[64], path[4096];
    struct stat found;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t width = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    path[width > 0 ? width : 0] = 0;
    uint64_t node = width > 0 && ours(path) && !fstat(fd, &found) ? found.st_ino : 0;
    errno = saved;
    return node;
}

/* ``path`` made absolute into ``whole``; whether it is below the prefix. */
static int whole_path(int dir, const char *path, char whole[PATHS]) {
    char link[64] = "/proc/self/cwd";
    int saved = errno;
    ssize_t width = 0;
    if (path[0] != '/') {
        if (dir != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        width = syscall(SYS_readlinkat, AT_FDCWD, link, whole, 4095);
        errno = saved;
        if (width <= 0) return 0;
        whole[width++] = '/';
    }
    snprintf(whole + width, PATHS - width, "%s", path);
    return ours(whole);
}

#define REAL(ret, name, args) \
    static ret(*real) args;   \
    if (!real) real = (ret(*) args)dlsym(RTLD_NEXT, #name)

static void wrote(int fd, const struct iovec *parts, int n, ssize_t done, off64_t at, int flushed) {
    int saved = errno;
    uint64_t node = fd == 1 ? 1 : node_of(fd);
    if (done <= 0 || !node || log_fd < 0) return;
    char *data = malloc(done);
    size_t have = 0;
    if (!data) abort();
    for (int i = 0; i < n && have < (size_t)done; i++) {
        size_t size = parts[i].iov_len < done - have ? parts[i].iov_len : done - have;
        memcpy(data + have, parts[i].iov_base, size);
        have += size;
    }
    struct stat found;
    int how = fcntl(fd, F_GETFL);
    if (fd == 1) at = 0;
    else if (how & O_APPEND) at = fstat(fd, &found) ? 0 : found.st_size - done; /* pwrite too: Linux takes no offset there */
    else if (at < 0) at = lseek64(fd, 0, SEEK_CUR) - done;
    put(fd == 1 ? TOLD : WRITE, flushed || (how & O_DSYNC), node, at, "", "", data, done); /* O_SYNC contains O_DSYNC */
    free(data);
    errno = saved;
}

#define BYTES(name, args, call, at)                 \
    ssize_t name args {                             \
        REAL(ssize_t, name, args);                  \
        struct iovec part = {(void *)data, size};   \
        enter();                                    \
        ssize_t done = real call;                   \
        wrote(fd, &part, 1, done, at, 0);           \
        leave();                                    \
        return done;                                \
    }
BYTES(write, (int fd, const void *data, size_t size), (fd, data, size), -1)
BYTES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), at)
BYTES(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), at)

#define VECTOR(name, args, call, at, flushed)       \
    ssize_t name args {                             \
        REAL(ssize_t, name, args);                  \
        enter();                                    \
        ssize_t done = real call;                   \
        wrote(fd, parts, n, done, at, flushed);     \
        leave();                                    \
        return done;                                \
    }
VECTOR(writev, (int fd, const struct iovec *parts, int n), (fd, parts, n), -1, 0)
VECTOR(pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at), at, 0)
VECTOR(pwritev64, (int fd, const struct iovec *parts, int n, off64_t at), (fd, parts, n, at), at, 0)
VECTOR(pwritev64v2, (int fd, const struct iovec *parts, int n, off64_t at, int flags), (fd, parts, n, at, flags), at,
       flags & (RWF_DSYNC | RWF_SYNC))
VECTOR(pwritev2, (int fd, const struct iovec *parts, int n, off_t at, int flags), (fd, parts, n, at, flags), at,
       flags & (RWF_DSYNC | RWF_SYNC))

#define FLUSHES(name)                               \
    int name(int fd) {                              \
        REAL(int, name, (int));                     \
        enter();                                    \
        int done = real(fd);                        \
        uint64_t node = node_of(fd);                \
        if (node) put(done ? FLUSH_FAILED : FLUSH, 0, node, 0, "", "", "", 0); \
        leave();                                    \
        return done;                                \
    }
FLUSHES(fsync)
FLUSHES(fdatasync)

/* Calls on a descriptor that answer 0 when done. */
#define ON_FD(name, args, call, record)             \
    int name args {                                 \
        REAL(int, name, args);                      \
        enter();                                    \
        int done = real call;                       \
        uint64_t node = done == 0 ? node_of(fd) : 0; \
        if (node) record;                           \
        leave();                                    \
        return done;                                \
    }
ON_FD(syncfs, (int fd), (fd), put(FLUSH_ALL, 0, node, 0, "", "", "", 0))
ON_FD(ftruncate, (int fd, off_t size), (fd, size), put(SIZE, 0, node, size, "", "", "", 0))
ON_FD(ftruncate64, (int fd, off64_t size), (fd, size), put(SIZE, 0, node, size, "", "", "", 0))

/* Setting blocks aside may lengthen the file; anything else that fallocate can do is not known to power_cut.py. */
static void allocated(int fd, uint64_t node, int mode, off64_t end) {
    struct stat found;
    if (mode & ~FALLOC_FL_KEEP_SIZE) put(UNKNOWN, 0, node, 0, "", "", "", 0);
    else if (!mode && !fstat(fd, &found) && found.st_size == end) put(SIZE, 0, node, end, "", "", "", 0);
}
ON_FD(fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size), allocated(fd, node, mode, at + size))
ON_FD(fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size),
      allocated(fd, node, mode, at + size))
ON_FD(posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size), allocated(fd, node, 0, at + size))
ON_FD(posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size), allocated(fd, node, 0, at + size))

/* Calls on one name. */
#define ON_NAME(name, args, dir, path, call, kind)  \
    int name args {                                 \
        REAL(int, name, args);                      \
        char whole[PATHS];                          \
        struct stat found = {0};                    \
        enter();                                    \
        int done = real call;                       \
        if (done == 0 && whole_path(dir, path, whole)) { \
            lstat(whole, &found);                   \
            put(kind, 0, found.st_ino, 0, whole, "", "", 0); \
        }                                           \
        leave();                                    \
        return done;                                \
    }
ON_NAME(unlink, (const char *path), AT_FDCWD, path, (path), UNLINK)
ON_NAME(unlinkat, (int dir, const char *path, int flags), dir, path, (dir, path, flags),
        flags & AT_REMOVEDIR ? RMDIR : UNLINK)
ON_NAME(rmdir, (const char *path), AT_FDCWD, path, (path), RMDIR)
ON_NAME(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode), FOLDER_MADE)
ON_NAME(mkdirat, (int dir, const char *path, mode_t mode), dir, path, (dir, path, mode), FOLDER_MADE)
ON_NAME(truncate, (const char *path, off_t size), AT_FDCWD, path, (path, size), UNKNOWN)
ON_NAME(truncate64, (const char *path, off64_t size), AT_FDCWD, path, (path, size), UNKNOWN)
ON_NAME(symlink, (const char *to, const char *path), AT_FDCWD, path, (to, path), UNKNOWN)
ON_NAME(symlinkat, (const char *to, int dir, const char *path), dir, path, (to, dir, path), UNKNOWN)

/* Calls on two names. */
#define ON_NAMES(name, args, a, from, b, to, call, kind) \
    int name args {                                 \
        REAL(int, name, args);                      \
        char first[PATHS], second[PATHS];           \
        enter();                                    \
        int done = real call;                       \
        if (done == 0 && (whole_path(a, from, first) | whole_path(b, to, second))) \
            put(kind, 0, 0, 0, first, second, "", 0); \
        leave();                                    \
        return done;                                \
    }
ON_NAMES(rename, (const char *from, const char *to), AT_FDCWD, from, AT_FDCWD, to, (from, to), RENAME)
ON_NAMES(renameat, (int a, const char *from, int b, const char *to), a, from, b, to, (a, from, b, to), RENAME)
ON_NAMES(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), a, from, b, to,
         (a, from, b, to, flags), flags & ~RENAME_NOREPLACE ? UNKNOWN : RENAME)
ON_NAMES(link, (const char *from, const char *to), AT_FDCWD, from, AT_FDCWD, to, (from, to), LINK)
ON_NAMES(linkat, (int a, const char *from, int b, const char *to, int flags), a, from, b, to, (a, from, b, to, flags),
         flags ? UNKNOWN : LINK)

/* Opening may make a file or empty it. Unnamed files (O_TMPFILE) are gone after a power cut. */
static void opened(int fd, int dir, const char *path, int flags, int was_there, off_t had) {
    char whole[PATHS];
    if (fd < 0 || (flags & O_TMPFILE) == O_TMPFILE || !whole_path(dir, path, whole)) return;
    uint64_t node = node_of(fd);
    if (!was_there) put(FILE_MADE, 0, node, 0, whole, "", "", 0);
    else if ((flags & O_TRUNC) && had) put(SIZE, 0, node, 0, "", "", "", 0);
}

#define OPENS(name, params, call, dir)              \
    int name params {                               \
        REAL(int, name, TYPES);                     \
        struct stat found = {0};                    \
        mode_t mode = 0;                            \
        if (flags & (O_CREAT | O_TMPFILE)) {        \
            va_list rest;                           \
            va_start(rest, flags);                  \
            mode = va_arg(rest, mode_t);            \
            va_end(rest);                           \
        }                                           \
        if (!(flags & (O_CREAT | O_TRUNC))) return real call; \
        enter();                                    \
        int saved = errno, was_there = !fstatat(dir, path, &found, 0); \
        errno = saved;                              \
        int fd = real call;                         \
        opened(fd, dir, path, flags, was_there, found.st_size); \
        leave();                                    \
        return fd;                                  \
    }
#define TYPES (const char *, int, ...)
OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
#undef TYPES
#define TYPES (int, const char *, int, ...)
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)

/* Shared writable mappings of files below the prefix, up to their end. */
static void remember(void *start, size_t size, int protection, int flags, int fd, off64_t at) {
    struct stat found;
    int saved = errno;
    if (start == MAP_FAILED || fd < 0 || !(protection & PROT_WRITE) || !(flags & MAP_SHARED) || !node_of(fd)) return;
    if (fstat(fd, &found) || found.st_size <= at) return;
    if ((off64_t)size > found.st_size - at) size = found.st_size - at;
    for (struct mapping *one = mapped; one < mapped + MAPPINGS; one++)
        if (!one->start && size <= LARGEST && (one->copy = malloc(size))) {
            one->size = size, one->node = found.st_ino, one->at = at, one->start = start;
            memcpy(one->copy, start, size);
            errno = saved;
            return;
        }
    put(UNKNOWN, 0, found.st_ino, 0, "", "", "", 0);
    errno = saved;
}

#define MAPS(name, off)                             \
    void *name(void *where, size_t size, int protection, int flags, int fd, off at) { \
        REAL(void *, name, (void *, size_t, int, int, int, off)); \
        enter();                                    \
        void *start = real(where, size, protection, flags, fd, at); \
        remember(start, size, protection, flags, fd, at); \
        leave();                                    \
        return start;                               \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

int munmap(void *start, size_t size) {
    REAL(int, munmap, (void *, size_t));
    enter();
    for (struct mapping *one = mapped; one < mapped + MAPPINGS; one++)
        if (one->start == start && start) {
            free(one->copy);
            one->start = NULL;
        }
    int done = real(start, size);
    leave();
    return done;
}

int msync(void *start, size_t size, int flags) {
    REAL(int, msync, (void *, size_t, int));
    enter();
    int done = real(start, size, flags);
    for (struct mapping *one = mapped; one < mapped + MAPPINGS; one++)
        if (!done && (flags & MS_SYNC) && one->start && one->start <= (char *)start && (char *)start < one->start + one->size)
            put(FLUSH, 0, one->node, 0, "", "", "", 0);
    leave();
    return done;
}
