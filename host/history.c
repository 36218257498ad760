/* history.c - reading, adding to and rewriting the file of what was typed; see history.h.
 */
#include "host/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, LOCK_TRIES = 50, LOCK_NAP_NS = 2000000 /* 0.1 s in all */ };

/* ---- opening ------------------------------------------------------------------------------------------ */

static int fail(struct err *err, const char *path)
{
    int code = errno;
    if (code == ELOOP) {
        err_set(err, ERR_UNAVAILABLE, "%s is a symbolic link", path);
        return err_set_code(err, "unsafe");
    }
    err_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(code));
    return err_set_code(err, code == ENOENT ? "ENOENT" : "system");
}

static int refuse(struct err *err, const char *path, const char *why)
{
    err_set(err, ERR_UNAVAILABLE, "%s %s", path, why);
    return err_set_code(err, "unsafe");
}

/* The opened file is checked, not its name, so that it cannot be exchanged in between. */
static int check(int fd, const char *path, struct stat *st, struct err *err)
{
    if (fstat(fd, st) != 0) return fail(err, path);
    if (!S_ISREG(st->st_mode)) return refuse(err, path, "is not a file");
    if (st->st_uid != geteuid()) return refuse(err, path, "belongs to another user");
    if (st->st_nlink > 1) return refuse(err, path, "has a second name"); /* 0: it was replaced just now */
    if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0 && fchmod(fd, S_IRUSR | S_IWUSR) != 0)
        return fail(err, path);
    return 0;
}

/* A descriptor of a file that is what it should be, or -1.  O_NONBLOCK: a pipe must not hold us up. */
static int open_checked(const char *path, int flags, struct stat *st, struct err *err)
{
    int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, S_IRUSR | S_IWUSR);
    if (fd < 0) return fail(err, path);
    if (check(fd, path, st, err) == 0) return fd;
    close(fd);
    return -1;
}

static bool is_still_there(const char *path, const struct stat *st)
{
    struct stat now;
    return lstat(path, &now) == 0 && now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

/* The file at the path with its lock, which goes with the descriptor; -1 and err, or -1 with errno ENOENT and
 * no O_CREAT. */
static int open_locked(const char *path, int flags, struct stat *st, struct err *err)
{
    static const struct timespec nap = {.tv_nsec = LOCK_NAP_NS};
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd = open_checked(path, flags | O_RDWR | O_APPEND, st, err);
        if (fd < 0) return -1;
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        /* its size may have changed before we had the lock, and somebody may have put another in its place */
        if (locked && is_still_there(path, st) && fstat(fd, st) == 0) return fd;
        close(fd);
        if (!locked) nanosleep(&nap, NULL);
    }
    err_set(err, ERR_UNAVAILABLE, "%s is locked by another program", path);
    return err_set_code(err, "locked");
}

/* ---- reading and writing ------------------------------------------------------------------------------ */

static int read_tail(int fd, const struct stat *st, struct buf *text)
{
    off_t at = st->st_size > HISTORY_READ_MAX ? st->st_size - HISTORY_READ_MAX : 0;
    size_t before = text->len;
    for (;;) {
        ssize_t n = pread(fd, buf_reserve(text, PIECE), PIECE, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0 || text->len - before >= HISTORY_READ_MAX) return 0;
        buf_commit(text, (size_t)n);
        at += n;
    }
}

static int write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -1;
        bytes += done;
        n -= (size_t)done;
    }
    return 0;
}

/* Takes away what is no whole line: the first of a file that was cut, the last of one that is being written.
 */
static void keep_whole_lines(struct buf *text, bool cut)
{
    const char *last = text->len ? memrchr(text->data, '\n', text->len) : NULL;
    text->len = last ? (size_t)(last - text->data) + 1 : 0;
    const char *first = cut && text->len ? memchr(text->data, '\n', text->len) : NULL;
    if (first) buf_consume(text, (size_t)(first - text->data) + 1);
}

/* No byte that a terminal might obey: neither C0 nor DEL, nor C1 as U+0080 to U+009F. */
static bool is_text(const char *line, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)line[i];
        uint32_t code_point = c;
        size_t len = c < 0x80 ? 1 : buf_utf8_decode(line + i, n - i, &code_point);
        if (len == 0 || (c < 0x20 && c != '\t') || (code_point >= 0x7f && code_point < 0xa0)) return false;
        i += len;
    }
    return true;
}

static void keep_text(struct buf *text)
{
    size_t kept = 0;
    for (size_t at = 0; at < text->len;) {
        const char *line = text->data + at;
        size_t n = (size_t)((const char *)memchr(line, '\n', text->len - at) - line) + 1;
        if (is_text(line, n - 1)) {
            memmove(text->data + kept, line, n);
            kept += n;
        }
        at += n;
    }
    text->len = kept;
}

int history_read(const char *path, struct buf *text, struct err *err)
{
    struct stat st;
    int fd = open_checked(path, O_RDONLY, &st, err);
    if (fd < 0) return strcmp(err->code, "ENOENT") == 0 ? 0 : -1;
    struct buf own;
    buf_init(&own);
    int rc = read_tail(fd, &st, &own);
    if (rc != 0) fail(err, path);
    close(fd);
    keep_whole_lines(&own, st.st_size > HISTORY_READ_MAX);
    keep_text(&own);
    if (rc == 0) buf_append(text, own.data, own.len);
    buf_deinit(&own);
    return rc;
}

static bool ends_with_line(int fd, const struct stat *st)
{
    char last = '\n';
    return st->st_size == 0 || pread(fd, &last, 1, st->st_size - 1) != 1 || last == '\n';
}

int history_append(const char *path, const char *lines, size_t n, struct err *err)
{
    struct stat st;
    int fd = open_locked(path, O_CREAT, &st, err);
    if (fd < 0) return -1;
    struct buf all; /* one write, so that nobody reads half a line */
    buf_init(&all);
    if (!ends_with_line(fd, &st)) buf_putc(&all, '\n');
    buf_append(&all, lines, n);
    int rc = write_all(fd, all.data, all.len);
    if (rc != 0) fail(err, path);
    if (rc != 0 && ftruncate(fd, st.st_size) != 0)
        err_set_code(err, "system"); /* the next line ends this half */
    buf_deinit(&all);
    close(fd);
    return rc;
}

/* ---- rewriting ---------------------------------------------------------------------------------------- */

static bool has_line(const char *lines, size_t n, const char *line, size_t len)
{
    while (n > 0) {
        const char *end = memchr(lines, '\n', n);
        size_t one = end ? (size_t)(end - lines) : n;
        if (one == len && memcmp(lines, line, len) == 0) return true;
        if (!end) return false;
        n -= one + 1;
        lines = end + 1;
    }
    return false;
}

/* Drops from text what is listed, then the oldest lines beyond `most`; says whether anything went. */
static bool filter(struct buf *text, size_t most, const char *drop, size_t drop_n)
{
    struct buf kept;
    buf_init(&kept);
    size_t count = 0, before = text->len;
    for (size_t at = 0; at < text->len;) {
        const char *line = text->data + at;
        const char *end = memchr(line, '\n', text->len - at);
        size_t len = end ? (size_t)(end - line) : text->len - at;
        if (!has_line(drop, drop_n, line, len)) {
            buf_append(&kept, line, len);
            buf_putc(&kept, '\n');
            count++;
        }
        at += len + 1;
    }
    size_t skip = 0;
    for (; count > most; count--)
        skip = (size_t)((char *)memchr(kept.data + skip, '\n', kept.len - skip) - kept.data) + 1;
    buf_consume(&kept, skip);
    buf_clear(text);
    buf_append(text, kept.data, kept.len);
    buf_deinit(&kept);
    return text->len != before;
}

/* Puts a new file with the text at the path. */
static int replace(const char *path, const struct buf *text, struct err *err)
{
    struct buf name;
    buf_init(&name);
    buf_printf(&name, "%s.new", path);
    const char *temporary = buf_str(&name);
    (void)unlink(temporary); /* of a program that was killed: we hold the lock */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    int rc = fd < 0 ? -1 : write_all(fd, text->data, text->len);
    if (rc == 0) rc = fsync(fd);
    if (rc == 0) rc = rename(temporary, path);
    if (rc != 0) fail(err, path);
    if (fd >= 0) close(fd);
    if (rc != 0 && fd >= 0) (void)unlink(temporary);
    buf_deinit(&name);
    return rc;
}

int history_rewrite(const char *path, size_t most, const char *drop, size_t drop_n, struct err *err)
{
    struct stat st;
    int fd = open_locked(path, 0, &st, err);
    if (fd < 0) return strcmp(err->code, "ENOENT") == 0 ? 0 : -1;
    struct buf text;
    buf_init(&text);
    int rc = read_tail(fd, &st, &text);
    if (rc != 0) fail(err, path);
    bool cut = st.st_size > HISTORY_READ_MAX;
    if (cut) keep_whole_lines(&text, true);
    if (rc == 0 && (filter(&text, most, drop, drop_n) || cut)) rc = replace(path, &text, err);
    buf_deinit(&text);
    close(fd);
    return rc;
}
