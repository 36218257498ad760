/* http_request.c - the arguments of perigee.core.http as a request: options, headers, body, limits. */
#include "bindings/http.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "host/curlmux.h"
#include "host/luax.h"

enum { TIME_MAX_MS = 7 * 24 * 3600 * 1000 };

static const char *const option_fields[] = {"headers",
                                            "timeout",
                                            "connect_timeout",
                                            "first_byte_timeout",
                                            "stall_timeout",
                                            "max_body",
                                            "max_headers",
                                            "redirects",
                                            "insecure",
                                            "unix_socket",
                                            "file",
                                            "part",
                                            "file_name",
                                            "media_type",
                                            "download",
                                            "resume",
                                            "progress",
                                            "json",
                                            "body",
                                            "method",
                                            "url",
                                            "fresh",
                                            NULL};

const char *request_text(lua_State *L, int index, const char *what)
{
    size_t n;
    const char *s = luax_string(L, index, &n);
    if (s == NULL) luax_invalid(L, "http: %s must be a string, not %s", what, luaL_typename(L, index));
    if (strlen(s) != n) luax_invalid(L, "http: %s holds a zero byte", what);
    return s;
}

/* [-1, +0, e] takes the value on top as one header.  The options keep the strings alive; numbers become
 * strings that the table at ARG_NUMBERS keeps, which is made for the first one. */
static void add_header(lua_State *L, struct http_request *request, struct http_header *list, const char *name)
{
    if (request->header_count == REQUEST_HEADERS_MAX)
        luax_invalid(L, "http: more than %d headers", REQUEST_HEADERS_MAX);
    if (lua_isinteger(L, -1)) {
        if (lua_isnil(L, ARG_NUMBERS)) {
            lua_newtable(L);
            lua_replace(L, ARG_NUMBERS);
        }
        luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
        lua_pushvalue(L, -1);
        lua_rawseti(L, ARG_NUMBERS, (lua_Integer)lua_rawlen(L, ARG_NUMBERS) + 1);
    }
    struct http_header header = {name, request_text(L, -1, "a header's value")};
    size_t at = request->header_count++;
    /* by name, so that the order of a table never shows; of one name the order given */
    while (at > 0 && strcasecmp(list[at - 1].name, name) > 0) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = header;
    lua_pop(L, 1);
}

static bool has_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0) return true;
    return false;
}

/* [-0, +0, e] reads options.headers */
static void read_headers(lua_State *L, struct http_request *request, struct http_header *list)
{
    int type = lua_getfield(L, ARG_OPTIONS, "headers");
    if (type != LUA_TTABLE && type != LUA_TNIL)
        luax_invalid(L, "http: headers must be a table {name = value}");
    if (type == LUA_TTABLE) {
        int headers = lua_gettop(L);
        lua_pushnil(L);
        while (lua_next(L, headers)) {
            const char *name = request_text(L, -2, "a header's name");
            if (!lua_istable(L, -1)) {
                add_header(L, request, list, name);
                continue;
            }
            lua_Integer n = luaL_len(L, -1);
            for (lua_Integer i = 1; i <= n; i++) {
                lua_geti(L, -1, i);
                add_header(L, request, list, name);
            }
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static uint64_t opt_time(lua_State *L, const char *field)
{
    uint64_t ms = luax_opt_duration(L, ARG_OPTIONS, "http", field, 0);
    return ms < TIME_MAX_MS ? ms : TIME_MAX_MS;
}

static bool is_reading(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

/* options.insecure names the host, so that a copied line does not switch off the checks of another one. */
static bool read_insecure(lua_State *L, const char *url)
{
    char origin[CURLMUX_ORIGIN_MAX];
    struct err err;
    lua_getfield(L, ARG_OPTIONS, "insecure");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    const char *host = luax_string(L, -1, NULL);
    if (curlmux_origin(url, origin, &err) != 0) luax_raise_err(L, &err);
    const char *named = strstr(origin, "://") + 3;
    size_t n = (size_t)(strrchr(named, ':') - named);
    if (host == NULL || strlen(host) != n || strncasecmp(host, named, n) != 0) {
        named = lua_pushlstring(L, named, n);
        luax_invalid(
            L, "http: insecure must name the host whose certificate is not to be checked: insecure = \"%s\"",
            named);
    }
    lua_pop(L, 1);
    return true;
}

static const char *opt_text(lua_State *L, const char *field)
{
    lua_getfield(L, ARG_OPTIONS, field); /* stays on the stack, and so alive */
    return lua_isnil(L, -1) ? NULL : request_text(L, -1, field);
}

static void read_options(lua_State *L, struct http_request *request, struct http_file_body *file)
{
    luax_check_options(L, ARG_OPTIONS, "http", option_fields);
    luaL_checkstack(L, 16, "http");
    request->total_ms = opt_time(L, "timeout");
    request->connect_ms = opt_time(L, "connect_timeout");
    request->first_byte_ms = opt_time(L, "first_byte_timeout");
    request->stall_ms = opt_time(L, "stall_timeout");
    request->body_cap = (size_t)luax_opt_integer(L, ARG_OPTIONS, "http", "max_body", 0, 1, LLONG_MAX);
    request->header_cap = (size_t)luax_opt_integer(L, ARG_OPTIONS, "http", "max_headers", 0, 1, 1 << 20);
    request->max_redirects =
        (int)luax_opt_integer(L, ARG_OPTIONS, "http", "redirects", request->max_redirects, 0, 50);
    request->resume = luax_opt_boolean(L, ARG_OPTIONS, "http", "resume", false);
    request->fresh = luax_opt_boolean(L, ARG_OPTIONS, "http", "fresh", false);
    request->insecure = read_insecure(L, request->url);
    request->unix_socket = opt_text(L, "unix_socket");
    request->download_path = opt_text(L, "download");
    file->path = opt_text(L, "file");
    if (file->path == NULL) return;
    file->part_name = opt_text(L, "part");
    file->file_name = opt_text(L, "file_name");
    file->media_type = opt_text(L, "media_type");
    request->file_body = file;
}

void request_read(lua_State *L, struct request_args *args)
{
    struct http_request *request = &args->request;
    *request = (struct http_request){.method = request_text(L, ARG_METHOD, "the method"),
                                     .url = request_text(L, ARG_URL, "the URL"),
                                     .headers = args->headers};
    args->file = (struct http_file_body){0};
    request->once = !is_reading(request->method);
    request->max_redirects = request->once ? 0 : 5;
    if (!lua_isnil(L, ARG_OPTIONS)) {
        read_headers(L, request, args->headers);
        read_options(L, request, &args->file);
    }
    if (!lua_isnil(L, ARG_MEDIA_TYPE) && !has_header(request, "content-type")) {
        lua_pushvalue(L, ARG_MEDIA_TYPE);
        add_header(L, request, args->headers, "Content-Type");
    }
    if (lua_isnil(L, ARG_BODY)) return;
    request->body = luax_string(L, ARG_BODY, &request->body_len);
    if (request->body == NULL)
        luax_invalid(L, "http: body must be a string, not %s (json = sends a table)",
                     luaL_typename(L, ARG_BODY));
}
