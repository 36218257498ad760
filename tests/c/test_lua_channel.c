/* test_lua_channel.c - plain data between two VMs. */
#include "tests/c/harness.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "bindings/modules.h"
#include "host/channel.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/luax.h"
#include "host/task.h"
#include "host/vm.h"

struct side {
    struct vm *vm;
    bool ok;
    char text[512];
};

struct fixture {
    struct loop *loop;
    struct clock *clock;
    struct sched *sched;
    struct side a, b;
};

static void on_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct side *side = ctx;
    (void)traceback;
    side->ok = ok;
    if (results == 0) return;
    snprintf(side->text, sizeof side->text, "%s", luax_error_text(L, -1));
    lua_pop(L, 1);
}

/* Each side runs its code with its end of a channel as the argument. */
static void run(struct fixture *f, size_t capacity, const char *a_code, const char *b_code)
{
    struct vm_config config = {.name = "a", .modules = binding_modules};
    f->loop = loop_new();
    f->clock = clock_new_virtual(0); /* who comes first must not depend on the machine */
    f->sched = sched_new(f->loop, f->clock, 1);
    f->a.vm = vm_new(f->sched, &config);
    config.name = "b";
    f->b.vm = vm_new(f->sched, &config);
    CHECK_INT(luaL_loadstring(vm_state(f->a.vm), a_code), LUA_OK);
    CHECK_INT(luaL_loadstring(vm_state(f->b.vm), b_code), LUA_OK);
    channel_push_ends(vm_state(f->a.vm), vm_state(f->b.vm), capacity, 0);
    vm_start(f->a.vm, 1, on_done, &f->a);
    vm_start(f->b.vm, 1, on_done, &f->b);
    loop_run(f->loop);
    vm_free(f->a.vm);
    vm_free(f->b.vm);
    sched_free(f->sched);
    CHECK_INT(loop_free(f->loop), 0);
    clock_free(f->clock);
}

static void values_arrive_as_they_were(void)
{
    struct fixture f = {0};
    run(&f, 4,
        "local c <close> = ... c:send({1, 2.5, 'x\\0y', true, nested = {a = {}}, "
        "cost = require('perigee.amount').ccd '0.05', "
        "err = require('perigee.error').new{kind = 'funds', message = 'empty'}}) c:send(nil)",
        "local c = ... local _, v = c:receive() local ok, n = c:receive() local more = c:receive() "
        "return table.concat({tostring(v[1]), tostring(v[2]), #v[3], tostring(v[4]), type(v.nested.a), "
        "tostring(v.cost), tostring(v.err), tostring(ok), tostring(n), tostring(more)}, ' ')");
    CHECK(f.a.ok && f.b.ok);
    CHECK_STR(f.b.text, "1 2.5 3 true table 0.05 CCD funds: empty true nil false");
}

static void a_full_channel_holds_the_sender_back(void)
{
    struct fixture f = {0};
    run(&f, 2,
        "local c <close> = ... local sent = 0 local t = require 'perigee.task' "
        "local w = t.spawn(function() for i = 1, 5 do c:send(i) sent = i end end) "
        "t.sleep(0.01) local early = sent c:receive() w:wait() return early",
        "local c <close> = ... local sum = 0 local t = require 'perigee.task' t.sleep(0.05) c:send 'go' "
        "for _ = 1, 5 do local _, v = c:receive() sum = sum * 10 + v end return sum");
    CHECK_STR(f.a.text, "2");
    CHECK_STR(f.b.text, "12345");
}

static void what_is_not_plain_is_refused_by_name(void)
{
    struct fixture f = {0};
    run(&f, 1,
        "local c <close> = ... local _, e = pcall(c.send, c, {job = {spec = {run = print}}}) "
        "local t = {} t.t = t local _, deep = pcall(c.send, c, t) return e.message .. '; ' .. deep.code",
        "local c = ... return tostring((c:receive()))");
    CHECK_STR(f.a.text, "job.spec.run: a function cannot go to another VM; not_plain");
    CHECK_STR(f.b.text, "false");
}

static void a_closed_end_wakes_the_other(void)
{
    struct fixture f = {0};
    run(&f, 1, "local c = ... require('perigee.task').sleep(0.01) c:close()",
        "local c = ... c:send(1) local ok, e = pcall(c.send, c, 2) return tostring(ok) .. ' ' .. e.kind");
    CHECK_STR(f.b.text, "false closed");
}

static void a_cancelled_wait_loses_nothing(void)
{
    struct fixture f = {0};
    run(&f, 1, "local c <close> = ... require('perigee.task').sleep(0.02) c:send 'kept'",
        "local c = ... local t = require 'perigee.task' pcall(t.deadline, 0.005, c.receive, c) "
        "local _, v = c:receive() return v");
    CHECK_STR(f.b.text, "kept");
}

int main(void)
{
    values_arrive_as_they_were();
    a_full_channel_holds_the_sender_back();
    what_is_not_plain_is_refused_by_name();
    a_closed_end_wakes_the_other();
    a_cancelled_wait_loses_nothing();
    HARNESS_END();
}
