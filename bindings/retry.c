/* retry.c - perigee.core.retry: the buckets that retries take from, one for each service in the process.
 *
 *   wait(service)  seconds until a token is there
 *   take(service)  give(service)
 */
#include "bindings/modules.h"
#include "host/bucket.h"
#include "host/luax.h"
#include "host/task.h"

static struct buckets *buckets_of(lua_State *L)
{
    return sched_buckets(vm_sched(vm_of(L)));
}

static int l_wait(lua_State *L)
{
    lua_pushnumber(L, buckets_wait(buckets_of(L), luaL_checkstring(L, 1)));
    return 1;
}

static int l_take(lua_State *L)
{
    buckets_take(buckets_of(L), luaL_checkstring(L, 1));
    return 0;
}

static int l_give(lua_State *L)
{
    buckets_give(buckets_of(L), luaL_checkstring(L, 1));
    return 0;
}

int luaopen_perigee_core_retry(lua_State *L)
{
    static const luaL_Reg functions[] = {{"wait", l_wait}, {"take", l_take}, {"give", l_give}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
