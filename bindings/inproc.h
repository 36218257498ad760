/* inproc.h - for other bindings: the transport inside a value of perigee.core.inproc. */
#ifndef PERIGEE_BINDINGS_INPROC_H
#define PERIGEE_BINDINGS_INPROC_H

#include <lua.h>

#include "host/transport.h"

/* [-0, +0, e] raises `invalid` naming `what` for any other value.  Whoever keeps the transport keeps the
 * value at index alive as well. */
struct transport *inproc_check_transport(lua_State *L, int index, const char *what);

#endif
