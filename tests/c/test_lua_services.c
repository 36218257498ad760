/* test_lua_services.c - the clients on a virtual clock, and creates without a permit.
 *
 * Each case is a Lua chunk that runs as the script of a VM of its own; what it returns must be "ok".
 */
#include <string.h>

#include "bindings/modules.h"
#include "bindings/spend.h"
#include "host/buf.h"
#include "host/clock.h"
#include "host/log.h"
#include "host/loop.h"
#include "host/luax.h"
#include "host/ops.h"
#include "host/spend.h"
#include "host/task.h"
#include "host/vm.h"
#include "tests/c/harness.h"

/* ---- a transport that only counts --------------------------------------------------------------------- */

static int started;

static struct exchange *count_start(struct transport *transport, const struct http_request *request,
                                    exchange_done_fn done, exchange_progress_fn progress, void *ctx,
                                    struct err *err)
{
    (void)transport, (void)request, (void)done, (void)progress, (void)ctx;
    started++;
    err_set(err, ERR_NETWORK, "no network in this test");
    return NULL;
}

static void count_cancel(struct transport *transport, struct exchange *exchange)
{
    (void)transport, (void)exchange;
}

static void count_free(struct transport *transport)
{
    (void)transport;
}

static const struct transport_type counting_type = {count_start, count_cancel, count_free};
static struct transport counting = {&counting_type};

/* ---- running a chunk ---------------------------------------------------------------------------------- */

struct ending {
    char text[1024];
};

static void on_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct ending *outcome = ctx;
    (void)traceback;
    snprintf(outcome->text, sizeof outcome->text, "%s%s",
             ok ? "" : "error: ", results ? luax_error_text(L, -1) : "nothing");
}

/* What the chunk returns, or its error.  virtual: hours pass at once. */
static const char *run(const char *chunk, bool virtual, struct ending *outcome)
{
    struct loop *loop = loop_new();
    struct clock *clock = virtual ? clock_new_virtual(1700000000000) : clock_new();
    struct sched *sched = sched_new(loop, clock, 11);
    struct spend_options options = {.timers = sched_timers(sched), .random = sched_random(sched)};
    struct spend *spend = spend_new(&options);
    struct vm_config config = {.name = "test", .modules = binding_modules};
    struct vm *vm = vm_new(sched, &config);
    lua_State *L = vm_state(vm);
    spend_install(L, spend);
    ops_use_transport(L, &counting);
    snprintf(outcome->text, sizeof outcome->text, "did not end");
    if (luaL_loadstring(L, chunk) != LUA_OK) printf("not ok - %s\n", lua_tostring(L, -1));
    vm_start(vm, 0, on_done, outcome);
    loop_run(loop);
    vm_free(vm);
    spend_free(spend);
    sched_free(sched);
    loop_free(loop);
    clock_free(clock);
    return outcome->text;
}

/* ---- no create leaves without a permit ---------------------------------------------------------------- */

static const char permits[] =
    "local core, spend = require 'perigee.core.ops', require 'perigee.core.spend'\n"
    "local conn = core.connect { service = 'deai', base_url = 'http://h' }\n"
    "local function create(permit) return pcall(conn.call, conn, 'create_job', { jobName = 'j' }, { permit = "
    "permit }) end\n"
    "local function refused(permit, what)\n"
    "  local ok, err = create(permit)\n"
    "  assert(not ok and (type(err) == 'string' or err.kind == 'invalid'), what)\n"
    "end\n"
    "refused(nil, 'none')\n"
    "refused(true, 'a boolean')\n"
    "refused(setmetatable({}, { __name = 'perigee.permit' }), 'a forged table')\n"
    "refused(core.progress(), 'another userdata')\n"
    "refused(spend.request { service = 'deai', operation = 'start_inference' }, 'for another operation')\n"
    "refused(spend.request { service = 'sxwl', operation = 'create_job' }, 'for another service')\n"
    "local closed = spend.request { service = 'deai', operation = 'create_job' }\n"
    "closed:close()\n"
    "refused(closed, 'closed')\n"
    "local released = spend.request { service = 'deai', operation = 'create_job' }\n"
    "released:release()\n"
    "refused(released, 'released')\n";

static const char used_permit[] =
    "local good = spend.request { service = 'deai', operation = 'create_job' }\n"
    "create(good)\n"
    "refused(good, 'used')\n"
    "return 'ok'\n";

static void test_permits(void)
{
    struct ending outcome;
    char chunk[4096];
    snprintf(chunk, sizeof chunk, "%s return 'ok'", permits);
    started = 0;
    CHECK_STR(run(chunk, false, &outcome), "ok");
    CHECK_INT(started, 0);
    snprintf(chunk, sizeof chunk, "%s%s", permits, used_permit);
    CHECK_STR(run(chunk, false, &outcome), "ok");
    CHECK_INT(started, 1);
}

/* ---- on the virtual clock ---------------------------------------------------------------------------- */

static const char world[] =
    "local task, local_transport = require 'perigee.task', require 'perigee.core.local'\n"
    "local world, transport, server\n"
    "local function serve(options)\n"
    "  world, transport = require 'perigee.emulator.world'.new(options), local_transport.new()\n"
    "  server = task.spawn(function()\n"
    "    while true do\n"
    "      local number, request = transport:next()\n"
    "      request.path, request.query = request.url:match '^%w+://[^/]+([^?]*)', {}\n"
    "      if number then transport:reply(number, world:handle(request, os.time())) end\n"
    "    end\n"
    "  end)\n"
    "end\n"
    "local function done()\n"
    "  server:cancel 'the end'\n"
    "  return 'ok'\n"
    "end\n"
    "local function calls(operation, status)\n"
    "  local n = 0\n"
    "  for _, e in ipairs(world.ledger.entries) do\n"
    "    if e.kind == 'call' and e.operation == operation and (not status or e.status == status) then n = n "
    "+ 1 end\n"
    "  end\n"
    "  return n\n"
    "end\n"
    "local function sxwl()\n"
    "  return require 'perigee.sxwl'.client { token = world.sxwl.token, base_url = 'http://e/api',\n"
    "    transport = transport, prices = { ['NVIDIA-GeForce-RTX-3090'] = '60 CNY/h' } }\n"
    "end\n"
    "local function deai()\n"
    "  return require 'perigee.deai'.client { email = world.EMAIL or require "
    "'perigee.emulator.world'.EMAIL,\n"
    "    password = require 'perigee.emulator.world'.PASSWORD, base_url = 'http://e/sdk/computation', "
    "transport = transport }\n"
    "end\n"
    "local job = { gpuNumber = 1, gpuType = 'NVIDIA-GeForce-RTX-3090', ckptPath = '/c', ckptVol = 1,\n"
    "  modelPath = '/m', modelVol = 1, imagePath = 'i', jobType = 'GeneralJob', stopType = 1, stopTime = 600 "
    "}\n";

struct virtual_case {
    const char *name, *chunk;
};

static const struct virtual_case virtual_cases[] = {
    {"polls grow rare",
     "serve { faults = 'sxwl.create_job:never' }\n"
     "job.stopType, job.stopTime = 0, nil\n"
     "local client = sxwl()\n"
     "local id, before = client:create_job(job), os.time()\n"
     "local ok, err = pcall(client.wait, client, id, { timeout = '2h' })\n"
     "assert(not ok and err.kind == 'timeout' and err.job_id == id, tostring(err))\n"
     "assert(os.time() - before == 7200, os.time() - before)\n"
     "assert(calls 'job_status' <= 150 and calls 'job_status' >= 115, calls 'job_status')\n"
     "return done()\n"},
    {"a status that cannot be read is waited out for an hour",
     "serve { faults = 'sxwl.job_status:error(503)' }\n"
     "local client = sxwl()\n"
     "local id, before = client:create_job(job), os.time()\n"
     "local ok, err = pcall(client.wait, client, id)\n"
     "assert(not ok and err.kind == 'http' and err.status == 503, tostring(err))\n"
     "assert(os.time() - before > 3600 and os.time() - before < 3750, os.time() - before)\n"
     "return done()\n"},
    {"a job that is gone is not found after ten minutes",
     "serve { era = 'B', faults = 'sxwl.create_job:never' }\n"
     "local client = sxwl()\n"
     "local id, before = client:create_job(job), os.time()\n"
     "world.sxwl.jobs = {}\n"
     "local ok, err = pcall(client.wait, client, id)\n"
     "assert(not ok and err.code == 'not_found', tostring(err))\n"
     "assert(os.time() - before >= 600 and os.time() - before < 750, os.time() - before)\n"
     "return done()\n"},
    {"an end at the deadline is told from one before",
     "serve {}\n"
     "job.stopTime = 1\n"
     "local client = sxwl()\n"
     "local late = client:run(job)\n"
     "assert(late.status == 'success' and late.at_deadline == true, late.status)\n"
     "assert(tostring(late.cost) == '1 CNY', tostring(late.cost))\n"
     "job.stopTime = 6000\n"
     "local early = client:run(job)\n"
     "assert(early.status == 'success' and early.at_deadline == nil, early.status)\n"
     "return done()\n"},
    {"status reads keep to five a second", "serve {}\n"
                                           "local client, other = sxwl(), sxwl()\n"
                                           "local id, before = client:create_job(job), task.now()\n"
                                           "local reads = {}\n"
                                           "for i = 1, 50 do reads[i] = i end\n"
                                           "task.map(reads, function(i) return (i % 2 == 0 and client or "
                                           "other):job_status(id) end, { concurrency = 50 })\n"
                                           "assert(task.now() - before >= 9.7, task.now() - before)\n"
                                           "return done()\n"},
    {"not yet is an answer however long it is given",
     "serve { faults = 'deai.submissions:error(500)' }\n"
     "local path = os.tmpname()\n"
     "local client = deai()\n"
     "local remote = client:upload(path)\n"
     "os.remove(path)\n"
     "local id = client:train({ model = 'LSTM', jobName = 'j', x_train = remote }).jobID\n"
     "world.deai.jobs[id].trained_at = os.time() + 10800\n"
     "local before = os.time()\n"
     "local result = client:wait_job(id, { x_train = remote })\n"
     "assert(result.by == 'estimate' and os.time() - before >= 10800, os.time() - before)\n"
     "return done()\n"},
    {"a token is renewed before its hour is over", "serve {}\n"
                                                   "local client = deai()\n"
                                                   "client:user()\n"
                                                   "task.sleep '58m'\n"
                                                   "client:user()\n"
                                                   "assert(calls 'login' == 1)\n"
                                                   "task.sleep '90s'\n"
                                                   "client:user()\n"
                                                   "assert(calls 'login' == 2 and calls 'user' == 3)\n"
                                                   "return done()\n"},
    {"a refused password is asked again after a growing pause",
     "serve {}\n"
     "local client = require 'perigee.deai'.client { email = 'x@y', password = 'wrong', base_url = "
     "'http://e/sdk/computation', transport = transport }\n"
     "for _ = 1, 3600 do\n"
     "  local ok, err = pcall(client.user, client)\n"
     "  assert(not ok and err.kind == 'auth' and err.code == 'login_refused')\n"
     "  task.sleep(1)\n"
     "end\n"
     "assert(calls 'login' >= 4 and calls 'login' <= 7, calls 'login')\n"
     "return done()\n"},
    {"a key rests sixty seconds after an unclear draft",
     "serve { faults = 'deai.estimate:drop_after=#2' }\n"
     "local path = os.tmpname()\n"
     "local client = deai()\n"
     "local remote = client:upload(path)\n"
     "os.remove(path)\n"
     "local draft = { model = 'LSTM', jobName = 'j', x_train = remote }\n"
     "client:estimate(draft)\n"
     "local ok, err = pcall(client.estimate, client, draft)\n"
     "assert(not ok and err.outcome == 'unknown', tostring(err))\n"
     "local before = os.time()\n"
     "client:estimate(draft)\n"
     "assert(os.time() - before == 60, os.time() - before)\n"
     "return done()\n"},
};

static void test_virtual(void)
{
    for (size_t i = 0; i < sizeof virtual_cases / sizeof virtual_cases[0]; i++) {
        struct ending outcome;
        struct buf chunk = {0};
        buf_printf(&chunk, "%s%s", world, virtual_cases[i].chunk);
        const char *got = run(buf_str(&chunk), true, &outcome);
        if (strcmp(got, "ok") != 0) printf("  %s\n", virtual_cases[i].name);
        CHECK_STR(got, "ok");
        buf_deinit(&chunk);
    }
}

/* What a person reads on the way. */
static struct buf lines;

static void keep_line(void *ctx, enum log_level level, const char *line, size_t n)
{
    (void)ctx, (void)level;
    buf_append(&lines, line, n);
}

static void test_queueing_is_explained(void)
{
    struct ending outcome;
    struct buf chunk = {0};
    buf_printf(&chunk, "%s%s", world,
               "serve { faults = 'sxwl.create_job:never' }\n"
               "local client = sxwl()\n"
               "job.timeout = 299\n"
               "pcall(client.run, client, job)\n"
               "require 'perigee.log'.warn 'between'\n"
               "job.timeout = 900\n"
               "pcall(client.run, client, job)\n"
               "return done()\n");
    log_set_sink(keep_line, NULL);
    CHECK_STR(run(buf_str(&chunk), true, &outcome), "ok");
    log_set_sink(NULL, NULL);
    const char *note = strstr(buf_str(&lines), "SXWL does not report queueing");
    const char *between = strstr(buf_str(&lines), "between");
    CHECK(note && between && note > between);
    CHECK(note && strstr(note + 1, "SXWL does not report queueing") == NULL);
    buf_deinit(&lines);
    buf_deinit(&chunk);
}

int main(void)
{
    test_permits();
    test_virtual();
    test_queueing_is_explained();
    HARNESS_END();
}
