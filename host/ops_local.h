/* ops_local.h - a transport whose other end is a task in this process: the emulator on a virtual clock.
 *
 * Keeps the contract of host/transport.h, so that nothing above can tell.  A task takes requests with
 * local_next and answers them with local_reply; the answer is delivered from the loop, after its delay.
 * Loop thread only.
 */
#ifndef PERIGEE_OPS_LOCAL_H
#define PERIGEE_OPS_LOCAL_H

#include <lua.h>

#include "host/timers.h"
#include "host/transport.h"

struct local_transport;

/* What a request was answered with. */
struct local_reply {
    int status;
    const char *headers; /* "name: value\r\n" lines, names in lower case */
    const char *body;
    size_t body_len;
    uint64_t delay_ms;
    bool dropped; /* the connection ends instead: the request was sent, no reply came */
};

struct local_transport *local_new(struct timers *timers);

/* Exchanges that still run are gone, without done. */
void local_free(struct local_transport *local);

struct transport *local_as_transport(struct local_transport *local);

/* True if the transport is one of these: what waits for it waits for no socket. */
bool local_is(const struct transport *transport);

/* Waits for the next request; returns its number and {method, url, headers, body}, or nothing if it was
 * gone again.  `return local_next(L, local);` */
int local_next(lua_State *L, struct local_transport *local);

/* False if the request is gone: cancelled, or timed out. */
bool local_reply(struct local_transport *local, uint64_t number, const struct local_reply *reply);

#endif
