/* files.c - jobs on the pool, and the verbs that deal with one file.
 *
 * A job belongs to the pool from files_start until on_done_cb, which frees it.
 */
#include "host/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/files_job.h"
#include "host/mem.h"
#include "host/random.h"

enum { PIECE = 256 * 1024 };

struct file {
    int fd;
    atomic_int holds;
};

/* ---- helpers of all verbs --------------------------------------------------------------------------- */

int files_fail(struct err *err, const char *what, const char *path)
{
    int number = errno;
    err_set(err, ERR_UNAVAILABLE, "cannot %s %s: %s", what, path, strerror(number));
    return err_set_code(err, uv_err_name(uv_translate_sys_error(number)));
}

void files_job_fail(struct file_job *job, const char *what, const char *path)
{
    job->result.failed = true;
    files_fail(&job->result.err, what, path);
}

static void fail_limit(struct file_job *job)
{
    job->result.failed = true;
    err_set(&job->result.err, ERR_LIMIT, "%s is longer than %zu bytes", job->path, job->cap);
    err_set_code(&job->result.err, "too_long");
}

int files_sync_folder(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES ? 0 : -1; /* may write there, may not read it */
    int rc = fsync(fd);
    if (rc != 0 && (errno == EINVAL || errno == ENOTSUP)) rc = 0;
    close(fd);
    return rc;
}

static ssize_t read_some(int fd, void *out, size_t n)
{
    ssize_t got;
    do {
        got = read(fd, out, n);
    } while (got < 0 && errno == EINTR);
    return got;
}

static int write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, bytes, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -1;
        bytes += put;
        n -= (size_t)put;
    }
    return 0;
}

/* A regular file open for reading (a FIFO would hang the pool thread), or -1 with errno. */
static int open_regular(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0) return -1;
    bool known = fstat(fd, &st) == 0;
    if (known && (S_ISREG(st.st_mode) || S_ISCHR(st.st_mode))) return fd;
    int number = !known ? errno : S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    close(fd);
    errno = number;
    return -1;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void do_read(struct file_job *job)
{
    struct stat st;
    int fd = open_regular(job->path);
    if (fd < 0) {
        files_job_fail(job, "read", job->path);
        return;
    }
    struct buf *bytes = &job->result.bytes;
    if (fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size <= job->cap)
        buf_reserve(bytes, (size_t)st.st_size + 1); /* one more: the end is seen without growing */
    for (;;) {
        size_t room = bytes->cap > bytes->len + 1 ? bytes->cap - bytes->len - 1 : PIECE;
        ssize_t got = read_some(fd, buf_reserve(bytes, room), room);
        if (got < 0) files_job_fail(job, "read", job->path);
        if (got <= 0) break;
        buf_commit(bytes, (size_t)got);
        if (bytes->len > job->cap) {
            fail_limit(job);
            break;
        }
    }
    close(fd);
}

static void do_open(struct file_job *job)
{
    int fd = open_regular(job->path);
    if (fd < 0) {
        files_job_fail(job, "read", job->path);
        return;
    }
    struct file *file = mem_alloc(sizeof *file);
    file->fd = fd;
    atomic_init(&file->holds, 1);
    job->result.file = file;
}

static void do_read_next(struct file_job *job)
{
    ssize_t got = read_some(job->file->fd, buf_reserve(&job->result.bytes, job->cap), job->cap);
    if (got < 0)
        files_job_fail(job, "read", "the file");
    else
        buf_commit(&job->result.bytes, (size_t)got);
}

void file_release(struct file *file)
{
    if (file == NULL || atomic_fetch_sub(&file->holds, 1) > 1) return;
    close(file->fd);
    mem_free(file);
}

static void put_digest(struct sha256_ctx *sha, char out[65])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void do_sha256(struct file_job *job)
{
    int fd = open_regular(job->path);
    if (fd < 0) {
        files_job_fail(job, "read", job->path);
        return;
    }
    struct sha256_ctx sha;
    sha256_init(&sha);
    uint8_t *piece = mem_alloc(PIECE);
    ssize_t got;
    while ((got = read_some(fd, piece, PIECE)) > 0) sha256_update(&sha, (size_t)got, piece);
    if (got < 0) {
        files_job_fail(job, "read", job->path);
    } else {
        char hex[65];
        put_digest(&sha, hex);
        buf_puts(&job->result.bytes, hex);
    }
    mem_free(piece);
    close(fd);
}

void files_sha256(const void *bytes, size_t n, char out[65])
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, n, bytes);
    put_digest(&sha, out);
}

/* ---- writing ---------------------------------------------------------------------------------------- */

/* Where the bytes must go: the file behind a link, so that the link stays one.  *mode becomes what the new
 * file should have, or -1 for the umask's choice.  -1 with errno if there is something that is no file. */
static int resolve_target(const char *path, char target[PATH_MAX], int *mode)
{
    struct stat st;
    if (realpath(path, target) == NULL) {
        if (errno != ENOENT) return -1;
        if (lstat(path, &st) == 0) return errno = ENOENT, -1; /* a link to nowhere */
        if (strlen(path) >= PATH_MAX) return errno = ENAMETOOLONG, -1;
        memcpy(target, path, strlen(path) + 1);
        return 0;
    }
    if (stat(target, &st) != 0) return -1;
    if (!S_ISREG(st.st_mode)) return errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL, -1;
    if (*mode < 0) *mode = (int)(st.st_mode & 07777);
    return 0;
}

/* A new file next to the target, never wider than asked for, not even for a moment. */
static int open_temporary(const char *target, int mode, char temporary[PATH_MAX])
{
    const char *slash = strrchr(target, '/');
    int folder = slash ? (int)(slash - target) + 1 : 0;
    char key[17];
    random_hex(NULL, key, 8);
    int n = snprintf(temporary, PATH_MAX, "%.*s.%.180s.%s", folder, target, target + folder, key);
    if (n >= PATH_MAX) return errno = ENAMETOOLONG, -1;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode < 0 ? 0666 : (mode_t)mode & 0700);
    if (fd >= 0 && mode >= 0 && fchmod(fd, (mode_t)mode) != 0) {
        int number = errno;
        close(fd);
        unlink(temporary);
        errno = number;
        return -1;
    }
    return fd;
}

static void do_write(struct file_job *job)
{
    char target[PATH_MAX], temporary[PATH_MAX];
    int mode = job->mode, fd = -1;
    if (resolve_target(job->path, target, &mode) != 0) goto failed;
    fd = open_temporary(target, mode, temporary);
    if (fd < 0) goto failed;
    if (write_all(fd, job->bytes, job->n) != 0 || fsync(fd) != 0) goto failed_temporary;
    int rc = close(fd);
    fd = -1;
    if (rc != 0 || rename(temporary, target) != 0) goto failed_temporary;
    if (files_sync_folder(target) != 0) goto failed;
    return;

failed_temporary:
    files_job_fail(job, "write", job->path);
    if (fd >= 0) close(fd);
    unlink(temporary);
    return;
failed:
    files_job_fail(job, "write", job->path);
}

static void do_append(struct file_job *job)
{
    struct stat st;
    bool is_new = stat(job->path, &st) != 0;
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK;
    int fd = open(job->path, flags, job->mode < 0 ? 0666 : (mode_t)job->mode);
    if (fd < 0 || write_all(fd, job->bytes, job->n) != 0) goto failed;
    if (job->sync && (fsync(fd) != 0 || (is_new && files_sync_folder(job->path) != 0))) goto failed;
    if (close(fd) == 0) return;
    fd = -1;
failed:
    files_job_fail(job, "append to", job->path);
    if (fd >= 0) close(fd);
}

/* ---- jobs ------------------------------------------------------------------------------------------- */

static void on_work_cb(uv_work_t *work)
{
    struct file_job *job = work->data;
    switch (job->verb) {
    case FILE_READ: do_read(job); break;
    case FILE_WRITE: do_write(job); break;
    case FILE_APPEND: do_append(job); break;
    case FILE_STAT: files_do_stat(job); break;
    case FILE_LIST: files_do_list(job); break;
    case FILE_MKDIR: files_do_mkdir(job); break;
    case FILE_REMOVE: files_do_remove(job); break;
    case FILE_RENAME: files_do_rename(job); break;
    case FILE_SHA256: do_sha256(job); break;
    case FILE_OPEN: do_open(job); break;
    case FILE_READ_NEXT: do_read_next(job); break;
    }
}

static void on_done_cb(uv_work_t *work, int status)
{
    (void)status; /* cancelled: then nobody is there to hear it */
    struct file_job *job = work->data;
    if (job->done) job->done(job->ctx, &job->result);
    buf_deinit(&job->result.bytes);
    file_release(job->result.file);
    file_release(job->file);
    mem_free(job->path);
    mem_free(job->to);
    mem_free(job->bytes);
    mem_free(job);
}

struct file_job *files_start(struct loop *loop, const struct file_request *request, file_done_fn done,
                             void *ctx)
{
    struct file_job *job = mem_alloc(sizeof *job);
    job->verb = request->verb;
    job->path = mem_strdup(request->path);
    job->to = mem_strdup(request->to);
    job->bytes = mem_dup(request->bytes, request->n);
    job->n = request->n;
    job->cap = request->cap;
    job->mode = request->mode;
    job->sync = request->sync;
    job->recursive = request->recursive;
    job->no_follow = request->no_follow;
    job->file = request->file;
    if (job->file) atomic_fetch_add(&job->file->holds, 1);
    job->done = done;
    job->ctx = ctx;
    job->work.data = job;
    uv_queue_work(loop_uv(loop), &job->work, on_work_cb, on_done_cb);
    return job;
}

void files_forget(struct file_job *job)
{
    job->done = NULL;
    uv_cancel((uv_req_t *)&job->work); /* refuses if it runs already: then it ends on its own */
}
