// A disk that keeps only what was synced, for LD_PRELOAD.
//
// Files below $POWER_LOSS_DIR are copied to $POWER_LOSS_IMAGE when, and only when, fsync or fdatasync succeeds on them.
// After a kill the image is what a power loss would have left. Renames and removals count at once, as in a journal.
// With $POWER_LOSS_DEAF, fdatasync keeps nothing: the proof that the test notices a missing sync.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int image_of(const char *path, char *image) {
    const char *dir = getenv("POWER_LOSS_DIR"), *to = getenv("POWER_LOSS_IMAGE");
    size_t len = dir ? strlen(dir) : 0;
    if (!len || !to || strncmp(path, dir, len) || path[len] != '/') return 0;
    return snprintf(image, PATH_MAX, "%s%s", to, path + len) < PATH_MAX;
}

// Written aside and renamed, so that a kill in between leaves the image of the sync before.
static void keep(int fd) {
    static char buffer[1 << 20];
    char link[64], path[PATH_MAX] = "", image[PATH_MAX], aside[PATH_MAX + 8];
    struct stat file;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, PATH_MAX - 1) < 0 || fstat(fd, &file) || !S_ISREG(file.st_mode)) return;
    if (!image_of(path, image)) return;
    pthread_mutex_lock(&one_at_a_time);
    snprintf(aside, sizeof aside, "%s.aside", image);
    int from = open(path, O_RDONLY), to = open(aside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t got;
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, got) != got) abort();
    close(from);
    close(to);
    if (REAL(rename)(aside, image)) abort();
    pthread_mutex_unlock(&one_at_a_time);
}

int fsync(int fd) {
    int failed = REAL(fsync)(fd);
    if (!failed) keep(fd);
    return failed;
}

int fdatasync(int fd) {
    int failed = REAL(fdatasync)(fd);
    if (!failed && !getenv("POWER_LOSS_DEAF")) keep(fd);
    return failed;
}

int rename(const char *from, const char *to) {
    char image_from[PATH_MAX], image_to[PATH_MAX];
    int failed = REAL(rename)(from, to);
    if (!failed && image_of(from, image_from) && image_of(to, image_to)) REAL(rename)(image_from, image_to);
    return failed;
}

int unlink(const char *path) {
    char image[PATH_MAX];
    int failed = REAL(unlink)(path);
    if (!failed && image_of(path, image)) REAL(unlink)(image);
    return failed;
}
