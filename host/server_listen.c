/* server_listen.c - the listening socket: an address and port, or a path in the file system.
 *
 * A path is held safely at every moment.  The socket's mode is set before it has a name (the system takes the
 * name's mode from it), it is bound under a name of its own and renamed into place once it listens, and a
 * lock on the directory keeps two starting processes from replacing one another.  What a dead process left
 * behind is replaced; a socket that answers is somebody's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/mem.h"
#include "host/server_internal.h"

enum { BACKLOG = 1024 };

/* ---- an address ------------------------------------------------------------------------------------- */

/* Fills address from the text of config->host; 0, or -1 with err. */
static int parse_address(const struct server_config *config, struct sockaddr_storage *address, socklen_t *len,
                         struct err *err)
{
    const char *host = config->host && strcmp(config->host, "localhost") != 0 ? config->host : "127.0.0.1";
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(config->port);
        *len = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(config->port);
        *len = sizeof *v6;
    } else {
        return err_set(err, ERR_INVALID, "cannot listen on \"%s\": an address is needed, not a name", host);
    }
    return 0;
}

static int listen_on_address(struct server *s, const struct server_config *config, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t len;
    if (parse_address(config, &address, &len, err) != 0) return -1;
    const char *host = config->host ? config->host : "127.0.0.1";

    int on = 1;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) goto failed;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, BACKLOG) != 0) goto failed;
    len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) goto failed;

    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address;
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address;
    bool six = address.ss_family == AF_INET6;
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(address.ss_family, six ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr, text, sizeof text);
    s->port = ntohs(six ? v6->sin6_port : v4->sin_port);
    snprintf(s->url, sizeof s->url, six ? "http://[%s]:%u" : "http://%s:%u", text, (unsigned)s->port);
    return fd;

failed:
    err_set(err, ERR_NETWORK, "cannot listen on %s port %u: %s", host, (unsigned)config->port,
            strerror(errno));
    if (err) snprintf(err->code, sizeof err->code, "%s", uv_err_name(uv_translate_sys_error(errno)));
    if (fd >= 0) close(fd);
    return -1;
}

/* ---- a path ----------------------------------------------------------------------------------------- */

static int fail(struct err *err, const char *what, const char *path)
{
    int saved = errno;
    err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: %s: %s", path, what, strerror(saved));
    return err_set_code(err, uv_err_name(uv_translate_sys_error(saved)));
}

/* 0 if the text fits into the address of a socket. */
static int fill_address(struct sockaddr_un *address, const char *path, struct err *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path) {
        err_set(err, ERR_INVALID, "cannot listen on %s: the path of a socket has at most %zu bytes", path,
                sizeof address->sun_path - 1);
        return err_set_code(err, "path_too_long");
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

/* The directory of the path, open and locked. */
static int lock_directory(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL   ? mem_strdup(".")
                      : slash == path ? mem_strdup("/")
                                      : mem_strndup(path, (size_t)(slash - path));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        fail(err, "its directory cannot be used", path);
        if (fd >= 0) close(fd);
        fd = -1;
    }
    mem_free(directory);
    return fd;
}

/* 0 if the path is free, or holds the socket of a dead process. */
static int check_free(const struct sockaddr_un *address, struct err *err)
{
    struct stat there;
    if (lstat(address->sun_path, &there) != 0)
        return errno == ENOENT ? 0 : fail(err, "cannot look at it", address->sun_path);
    if (!S_ISSOCK(there.st_mode)) {
        err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: there is something else under this name",
                address->sun_path);
        return err_set_code(err, "EEXIST");
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return fail(err, "no socket", address->sun_path);
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool dead = rc != 0 && (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    if (dead) return 0;
    err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: a living process does", address->sun_path);
    return err_set_code(err, "EADDRINUSE");
}

/* Listens under a name of this process's own, then takes the wanted one. */
static int bind_and_rename(struct server *s, const struct sockaddr_un *address, struct err *err)
{
    struct sockaddr_un own;
    struct stat made;
    char name[sizeof own.sun_path + 16];
    const char *path = address->sun_path;
    snprintf(name, sizeof name, "%s.%ld", path, (long)getpid());
    if (fill_address(&own, name, err) != 0) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return fail(err, "no socket", path);
    unlink(name);
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0 || bind(fd, (struct sockaddr *)&own, sizeof own) != 0) {
        fail(err, "cannot be made", path);
        goto failed;
    }
    if (listen(fd, BACKLOG) != 0 || lstat(name, &made) != 0 || rename(name, path) != 0) {
        fail(err, "cannot be put in place", path);
        unlink(name);
        goto failed;
    }
    s->path = mem_strdup(path);
    s->device = made.st_dev;
    s->inode = made.st_ino;
    return fd;

failed:
    close(fd);
    return -1;
}

static int listen_on_path(struct server *s, const struct server_config *config, struct err *err)
{
    struct sockaddr_un address;
    if (fill_address(&address, config->path, err) != 0) return -1;
    int directory = lock_directory(config->path, err);
    if (directory < 0) return -1;
    int fd = check_free(&address, err) == 0 ? bind_and_rename(s, &address, err) : -1;
    close(directory);
    if (fd >= 0) snprintf(s->url, sizeof s->url, "unix:%s", config->path);
    return fd;
}

bool server_knows_peer(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

/* ---- both ------------------------------------------------------------------------------------------- */

int server_listen(struct server *s, const struct server_config *config, struct err *err)
{
    return config->path ? listen_on_path(s, config, err) : listen_on_address(s, config, err);
}

void server_unlisten(struct server *s)
{
    struct stat there;
    if (s->path == NULL) return;
    if (lstat(s->path, &there) == 0 && there.st_dev == s->device && there.st_ino == s->inode) unlink(s->path);
    mem_free(s->path);
    s->path = NULL;
}
