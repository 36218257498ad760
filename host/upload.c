/* upload.c - prefix, file, suffix: one stream of known length. */
#include "host/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/buf.h"
#include "host/mem.h"
#include "host/random.h"

struct upload {
    int fd;
    uint64_t file_size;
    uint64_t at; /* of the whole body */
    struct buf prefix, suffix;
    struct buf content_type;
};

/* A quoted parameter as browsers write it: what would end the quotes or the line is percent-encoded. */
static void put_quoted(struct buf *out, const char *s)
{
    buf_putc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\r' || *s == '\n')
            buf_printf(out, "%%%02X", (unsigned char)*s);
        else
            buf_putc(out, *s);
    }
    buf_putc(out, '"');
}

static void frame(struct upload *u, const struct http_file_body *file, const char *media_type)
{
    char boundary[33];
    random_hex(NULL, boundary, 16);
    const char *base = strrchr(file->path, '/');
    const char *name = file->file_name ? file->file_name : base ? base + 1 : file->path;
    buf_printf(&u->prefix, "--%s\r\nContent-Disposition: form-data; name=", boundary);
    put_quoted(&u->prefix, file->part_name);
    buf_puts(&u->prefix, "; filename=");
    put_quoted(&u->prefix, name);
    buf_printf(&u->prefix, "\r\nContent-Type: %s\r\n\r\n", media_type);
    buf_printf(&u->suffix, "\r\n--%s--\r\n", boundary);
    buf_printf(&u->content_type, "multipart/form-data; boundary=%s", boundary);
}

struct upload *upload_open(const struct http_file_body *file, struct err *err)
{
    const char *media_type = file->media_type ? file->media_type : "application/octet-stream";
    struct stat st;
    if (strpbrk(media_type, "\r\n")) {
        err_set(err, ERR_INVALID, "the media type holds a line break");
        return NULL;
    }
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would be waited for */
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_INVALID, "cannot read %s: %s", file->path, strerror(errno));
        if (fd >= 0) close(fd);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(err, ERR_INVALID, "%s is not a regular file", file->path);
        close(fd);
        return NULL;
    }
    struct upload *u = mem_alloc(sizeof *u);
    u->fd = fd;
    u->file_size = (uint64_t)st.st_size;
    if (file->part_name)
        frame(u, file, media_type);
    else
        buf_puts(&u->content_type, media_type);
    return u;
}

void upload_close(struct upload *u)
{
    if (u == NULL) return;
    close(u->fd);
    buf_deinit(&u->prefix);
    buf_deinit(&u->suffix);
    buf_deinit(&u->content_type);
    mem_free(u);
}

uint64_t upload_size(const struct upload *u)
{
    return u->prefix.len + u->file_size + u->suffix.len;
}

const char *upload_content_type(const struct upload *u)
{
    return buf_str(&u->content_type);
}

static size_t copy_from(const struct buf *b, uint64_t offset, void *bytes, size_t n)
{
    size_t left = b->len - (size_t)offset;
    if (n > left) n = left;
    if (n > 0) memcpy(bytes, b->data + offset, n);
    return n;
}

ssize_t upload_read(struct upload *u, void *bytes, size_t n)
{
    uint64_t file_end = u->prefix.len + u->file_size;
    ssize_t got;
    if (u->at < u->prefix.len) {
        got = (ssize_t)copy_from(&u->prefix, u->at, bytes, n);
    } else if (u->at < file_end) {
        if (n > file_end - u->at) n = (size_t)(file_end - u->at);
        do {
            got = pread(u->fd, bytes, n, (off_t)(u->at - u->prefix.len));
        } while (got < 0 && errno == EINTR);
        if (got <= 0) return -1;
    } else {
        got = (ssize_t)copy_from(&u->suffix, u->at - file_end, bytes, n);
    }
    u->at += (uint64_t)got;
    return got;
}

void upload_rewind(struct upload *u)
{
    u->at = 0;
}
