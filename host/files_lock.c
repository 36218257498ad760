/* files_lock.c - flock(2) on a descriptor of its own. */
#include "host/files_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "host/files.h"
#include "host/mem.h"

struct file_lock {
    int fd;
};

struct file_lock *file_lock_take(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        struct file_lock *lock = mem_alloc(sizeof *lock);
        lock->fd = fd;
        return lock;
    }
    if (fd >= 0 && errno == EWOULDBLOCK) {
        err_set(err, ERR_UNAVAILABLE, "%s is in use by another run", path);
        err_set_code(err, "locked");
    } else {
        files_fail(err, "lock", path);
    }
    if (fd >= 0) close(fd);
    return NULL;
}

void file_lock_free(struct file_lock *lock)
{
    if (!lock) return;
    close(lock->fd);
    mem_free(lock);
}
