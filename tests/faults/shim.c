/* Fault injection for storage: counts write-like calls on files under a prefix and spoils chosen ones.
 *
 *   FI_PREFIX   only calls on paths that begin with this
 *   FI_COUNTER  a file of 8 bytes that holds the number of calls so far; shared by all processes that load the shim
 *   FI_AT       first call to spoil (from 1; 0: none)
 *   FI_TIMES    how many calls from there on (default 1; 0: all)
 *   FI_WHAT     KILL (SIGKILL before the call), EIO, ENOSPC, or SHORT (a write takes half of its bytes)
 *   FI_LOG      a file that gets a line for each call: number, name, path
 *
 * Linux only: paths of descriptors are read from /proc/self/fd.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *prefix, *what;
static long first, times;
static long local_count, *count = &local_count;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *counter = getenv("FI_COUNTER"), *log = getenv("FI_LOG");
    prefix = getenv("FI_PREFIX");
    what = getenv("FI_WHAT") ? getenv("FI_WHAT") : "KILL";
    first = getenv("FI_AT") ? atol(getenv("FI_AT")) : 0;
    times = getenv("FI_TIMES") ? atol(getenv("FI_TIMES")) : 1;
    if (counter) {
        int fd = syscall(SYS_openat, AT_FDCWD, counter, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0 && syscall(SYS_ftruncate, fd, (long)sizeof(long)) == 0) {
            void *map = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (map != MAP_FAILED) count = map;
        }
        if (fd >= 0) syscall(SYS_close, fd);
    }
    if (log) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

enum verdict { PASS, FAIL, HALF };

/* Count a call on ``path`` and say what becomes of it; errno is set for FAIL. */
static enum verdict judge(const char *name, const char *path) {
    int saved = errno;
    if (!prefix || strncmp(path, prefix, strlen(prefix)) != 0) return PASS;
    long now = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    if (log_fd >= 0) {
        char line[4400];
        int width = snprintf(line, sizeof line, "%ld %s %s\n", now, name, path);
        syscall(SYS_write, log_fd, line, width < (int)sizeof line ? (size_t)width : sizeof line - 1);
        errno = saved;
    }
    if (!first || now < first || (times && now >= first + times)) return PASS;
    if (!strcmp(what, "KILL")) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    if (!strcmp(what, "SHORT")) return HALF;
    errno = !strcmp(what, "EIO") ? EIO : ENOSPC;
    return FAIL;
}

static enum verdict on_fd(const char *name, int fd) {
    char link[64], path[4096];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t width = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = saved;
    if (width <= 0) return PASS;
    path[width] = 0;
    return judge(name, path);
}

static enum verdict on_path(const char *name, int dir, const char *path) {
    char whole[8300], link[64];
    int saved = errno;
    ssize_t width = 0;
    if (!path) return PASS;
    if (path[0] == '/') return judge(name, path);
    if (dir == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    width = syscall(SYS_readlinkat, AT_FDCWD, link, whole, 4095);
    errno = saved;
    if (width <= 0) return PASS;
    snprintf(whole + width, sizeof whole - width, "/%s", path);
    return judge(name, whole);
}

#define REAL(ret, name, args) \
    static ret(*real) args;   \
    if (!real) real = (ret(*) args)dlsym(RTLD_NEXT, #name)

/* Calls on a descriptor that move bytes: half of them go through for SHORT. */
#define BYTES(name, args, whole, half)              \
    ssize_t name args {                             \
        REAL(ssize_t, name, args);                  \
        enum verdict v = on_fd(#name, fd);          \
        if (v == FAIL) return -1;                   \
        return v == HALF && size > 1 ? real half : real whole; \
    }
BYTES(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
BYTES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), (fd, data, size / 2, at))
BYTES(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), (fd, data, size / 2, at))

/* The vector forms: for SHORT, half of the first part. */
#define VECTOR(name, args, whole, half)             \
    ssize_t name args {                             \
        REAL(ssize_t, name, args);                  \
        enum verdict v = on_fd(#name, fd);          \
        if (v == FAIL) return -1;                   \
        if (v == HALF && n > 0) {                   \
            struct iovec part = {parts[0].iov_base, parts[0].iov_len / 2}; \
            return real half;                       \
        }                                           \
        return real whole;                          \
    }
VECTOR(writev, (int fd, const struct iovec *parts, int n), (fd, parts, n), (fd, &part, 1))
VECTOR(pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at), (fd, &part, 1, at))
VECTOR(pwritev64, (int fd, const struct iovec *parts, int n, off64_t at), (fd, parts, n, at), (fd, &part, 1, at))
VECTOR(pwritev64v2, (int fd, const struct iovec *parts, int n, off64_t at, int flags), (fd, parts, n, at, flags),
       (fd, &part, 1, at, flags))
VECTOR(pwritev2, (int fd, const struct iovec *parts, int n, off_t at, int flags), (fd, parts, n, at, flags),
       (fd, &part, 1, at, flags))

#define ON_FD(name, args, whole)                    \
    int name args {                                 \
        REAL(int, name, args);                      \
        return on_fd(#name, fd) == FAIL ? -1 : real whole; \
    }
ON_FD(fsync, (int fd), (fd))
ON_FD(fdatasync, (int fd), (fd))
ON_FD(syncfs, (int fd), (fd))
ON_FD(ftruncate, (int fd, off_t size), (fd, size))
ON_FD(ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD(fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ON_FD(fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))

/* These return the error instead of setting errno. */
#define ALLOCATE(name, off)                         \
    int name(int fd, off at, off size) {            \
        REAL(int, name, (int, off, off));           \
        return on_fd(#name, fd) == FAIL ? errno : real(fd, at, size); \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

#define ON_PATH(name, args, dir, path, whole)       \
    int name args {                                 \
        REAL(int, name, args);                      \
        return on_path(#name, dir, path) == FAIL ? -1 : real whole; \
    }
ON_PATH(rename, (const char *from, const char *to), AT_FDCWD, to, (from, to))
ON_PATH(renameat, (int a, const char *from, int b, const char *to), b, to, (a, from, b, to))
ON_PATH(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), b, to, (a, from, b, to, flags))
ON_PATH(link, (const char *from, const char *to), AT_FDCWD, to, (from, to))
ON_PATH(linkat, (int a, const char *from, int b, const char *to, int flags), b, to, (a, from, b, to, flags))
ON_PATH(symlink, (const char *from, const char *to), AT_FDCWD, to, (from, to))
ON_PATH(unlink, (const char *path), AT_FDCWD, path, (path))
ON_PATH(unlinkat, (int dir, const char *path, int flags), dir, path, (dir, path, flags))
ON_PATH(rmdir, (const char *path), AT_FDCWD, path, (path))
ON_PATH(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
ON_PATH(mkdirat, (int dir, const char *path, mode_t mode), dir, path, (dir, path, mode))
ON_PATH(truncate, (const char *path, off_t size), AT_FDCWD, path, (path, size))
ON_PATH(truncate64, (const char *path, off64_t size), AT_FDCWD, path, (path, size))

/* Opening counts where it may make or cut a file. */
#define OPENS(name, params, call, dir)              \
    int name params {                               \
        REAL(int, name, TYPES);                     \
        mode_t mode = 0;                            \
        if (flags & (O_CREAT | O_TMPFILE)) {        \
            va_list rest;                           \
            va_start(rest, flags);                  \
            mode = va_arg(rest, mode_t);            \
            va_end(rest);                           \
        }                                           \
        if ((flags & (O_CREAT | O_TRUNC)) && on_path(#name, dir, path) == FAIL) return -1; \
        return real call;                           \
    }
#define TYPES (const char *, int, ...)
OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
#undef TYPES
#define TYPES (int, const char *, int, ...)
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)

/* A mapping has no descriptor; its file is found in /proc/self/maps. */
int msync(void *start, size_t size, int flags) {
    REAL(int, msync, (void *, size_t, int));
    char line[4400];
    FILE *maps = prefix ? fopen("/proc/self/maps", "re") : NULL;
    enum verdict v = PASS;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long low, high;
        char *path = strchr(line, '/');
        if (path && sscanf(line, "%lx-%lx", &low, &high) == 2 && low <= (unsigned long)start &&
            (unsigned long)start < high) {
            path[strcspn(path, "\n")] = 0;
            v = judge("msync", path);
            break;
        }
    }
    if (maps) fclose(maps);
    return v == FAIL ? -1 : real(start, size, flags);
}
