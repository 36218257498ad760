/* metrics.c - perigee.core.metrics: what the engines have counted.
 *
 *   loop_lag() -> {bounds = {seconds, …}, counts = {…, one more}, sum = seconds, count = n}
 *   sample_loop(seconds) -> sampler; sampler:close(): a timer of its own, so that the lag is known at all
 * times calls() -> list of {service, operation, outcome, n};  call_errors() -> {service, kind, n};  retries()
 * -> {kind, n} memory() -> bytes of the process, bytes of this VM build() -> {version, mode} What belongs to
 * the process is the same in every VM.
 */
#include <stdio.h>
#include <unistd.h>

#include "bindings/modules.h"
#include "host/luax.h"
#include "host/tally.h"
#include "host/task.h"
#include "host/vm.h"

static int l_loop_lag(lua_State *L)
{
    const struct timers_lag *lag = timers_lag(sched_timers(vm_sched(vm_of(L))));
    lua_createtable(L, 0, 4);
    lua_createtable(L, TIMERS_LAG_BUCKETS, 0);
    for (int i = 0; i < TIMERS_LAG_BUCKETS; i++) {
        lua_pushnumber(L, (lua_Number)timers_lag_bounds_ms[i] / 1000);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "bounds");
    lua_createtable(L, TIMERS_LAG_BUCKETS + 1, 0);
    for (int i = 0; i <= TIMERS_LAG_BUCKETS; i++) {
        lua_pushinteger(L, (lua_Integer)lag->counts[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "counts");
    lua_pushnumber(L, (lua_Number)lag->sum_ms / 1000);
    lua_setfield(L, -2, "sum");
    lua_pushinteger(L, (lua_Integer)lag->count);
    lua_setfield(L, -2, "count");
    return 1;
}

static const char sampler_class[] = "perigee.loop_sampler";

struct sampler {
    struct timer timer;
    struct timers *timers;
    uint64_t interval_ms;
};

static void on_sample_cb(struct timer *timer)
{
    struct sampler *s = (struct sampler *)timer; /* its first member; being late was counted already */
    timer_start_background(s->timers, timer, s->interval_ms, on_sample_cb);
}

static int l_sample_loop(lua_State *L)
{
    uint64_t interval_ms = (uint64_t)(luaL_checknumber(L, 1) * 1000);
    struct sampler *s = luax_new(L, sampler_class, sizeof *s);
    s->timers = sched_timers(vm_sched(vm_of(L)));
    s->interval_ms = interval_ms ? interval_ms : 1;
    timer_start_background(s->timers, &s->timer, s->interval_ms, on_sample_cb);
    return 1;
}

static int l_sampler_close(lua_State *L)
{
    struct sampler *s = luaL_checkudata(L, 1, sampler_class);
    timer_stop(s->timers, &s->timer);
    return 0;
}

/* [-0, +1, m] the counters of one kind; names: of its words, ended by NULL */
static void push_tally(lua_State *L, enum tally what, const char *const names[])
{
    size_t all;
    const struct tally_count *counts = tally_all(&all);
    lua_Integer found = 0;
    lua_newtable(L);
    for (size_t i = 0; i < all; i++) {
        if (counts[i].what != what) continue;
        lua_newtable(L);
        for (int w = 0; names[w]; w++) {
            lua_pushstring(L, counts[i].words[w]);
            lua_setfield(L, -2, names[w]);
        }
        lua_pushinteger(L, (lua_Integer)counts[i].n);
        lua_setfield(L, -2, "n");
        lua_rawseti(L, -2, ++found);
    }
}

static int l_calls(lua_State *L)
{
    static const char *const names[] = {"service", "operation", "outcome", NULL};
    push_tally(L, TALLY_CALLS, names);
    return 1;
}

static int l_call_errors(lua_State *L)
{
    static const char *const names[] = {"service", "kind", NULL};
    push_tally(L, TALLY_CALL_ERRORS, names);
    return 1;
}

static int l_retries(lua_State *L)
{
    static const char *const names[] = {"kind", NULL};
    push_tally(L, TALLY_RETRIES, names);
    return 1;
}

/* Resident memory; 0 where /proc is not there. */
static long long resident_bytes(void)
{
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    if (fscanf(file, "%*d %lld", &pages) != 1) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int l_memory(lua_State *L)
{
    lua_pushinteger(L, resident_bytes());
    lua_pushinteger(L, (lua_Integer)vm_memory(vm_of(L)));
    return 2;
}

static int l_build(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, PERIGEE_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushliteral(L, PERIGEE_MODE);
    lua_setfield(L, -2, "mode");
    return 1;
}

int luaopen_perigee_core_metrics(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sample_loop", l_sample_loop},
                                         {"loop_lag", l_loop_lag},
                                         {"calls", l_calls},
                                         {"call_errors", l_call_errors},
                                         {"retries", l_retries},
                                         {"memory", l_memory},
                                         {"build", l_build},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"close", l_sampler_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_sampler_close}, {"__close", l_sampler_close}, {NULL, NULL}};
    luax_class(L, sampler_class, methods, meta);
    luaL_newlib(L, functions);
    return 1;
}
