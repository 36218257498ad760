/* local.h - the in-process transport as a Lua value; see host/ops_local.h. */
#ifndef PERIGEE_BINDINGS_LOCAL_H
#define PERIGEE_BINDINGS_LOCAL_H

#include <lua.h>

#include "host/transport.h"

/* [-0, +0, e] the transport at index, which lives as long as the value does. */
struct transport *local_check(lua_State *L, int index);

#endif
