/* test_lua_vm.c - VMs and the scheduler from C: two VMs of which one is ended for its memory, virtual time,
 * and what is left when both are gone. */
#include "tests/c/harness.h"

#include <lauxlib.h>

#include "bindings/modules.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/luax.h"
#include "host/task.h"
#include "host/vm.h"

struct ending {
    bool done, ok;
    char text[256];
};

static void on_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct ending *o = ctx;
    (void)traceback;
    o->done = true;
    o->ok = ok;
    if (results > 0) {
        snprintf(o->text, sizeof o->text, "%s", luax_error_text(L, -1));
        lua_pop(L, 1);
    }
}

static struct vm *start(struct sched *sched, const char *name, size_t cap, const char *code, struct ending *o)
{
    struct vm_config config = {.name = name, .modules = binding_modules, .memory_cap = cap};
    struct vm *vm = vm_new(sched, &config);
    CHECK_INT(luaL_loadstring(vm_state(vm), code), LUA_OK);
    vm_start(vm, 0, on_done, o);
    return vm;
}

static void one_vm_is_ended_for_memory_and_the_other_goes_on(void)
{
    struct loop *loop = loop_new();
    struct clock *clock = clock_new();
    struct sched *sched = sched_new(loop, clock, 1);
    struct ending greedy = {0}, modest = {0};
    struct vm *a =
        start(sched, "greedy", (size_t)16 << 20,
              "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(100000) end) end", &greedy);
    struct vm *b = start(sched, "modest", 0,
                         "local task = require 'perigee.task' local n = 0 "
                         "for i = 1, 50 do task.sleep(0.001) n = n + i end return n",
                         &modest);

    loop_run(loop);

    CHECK(greedy.done && !greedy.ok);
    CHECK(strstr(greedy.text, "memory limit of 16 MB") != NULL);
    CHECK(vm_memory_peak(a) <= (size_t)17 << 20);
    CHECK(modest.done && modest.ok);
    CHECK_STR(modest.text, "1275");
    vm_free(a);
    vm_free(b);
    sched_free(sched);
    CHECK_INT(loop_free(loop), 0);
    clock_free(clock);
}

static void virtual_time_passes_only_when_nothing_else_can(void)
{
    struct loop *loop = loop_new();
    struct clock *clock = clock_new_virtual(1700000000000);
    struct sched *sched = sched_new(loop, clock, 1);
    struct ending o = {0};
    struct vm *vm = start(sched, "rehearsal", 0,
                          "local task = require 'perigee.task' local t = os.time() "
                          "task.map({3600, 7200, 60}, task.sleep) return os.time() - t",
                          &o);

    loop_run(loop);

    CHECK(o.ok);
    CHECK_STR(o.text, "7200");
    CHECK_INT(clock_wall_ms(clock), 1700000000000 + 7200000);
    vm_free(vm);
    sched_free(sched);
    CHECK_INT(loop_free(loop), 0);
    clock_free(clock);
}

static void a_vm_that_can_never_go_on_is_a_deadlock(void)
{
    struct loop *loop = loop_new();
    struct clock *clock = clock_new();
    struct sched *sched = sched_new(loop, clock, 1);
    struct ending stuck = {0}, busy = {0};
    struct vm *a = start(sched, "stuck", 0, "require('perigee.task').queue(1):get()", &stuck);
    struct vm *b = start(sched, "busy", 0, "require('perigee.task').sleep(0.05)", &busy);

    loop_run(loop);

    CHECK(vm_deadlocked(a));
    CHECK(stuck.done && !stuck.ok);
    CHECK(!vm_deadlocked(b));
    CHECK(busy.ok);
    vm_free(a);
    vm_free(b);
    sched_free(sched);
    CHECK_INT(loop_free(loop), 0);
    clock_free(clock);
}

static void what_one_vm_repeats_counts_for_the_others(void)
{
    struct loop *loop = loop_new();
    struct clock *clock = clock_new_virtual(0);
    struct sched *sched = sched_new(loop, clock, 1);
    struct ending first = {0}, second = {0};
    const char *take = "local retry = require 'perigee.core.retry' "
                       "for _ = 1, 30 do retry.take 'x' end return retry.wait 'x'";
    struct vm *a = start(sched, "a", 0, take, &first), *b = start(sched, "b", 0, take, &second);

    loop_run(loop);

    CHECK_STR(first.text, "0.0");
    CHECK_STR(second.text, "11.0");
    vm_free(a);
    vm_free(b);
    sched_free(sched);
    CHECK_INT(loop_free(loop), 0);
    clock_free(clock);
}

int main(void)
{
    what_one_vm_repeats_counts_for_the_others();
    one_vm_is_ended_for_memory_and_the_other_goes_on();
    virtual_time_passes_only_when_nothing_else_can();
    a_vm_that_can_never_go_on_is_a_deadlock();
    HARNESS_END();
}
