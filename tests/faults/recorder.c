/* Preloaded into a service under test: writes down every change to files below FAULT_ROOT, in order, with its data,
 * or breaks one of them. One change at a time, so that the order in the journal is the order on the disk.
 *
 *   FAULT_JOURNAL  the file that the changes are appended to: kind (1 byte), length of path (4), offset (8),
 *                  length of data (4), path, data; little endian
 *   FAULT_KILL_AT  the process is killed when it begins its n-th change (from 1)
 *   FAULT_FULL_AT, FAULT_FULL_FOR  from the n-th change on, so many writes find the disk full
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char root[PATH_MAX];
static long changes, kill_at, full_at, full_for;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("FAULT_ROOT"), *file = getenv("FAULT_JOURNAL");
    if (!below || !realpath(below, root)) root[0] = 0;
    if (file) journal = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    kill_at = number("FAULT_KILL_AT");
    full_at = number("FAULT_FULL_AT");
    full_for = number("FAULT_FULL_FOR");
}

static int watched(const char *path) {
    size_t length = strlen(root);
    size_t end = strlen(path);
    if (end > 4 && !strcmp(path + end - 4, "-shm")) return 0; /* memory that processes share; made anew */
    return length && !strncmp(path, root, length) && path[length] == '/';
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return watched(path);
}

static int path_at(int folder, const char *name, char *path) {
    char base[PATH_MAX];
    if (name[0] == '/') snprintf(path, PATH_MAX, "%s", name);
    else if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length <= 0) return 0;
        base[length] = 0;
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
    }
    return watched(path);
}

/* Counts a change that is about to be made; true where a write shall find the disk full. */
static int about_to(int is_write) {
    changes++;
    if (kill_at && changes == kill_at) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    return is_write && full_at && changes >= full_at && changes < full_at + full_for;
}

static void note(char kind, const char *path, int64_t offset, const void *data, uint32_t size) {
    if (journal < 0) return;
    uint32_t length = (uint32_t)strlen(path);
    struct iovec parts[] = {{&kind, 1}, {&length, 4}, {&offset, 8}, {&size, 4},
                            {(void *)path, length}, {(void *)data, size}};
    if (syscall(SYS_writev, journal, parts, 6) < 0) abort();
}

static ssize_t changed_write(int fd, const void *data, size_t size, int64_t offset) {
    char path[PATH_MAX];
    if (!path_of(fd, path))
        return offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&turn);
    ssize_t done = -1;
    /* What was acknowledged is written down elsewhere, as it were: that disk is never full. */
    size_t length = strlen(path);
    int is_elsewhere = length > 13 && !strcmp(path + length - 13, "/acknowledged");
    if (about_to(!is_elsewhere)) errno = ENOSPC;
    else {
        int64_t at = offset;
        if (offset < 0) {
            at = lseek(fd, 0, SEEK_CUR);
            if (fcntl(fd, F_GETFL) & O_APPEND) at = lseek(fd, 0, SEEK_END);
            done = syscall(SYS_write, fd, data, size);
        } else done = syscall(SYS_pwrite64, fd, data, size, offset);
        int saved = errno;
        if (done > 0) note('w', path, at, data, (uint32_t)done);
        errno = saved;
    }
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return changed_write(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return changed_write(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return changed_write(fd, data, size, offset); }

static int changed(char kind, const char *path, const char *other, int64_t offset, int (*make)(void *), void *with) {
    pthread_mutex_lock(&turn);
    about_to(0);
    int done = make(with);
    int saved = errno;
    if (done >= 0) note(kind, path, offset, other ? other : "", other ? (uint32_t)strlen(other) : 0);
    errno = saved;
    pthread_mutex_unlock(&turn);
    return done;
}

static int make_fsync(void *with) { return (int)syscall(SYS_fsync, *(int *)with); }
int fsync(int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) {
        /* The root itself is not below itself, and flushing it counts too. */
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        if (length > 0) path[length] = 0;
        if (length <= 0 || !root[0] || strcmp(path, root)) return make_fsync(&fd);
    }
    return changed('s', path, NULL, 0, make_fsync, &fd);
}
int fdatasync(int fd) { return fsync(fd); }

struct length { int fd; off64_t to; };
static int make_truncate(void *with) {
    struct length *given = with;
    return (int)syscall(SYS_ftruncate, given->fd, given->to);
}
int ftruncate64(int fd, off64_t to) {
    char path[PATH_MAX];
    struct length given = {fd, to};
    if (!path_of(fd, path)) return make_truncate(&given);
    return changed('t', path, NULL, to, make_truncate, &given);
}
int ftruncate(int fd, off_t to) { return ftruncate64(fd, to); }

struct names { int from_at, to_at; const char *from, *to; unsigned flags; };
static int make_rename(void *with) {
    struct names *n = with;
    return (int)syscall(SYS_renameat2, n->from_at, n->from, n->to_at, n->to, n->flags);
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    struct names given = {from_at, to_at, from, to, 0};
    int is_watched = path_at(from_at, from, old);
    if (!path_at(to_at, to, new) || !is_watched) return make_rename(&given);
    return changed('r', old, new, 0, make_rename, &given);
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

static int make_link(void *with) {
    struct names *n = with;
    return (int)syscall(SYS_linkat, n->from_at, n->from, n->to_at, n->to, n->flags);
}
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char old[PATH_MAX], new[PATH_MAX];
    struct names given = {from_at, to_at, from, to, (unsigned)flags};
    int is_watched = path_at(from_at, from, old);
    if (!path_at(to_at, to, new) || !is_watched) return make_link(&given);
    return changed('l', old, new, 0, make_link, &given);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

static int make_unlink(void *with) {
    struct names *n = with;
    return (int)syscall(SYS_unlinkat, n->from_at, n->from, n->flags);
}
int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX];
    struct names given = {at, 0, name, NULL, (unsigned)flags};
    if (!path_at(at, name, path)) return make_unlink(&given);
    return changed('u', path, NULL, 0, make_unlink, &given);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int remove(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

struct opening { int at; const char *name; int flags; mode_t mode; };
static int make_open(void *with) {
    struct opening *o = with;
    return (int)syscall(SYS_openat, o->at, o->name, o->flags, o->mode);
}
static int opened(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct opening given = {at, name, flags, mode};
    if (!(flags & (O_CREAT | O_TRUNC)) || !path_at(at, name, path)) return make_open(&given);
    struct stat found;
    int is_new = stat(path, &found) != 0;
    if (!is_new && !(flags & O_TRUNC)) return make_open(&given);
    return changed(is_new ? 'c' : 't', path, NULL, 0, make_open, &given);
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int at, const char *name, int flags, ...) { MODE(flags, mode) return opened(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE(flags, mode) return opened(at, name, flags | O_LARGEFILE, mode); }
