/* sdnotify.h - word to the service manager (systemd) that started this process.
 *
 * One datagram for each message, over the socket that NOTIFY_SOCKET names: a path, or "@name" in the abstract
 * namespace.  Nobody waits: a manager that does not read loses the message.  Knows nothing of what the
 * messages mean.
 */
#ifndef PERIGEE_SDNOTIFY_H
#define PERIGEE_SDNOTIFY_H

#include <stddef.h>

#include "host/err.h"

struct sdnotify;

/* NULL with err (invalid) for an address that is neither a path nor an abstract name, or is too long. */
struct sdnotify *sdnotify_open(const char *address, struct err *err);

/* Sends "NAME=value\nNAME=value" as one message.  -1 with err (unavailable) if nobody can get it. */
int sdnotify_send(const struct sdnotify *notify, const char *text, size_t n, struct err *err);

/* notify may be NULL. */
void sdnotify_close(struct sdnotify *notify);

#endif
