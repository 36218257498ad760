/* sdnotify.c - perigee.core.sdnotify: word to the service manager.
 *
 * Loading the module reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the
 * environment: what this process starts later is not the service.  Whoever loads it first has them; one VM
 * should. send(text) -> true | false, why     one message; false without why: there is no service manager
 *   watchdog() -> seconds | nil         within which the manager wants a sign of life
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/modules.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/sdnotify.h"

static const char notify_class[] = "perigee.sdnotify";

struct service {
    struct sdnotify *notify; /* NULL: no service manager */
    unsigned long long watchdog_us;
};

static struct service *service_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int l_send(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    const struct service *s = service_of(L);
    struct err err;
    bool sent = s->notify && sdnotify_send(s->notify, text, n, &err) == 0;
    lua_pushboolean(L, sent);
    if (sent || s->notify == NULL) return 1;
    lua_pushstring(L, err.message);
    return 2;
}

static int l_watchdog(lua_State *L)
{
    unsigned long long us = service_of(L)->watchdog_us;
    if (us == 0) return 0;
    lua_pushnumber(L, (lua_Number)us / 1e6);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct service *s = luaL_checkudata(L, 1, notify_class);
    sdnotify_close(s->notify);
    s->notify = NULL;
    return 0;
}

/* What systemd has put into the environment; a WATCHDOG_PID of another process means that it is not for us.
 */
static void take_environment(struct service *s)
{
    const char *address = getenv("NOTIFY_SOCKET"), *us = getenv("WATCHDOG_USEC"),
               *pid = getenv("WATCHDOG_PID");
    struct err err;
    if (address && *address) {
        s->notify = sdnotify_open(address, &err);
        if (s->notify == NULL) log_write(LOG_LEVEL_WARN, "sdnotify.unusable", LOG_STR("error", err.message));
    }
    if (us && (pid == NULL || strtoll(pid, NULL, 10) == getpid())) s->watchdog_us = strtoull(us, NULL, 10);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

int luaopen_perigee_core_sdnotify(lua_State *L)
{
    static const luaL_Reg functions[] = {{"send", l_send}, {"watchdog", l_watchdog}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_gc}, {NULL, NULL}};
    luax_class(L, notify_class, NULL, meta);
    luaL_newlibtable(L, functions);
    struct service *s = luax_new(L, notify_class, sizeof *s);
    take_environment(s);
    luaL_setfuncs(L, functions, 1);
    return 1;
}
