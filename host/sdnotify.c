/* sdnotify.c - datagrams to the service manager. */
#include "host/sdnotify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/mem.h"

struct sdnotify {
    int fd;
    struct sockaddr_un address;
    socklen_t len;
};

struct sdnotify *sdnotify_open(const char *address, struct err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(address);
    if (n < 2 || n >= sizeof to.sun_path || (address[0] != '/' && address[0] != '@')) {
        err_set(err, ERR_INVALID, "NOTIFY_SOCKET is no address of a socket: %.120s", address);
        return NULL;
    }
    memcpy(to.sun_path, address, n);
    if (address[0] == '@') to.sun_path[0] = '\0'; /* the length says where such a name ends */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        err_set(err, ERR_UNAVAILABLE, "no socket for the service manager: %s", strerror(errno));
        return NULL;
    }
    struct sdnotify *notify = mem_alloc(sizeof *notify);
    notify->fd = fd;
    notify->address = to;
    notify->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    return notify;
}

int sdnotify_send(const struct sdnotify *notify, const char *text, size_t n, struct err *err)
{
    const struct sockaddr *to = (const struct sockaddr *)&notify->address;
    if (sendto(notify->fd, text, n, MSG_NOSIGNAL, to, notify->len) == (ssize_t)n) return 0;
    return err_set(err, ERR_UNAVAILABLE, "the service manager cannot be told: %s", strerror(errno));
}

void sdnotify_close(struct sdnotify *notify)
{
    if (notify == NULL) return;
    close(notify->fd);
    mem_free(notify);
}
