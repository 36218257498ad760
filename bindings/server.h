/* server.h (bindings) - what server.c and server_request.c share; nobody else includes it. */
#ifndef PERIGEE_BINDINGS_SERVER_H
#define PERIGEE_BINDINGS_SERVER_H

#include <lua.h>

#include "host/server.h"
#include "host/task.h"

/* What the userdata of an accepted request holds; the request's `owner` points to it. */
struct held {
    struct server_request *request; /* NULL: released */
    struct op *writing;             /* waits until the connection keeps up */
    lua_Integer id;
};

/* [-0, +0, e] registers the class of requests. */
void held_open(lua_State *L);

/* [-0, +1, e] a new userdata without a request. */
struct held *held_push(lua_State *L);

/* The connection takes more, or is gone: ends the wait of a writer.  For events: no Lua. */
void held_changed(struct held *h);

#endif
