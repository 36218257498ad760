/* test_lua_time.c - perigee.time sees the clock of its host: on a virtual one, rehearsed time. */
#include "tests/c/harness.h"

#include <lauxlib.h>

#include "bindings/modules.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/luax.h"
#include "host/task.h"
#include "host/vm.h"

static void on_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    char *text = ctx;
    (void)ok, (void)traceback;
    if (results > 0) {
        snprintf(text, 256, "%s", luax_error_text(L, -1));
        lua_pop(L, results);
    }
}

int main(void)
{
    struct loop *loop = loop_new();
    struct clock *clock = clock_new_virtual(1706616345250);
    struct sched *sched = sched_new(loop, clock, 1);
    struct vm_config config = {.name = "rehearsal", .modules = binding_modules};
    struct vm *vm = vm_new(sched, &config);
    char text[256] = "";
    const char *code = "local task, time = require 'perigee.task', require 'perigee.time' "
                       "local before, since = time.format(time.now()), time.monotonic() "
                       "task.sleep(7500.5) "
                       "return before .. ' ' .. time.format(time.now(), 'Asia/Shanghai') .. ' ' .. "
                       "time.words(time.monotonic() - since)";
    CHECK_INT(luaL_loadstring(vm_state(vm), code), LUA_OK);
    vm_start(vm, 0, on_done, text);

    loop_run(loop);

    CHECK_STR(text, "2024-01-30T12:05:45.250Z 2024-01-30T22:10:45.750+08:00 2h5m");
    vm_free(vm);
    sched_free(sched);
    CHECK_INT(loop_free(loop), 0);
    clock_free(clock);
    HARNESS_END();
}
