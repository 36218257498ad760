/* time.c - perigee.core.time: the clock of the host, real or virtual, and durations as text. */
#include "bindings/modules.h"
#include "host/clock.h"
#include "host/luax.h"
#include "host/task.h"

static struct clock *clock_of(lua_State *L)
{
    return sched_clock(vm_sched(vm_of(L)));
}

/* now() -> seconds since 1970, UTC, in whole milliseconds */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_wall_ms(clock_of(L)) / 1000);
    return 1;
}

/* monotonic() -> seconds that never go back; only differences mean something */
static int l_monotonic(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_now_ns(clock_of(L)) / 1e9);
    return 1;
}

/* seconds(duration) -> seconds; duration: a number, or "500ms", "5m", "2h5m" */
static int l_seconds(lua_State *L)
{
    uint64_t ms = luax_check_duration(L, 1, "time.seconds: the duration");
    if (ms % 1000 == 0)
        lua_pushinteger(L, (lua_Integer)(ms / 1000));
    else
        lua_pushnumber(L, (lua_Number)ms / 1000);
    return 1;
}

int luaopen_perigee_core_time(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"now", l_now}, {"monotonic", l_monotonic}, {"seconds", l_seconds}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
