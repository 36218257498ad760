/* download.c - temporary file, resume rules, flush and rename. */
#include "host/download.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "host/buf.h"
#include "host/files.h"
#include "host/mem.h"
#include "host/random.h"

enum { VALIDATOR_MAX = 512 };

struct download {
    uv_work_t work;
    struct loop *loop;
    char *path, *part, *tag; /* tag: NULL without resume */
    int fd;
    bool resume;
    bool finishing;
    uint64_t size;   /* written, earlier attempts included */
    uint64_t offset; /* left by an earlier attempt */
    uint64_t total;  /* of the whole file, as Content-Range says; 0 = not told */
    char validator[VALIDATOR_MAX];
    download_done_fn done; /* NULL once abandoned */
    void *ctx;
    struct err err;
    bool failed;
};

static void forget(struct download *d)
{
    if (d->fd >= 0) close(d->fd);
    mem_free(d->path);
    mem_free(d->part);
    mem_free(d->tag);
    mem_free(d);
}

/* ---- the remains of an earlier attempt ----------------------------------------------------------------- */

static void read_validator(struct download *d)
{
    int fd = open(d->tag, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t n = read(fd, d->validator, sizeof d->validator - 1);
    close(fd);
    d->validator[n > 0 ? n : 0] = '\0';
    if (strpbrk(d->validator, "\r\n")) d->validator[0] = '\0';
}

/* A validator that is not on the disk before the bytes it stands for is none. */
static void write_validator(struct download *d)
{
    unlink(d->tag);
    if (d->validator[0] == '\0') return;
    int fd = open(d->tag, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return;
    size_t n = strlen(d->validator);
    bool whole = write(fd, d->validator, n) == (ssize_t)n;
    close(fd);
    if (!whole) unlink(d->tag);
}

static void start_over(struct download *d)
{
    d->offset = d->size = d->total = 0;
    d->validator[0] = '\0';
    if (d->tag) unlink(d->tag);
    (void)!ftruncate(d->fd, 0); /* what it leaves behind is overwritten, and cut at the end */
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Still the file of that name?  The one who had the lock before us may have finished, and renamed it. */
static bool is_current(const struct download *d, struct stat *st)
{
    struct stat named;
    return fstat(d->fd, st) == 0 && stat(d->part, &named) == 0 && st->st_ino == named.st_ino &&
           st->st_dev == named.st_dev;
}

static int open_part(struct download *d, struct err *err)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | (d->resume ? 0 : O_EXCL);
    d->fd = open(d->part, flags, 0666);
    if (d->fd < 0) return files_fail(err, "write", d->part);
    if (!d->resume) return 0;
    struct stat st;
    if (flock(d->fd, LOCK_EX | LOCK_NB) != 0 || !is_current(d, &st))
        return err_set(err, ERR_INVALID, "%s is being downloaded already", d->path);
    read_validator(d);
    if (st.st_size > 0 && d->validator[0])
        d->offset = d->size = (uint64_t)st.st_size;
    else
        start_over(d);
    return 0;
}

struct download *download_open(struct loop *loop, const char *path, bool resume, struct err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        err_set(err, ERR_INVALID, "%s is a directory", path);
        return NULL;
    }
    struct download *d = mem_alloc(sizeof *d);
    struct buf name = {0};
    char random[13];
    d->loop = loop;
    d->fd = -1;
    d->resume = resume;
    d->path = mem_strdup(path);
    random_hex(NULL, random, 6);
    buf_printf(&name, resume ? "%s.part" : "%s.%s.part", path, random);
    d->part = buf_take(&name, NULL);
    if (resume) {
        buf_printf(&name, "%s.tag", d->part);
        d->tag = buf_take(&name, NULL);
    }
    if (open_part(d, err) == 0) return d;
    forget(d);
    return NULL;
}

uint64_t download_offset(const struct download *d)
{
    return d->offset;
}

const char *download_validator(const struct download *d)
{
    return d->validator;
}

uint64_t download_size(const struct download *d)
{
    return d->size;
}

/* ---- the reply ----------------------------------------------------------------------------------------- */

/* A weak ETag says "much the same", which is not enough to join bytes. */
static void keep_validator(struct download *d, const struct download_reply *reply)
{
    const char *value = reply->etag && strncmp(reply->etag, "W/", 2) != 0 ? reply->etag : NULL;
    if (value == NULL && reply->etag == NULL) value = reply->last_modified;
    snprintf(d->validator, sizeof d->validator, "%s",
             value && strlen(value) < sizeof d->validator ? value : "");
    write_validator(d);
}

static bool fits(struct download *d, const struct download_reply *reply)
{
    uint64_t from = 0, to = 0, total = 0;
    const char *range = reply->content_range;
    if (range == NULL || sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &from, &to, &total) < 2)
        return false;
    if (from != d->offset) return false;
    if (d->validator[0] == '"' && reply->etag && strcmp(reply->etag, d->validator) != 0) return false;
    d->total = total;
    return true;
}

enum download_verdict download_begin(struct download *d, const struct download_reply *reply)
{
    uint64_t total = 0;
    switch (reply->status) {
    case 200:
        start_over(d);
        if (d->resume) keep_validator(d, reply);
        return DOWNLOAD_TAKE;
    case 206:
        if (!reply->sent_range) return DOWNLOAD_REFUSED; /* a part nobody asked for */
        if (fits(d, reply)) return DOWNLOAD_TAKE;
        break;
    case 416:
        if (!reply->sent_range) return DOWNLOAD_REFUSED;
        if (reply->content_range && sscanf(reply->content_range, "bytes */%" SCNu64, &total) == 1 &&
            total == d->size)
            return DOWNLOAD_COMPLETE;
        break;
    default: return DOWNLOAD_REFUSED;
    }
    start_over(d);
    return DOWNLOAD_RESTART;
}

int download_write(struct download *d, const void *bytes, size_t n, struct err *err)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t put = pwrite(d->fd, at, n, (off_t)d->size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return files_fail(err, "write", d->part);
        at += put;
        n -= (size_t)put;
        d->size += (uint64_t)put;
    }
    return 0;
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* In a thread of the pool. */
static void finish_work(uv_work_t *work)
{
    struct download *d = work->data;
    d->failed = true;
    if (d->total && d->size != d->total) {
        err_set(&d->err, ERR_NETWORK, "%" PRIu64 " of %" PRIu64 " bytes came", d->size, d->total);
        err_set_code(&d->err, "truncated");
        d->err.retryable = true;
        return;
    }
    if (ftruncate(d->fd, (off_t)d->size) != 0 || fsync(d->fd) != 0) {
        files_fail(&d->err, "flush", d->part);
        return;
    }
    if (rename(d->part, d->path) != 0) {
        files_fail(&d->err, "rename to", d->path);
        return;
    }
    if (d->tag) unlink(d->tag);
    files_sync_folder(d->path); /* it has its name by now, whatever this says */
    d->failed = false;
}

static void after_finish_cb(uv_work_t *work, int status)
{
    struct download *d = work->data;
    (void)status; /* never cancelled */
    if (d->failed && !d->resume) unlink(d->part);
    if (d->done) d->done(d->ctx, d->failed ? &d->err : NULL);
    forget(d);
}

void download_finish(struct download *d, download_done_fn done, void *ctx)
{
    d->done = done;
    d->ctx = ctx;
    d->finishing = true;
    d->work.data = d;
    uv_queue_work(loop_uv(d->loop), &d->work, finish_work, after_finish_cb);
}

void download_abandon(struct download *d)
{
    if (d == NULL) return;
    if (d->finishing) {
        d->done = NULL;
        return;
    }
    if (!d->resume || d->size == 0) {
        unlink(d->part);
        if (d->tag) unlink(d->tag);
    }
    forget(d);
}
