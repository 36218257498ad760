/* http.h (bindings) - what http.c and http_request.c share; nobody else includes it. */
#ifndef PERIGEE_BINDINGS_HTTP_H
#define PERIGEE_BINDINGS_HTTP_H

#include <lua.h>

#include "host/transport.h"

/* The stack of request and open.  NUMBERS holds the texts of headers that were given as numbers. */
enum { ARG_METHOD = 1, ARG_URL, ARG_OPTIONS, ARG_BODY, ARG_MEDIA_TYPE, ARG_NUMBERS };

enum { REQUEST_HEADERS_MAX = 200 };

/* A request and what it points to; the Lua stack keeps the strings. */
struct request_args {
    struct http_request request;
    struct http_file_body file;
    struct http_header headers[REQUEST_HEADERS_MAX];
};

/* [-0, +?, e] reads the arguments (the slots up to ARG_NUMBERS) into args; what it pushes must stay while
 * args is used. */
void request_read(lua_State *L, struct request_args *args);

/* [-0, +0, e] the string at index; raises `invalid` if it is none or holds a zero byte. */
const char *request_text(lua_State *L, int index, const char *what);

#endif
