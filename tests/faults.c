/* Preloaded into a process, it counts the calls that write below one folder, and makes one of them go wrong.

   Counted are write, pwrite, writev, ftruncate, fsync, fdatasync, rename, link, unlink, rmdir, mkdir, and open where it
   makes a file, in their 64-bit forms, too. What is written through a memory map or by C's own streams goes unseen.
   tests/faults.py builds it and drives it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* What has no halves is done whole where it says half. The numbers are known to tests/faults.py. */
enum how {
    FAIL = 0,      /* nothing is done, and an error comes back */
    HALF = 1,      /* half of the bytes are written, and an error comes back */
    SHORT = 2,     /* half of the bytes are written, and their number comes back, as POSIX allows */
    KILL = 3,      /* the process is killed before anything is done */
    KILL_HALF = 4, /* half of the bytes are written, and the process is killed */
    GO_ON = -1
};

#define MOST_CALLS 50000

static char folder[PATH_MAX];
static long at = -1, n_calls = 0, n_wrong = 0;
static int mode = FAIL, error = 0, stays = 0;
static struct { const char *name; char file[80]; } calls[MOST_CALLS];

void faults_watch(const char *path) { snprintf(folder, sizeof folder, "%s/", path); }
void faults_disarm(void) { at = -1; }
long faults_count(void) { return n_calls; }
long faults_fired(void) { return n_wrong; }
const char *faults_call(long number) { return calls[number].name; }
const char *faults_file(long number) { return calls[number].file; }

/* The call of this number, counted from 0 and from now, goes wrong; for good: all that follow do as well, of which a
   full disk (ENOSPC) only stops those that take room. */
void faults_arm(long number, int how, int with, int for_good) {
    n_calls = n_wrong = 0;
    mode = how, error = with, stays = for_good, at = number;
}

static int is_watched(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }

static int judge_path(const char *call, const char *path, int takes_room) {
    if (!is_watched(path)) return GO_ON;
    long number = n_calls++;
    if (number < MOST_CALLS) {
        calls[number].name = call;
        snprintf(calls[number].file, sizeof calls[number].file, "%s", path + strlen(folder));
    }
    if (at < 0 || number < at || (number > at && !stays)) return GO_ON;
    if (number > at && error == ENOSPC && !takes_room) return GO_ON;
    n_wrong++;
    return mode;
}

static int judge_file(const char *call, int file, int takes_room) {
    char name[32], path[PATH_MAX];
    int before = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = folder[0] ? readlink(name, path, sizeof path - 1) : -1;
    errno = before;
    if (length <= 0) return GO_ON;
    path[length] = 0;
    return judge_path(call, path, takes_room);
}

/* Only where there is nothing at the path yet. */
static int judge_new(const char *call, const char *path) {
    struct stat found;
    int before = errno;
    int is_new = is_watched(path) && lstat(path, &found) != 0;
    errno = before;
    return is_new ? judge_path(call, path, 1) : GO_ON;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int fail(void) {
    errno = error;
    return -1;
}

/* A whole function: judges, and does what was asked as far as the verdict goes. */
#define JUDGED(verdict, done)                         \
    int how = (verdict);                              \
    if (how == KILL) die();                           \
    if (how == FAIL) return fail();                   \
    __typeof__(done) result = done;                   \
    if (how == KILL_HALF) die();                      \
    return how == HALF ? fail() : result;

#define PART(size) (how == GO_ON ? (size) : ((size) + 1) / 2)

#define REAL(name) ((__typeof__(&name))find(&real_##name, #name))
#define HOLD(name) static void *real_##name

static void *find(void **held, const char *name) {
    if (!*held) *held = dlsym(RTLD_NEXT, name);
    return *held;
}

HOLD(write);
ssize_t write(int file, const void *bytes, size_t size) {
    JUDGED(judge_file("write", file, 1), REAL(write)(file, bytes, PART(size)))
}

HOLD(pwrite);
ssize_t pwrite(int file, const void *bytes, size_t size, off_t place) {
    JUDGED(judge_file("write", file, 1), REAL(pwrite)(file, bytes, PART(size), place))
}

HOLD(pwrite64);
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t place) {
    JUDGED(judge_file("write", file, 1), REAL(pwrite64)(file, bytes, PART(size), place))
}

HOLD(writev);
ssize_t writev(int file, const struct iovec *parts, int n_parts) {
    JUDGED(judge_file("write", file, 1), REAL(writev)(file, parts, PART(n_parts)))
}

HOLD(ftruncate);
int ftruncate(int file, off_t size) { JUDGED(judge_file("truncate", file, 0), REAL(ftruncate)(file, size)) }

HOLD(ftruncate64);
int ftruncate64(int file, off64_t size) { JUDGED(judge_file("truncate", file, 0), REAL(ftruncate64)(file, size)) }

/* What lies below the folder is not really synced: it takes most of the time, and only a power cut would tell. */
HOLD(fsync);
int fsync(int file) {
    long before = n_calls;
    JUDGED(judge_file("sync", file, 0), n_calls == before ? REAL(fsync)(file) : 0)
}

HOLD(fdatasync);
int fdatasync(int file) {
    long before = n_calls;
    JUDGED(judge_file("sync", file, 0), n_calls == before ? REAL(fdatasync)(file) : 0)
}

HOLD(rename);
int rename(const char *from, const char *to) { JUDGED(judge_path("rename", to, 1), REAL(rename)(from, to)) }

HOLD(link);
int link(const char *from, const char *to) { JUDGED(judge_path("link", to, 1), REAL(link)(from, to)) }

HOLD(unlink);
int unlink(const char *path) { JUDGED(judge_path("unlink", path, 0), REAL(unlink)(path)) }

HOLD(unlinkat);
int unlinkat(int at_folder, const char *path, int flags) {
    JUDGED(path[0] == '/' ? judge_path("unlink", path, 0) : judge_file("unlink", at_folder, 0),
           REAL(unlinkat)(at_folder, path, flags))
}

HOLD(rmdir);
int rmdir(const char *path) { JUDGED(judge_path("rmdir", path, 0), REAL(rmdir)(path)) }

HOLD(mkdir);
int mkdir(const char *path, mode_t rights) { JUDGED(judge_new("mkdir", path), REAL(mkdir)(path, rights)) }

#define RIGHTS                             \
    mode_t rights = 0;                     \
    if (flags & (O_CREAT | O_TMPFILE)) {   \
        va_list more;                      \
        va_start(more, flags);             \
        rights = va_arg(more, mode_t);     \
        va_end(more);                      \
    }

HOLD(open);
int open(const char *path, int flags, ...) {
    RIGHTS
    JUDGED(flags & O_CREAT ? judge_new("open", path) : GO_ON, REAL(open)(path, flags, rights))
}

HOLD(open64);
int open64(const char *path, int flags, ...) {
    RIGHTS
    JUDGED(flags & O_CREAT ? judge_new("open", path) : GO_ON, REAL(open64)(path, flags, rights))
}
