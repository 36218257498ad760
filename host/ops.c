/* ops.c - one call of an operation: check, permit, exchange, verdict, reply.
 *
 * The call is an op (task.h).  For a create the order is fixed here and nowhere else: a permit whose intent
 * is on record, then the request, then the answer is entered, whatever becomes of the task meanwhile.
 * Loop-side callbacks fill the op and complete it; all Lua is in ops_send and call_finish.
 * Owns: the op's buffers and its exchange.  Borrows: the connection, the permit and the progress cell, kept
 * alive by a table in the registry until release.
 */
#include "host/ops.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "host/clock.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/ops_local.h"
#include "host/redact.h"
#include "host/spend.h"
#include "host/tally.h"
#include "host/task.h"
#include "host/vm.h"

enum { ERROR_BODY_MAX = 2048, REPLY_CAP = 16 << 20, HEADERS_MAX = 4 };

struct call {
    struct op op;
    struct ops_conn *conn;
    const struct ops_def *def;
    struct vm *vm;
    int anchor; /* registry reference to what must outlive the call */
    int attempt;
    uint64_t timeout_ms;

    struct permit **permit; /* in its userdata; NULL if the operation needs none */
    bool entered;           /* the answer is entered with the permit */
    struct ops_progress *progress;

    struct buf url, body; /* of the request */
    char *file, *file_name;
    struct exchange *exchange;

    bool failed; /* err says why */
    struct err err;
    int status;
    uint64_t elapsed_ms;
    struct buf reply, reply_headers;
};

/* ---- names -------------------------------------------------------------------------------------------- */

const struct ops_def *ops_find(const struct ops_service *service, const char *name)
{
    for (const struct ops_def *def = service->defs; def->name; def++)
        if (strcmp(def->name, name) == 0) return def;
    return NULL;
}

const struct ops_compound *ops_find_compound(const struct ops_service *service, const char *name)
{
    for (const struct ops_compound *c = service->compounds; c && c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

const char *ops_effect_name(enum ops_effect effect)
{
    static const char *const names[] = {"", "read", "login", "draft", "upload", "create", "stop"};
    return names[effect];
}

const char *ops_type_name(enum ops_type type)
{
    static const char *const names[] = {"",         "string", "integer", "number",         "string of digits",
                                        "string",   "path",   "URL",     "table of names", "local file",
                                        "file name"};
    return names[type];
}

struct ops_stats *ops_stats(lua_State *L)
{
    static const char key = 0;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TUSERDATA) {
        lua_pop(L, 1);
        memset(lua_newuserdatauv(L, sizeof(struct ops_stats), 0), 0, sizeof(struct ops_stats));
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    }
    struct ops_stats *stats = lua_touserdata(L, -1);
    lua_pop(L, 1); /* the registry keeps it */
    return stats;
}

static const char transport_key;

void ops_use_transport(lua_State *L, struct transport *transport)
{
    lua_pushlightuserdata(L, transport);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &transport_key);
}

struct transport *ops_default_transport(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &transport_key);
    struct transport *transport = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return transport ? transport : sched_http(vm_sched(vm_of(L))); /* the network, shared by all VMs */
}

/* ---- the exchange, on the loop's side ----------------------------------------------------------------- */

/* The first time-out of each effect; `timeout=` overrides the total. */
static void set_limits(struct http_request *request, enum ops_effect effect, uint64_t timeout_ms)
{
    request->first_byte_ms = 60 * 1000;
    request->total_ms = 120 * 1000;
    request->body_cap = REPLY_CAP;
    if (effect == OPS_CREATE) {
        request->first_byte_ms = 120 * 1000;
        request->total_ms = 180 * 1000;
    } else if (effect == OPS_UPLOAD) {
        request->first_byte_ms = 300 * 1000;
        request->total_ms = 24ull * 3600 * 1000;
    }
    if (!timeout_ms) return;
    request->total_ms = timeout_ms;
    if (request->first_byte_ms > timeout_ms) request->first_byte_ms = timeout_ms;
}

/* Enters the answer with the permit, once. */
static void enter_answer(struct call *call, enum spend_outcome outcome, const char *remote_id)
{
    if (!call->permit || !*call->permit || call->entered) return;
    call->entered = true;
    if (permit_state(*call->permit) == PERMIT_SENT) spend_answered(*call->permit, outcome, remote_id, NULL);
}

static void on_progress(void *ctx, const struct http_progress *progress)
{
    struct call *call = ctx;
    if (call->progress) call->progress->now = *progress;
}

static void on_done(void *ctx, struct http_response *response, const struct err *error)
{
    struct call *call = ctx;
    call->exchange = NULL;
    call->status = response->status;
    call->elapsed_ms = response->elapsed_ms;
    call->reply.data = buf_take(&response->body, &call->reply.len);
    call->reply.cap = call->reply.len;
    buf_append(&call->reply_headers, response->headers.data, response->headers.len);
    if (error) {
        call->failed = true;
        call->err = *error;
    }
    op_complete(&call->op);
}

/* Gives the request to the transport; 0, or -1 with call->err. */
static int launch(struct call *call)
{
    const struct ops_def *def = call->def;
    const struct ops_service *service = call->conn->service;
    struct http_header headers[HEADERS_MAX];
    struct http_request request = {.method = def->method, .url = buf_str(&call->url), .headers = headers};
    struct buf auth = {0};

    headers[request.header_count++] = (struct http_header){"Accept", "application/json"};
    if (call->conn->token && def->effect != OPS_LOGIN) {
        buf_printf(&auth, "%s%s", service->auth_prefix, call->conn->token);
        headers[request.header_count++] = (struct http_header){service->auth_header, buf_str(&auth)};
    }
    struct http_file_body file = {.path = call->file, .part_name = "file", .file_name = call->file_name};
    if (call->file) {
        request.file_body = &file;
    } else if (strcmp(def->method, "GET") != 0) {
        headers[request.header_count++] = (struct http_header){"Content-Type", "application/json"};
        request.body = call->body.data;
        request.body_len = call->body.len;
    }
    set_limits(&request, def->effect, call->timeout_ms);
    request.fresh = def->effect == OPS_CREATE;
    request.once = def->effect == OPS_CREATE || def->effect == OPS_DRAFT || def->effect == OPS_UPLOAD;

    call->exchange = transport_start(call->conn->transport, &request, on_done,
                                     call->progress ? on_progress : NULL, call, &call->err);
    buf_deinit(&auth);
    return call->exchange ? 0 : -1;
}

static void call_abort(struct op *op)
{
    struct call *call = (struct call *)op;
    if (call->exchange) transport_cancel(call->conn->transport, call->exchange);
    call->exchange = NULL;
    enter_answer(call, SPEND_UNKNOWN, NULL);
}

static void call_release(struct op *op)
{
    struct call *call = (struct call *)op;
    if (!op->done) call_abort(op);           /* never parked: the binding raised */
    enter_answer(call, SPEND_UNKNOWN, NULL); /* the answer came, but nobody could read it */
    luaL_unref(vm_state(call->vm), LUA_REGISTRYINDEX, call->anchor);
    buf_deinit(&call->url);
    buf_deinit(&call->body);
    buf_deinit(&call->reply);
    buf_deinit(&call->reply_headers);
    mem_free(call->file);
    mem_free(call->file_name);
}

static void call_describe(const struct op *op, struct buf *out)
{
    const struct call *call = (const struct call *)op;
    buf_printf(out, "%s.%s ", call->conn->service->name, call->def->name);
    redact_url(out, buf_str(&call->url));
}

/* ---- the answer, on Lua's side ------------------------------------------------------------------------ */

static void set_string(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

/* [-0, +0, e] raises what the judge found, with all there is to know. */
static int raise_error(lua_State *L, struct call *call)
{
    redact_string(call->err.message, sizeof call->err.message);
    luax_push_err(L, &call->err);
    set_string(L, "service", call->conn->service->name);
    set_string(L, "operation", call->def->name);
    lua_pushinteger(L, call->attempt);
    lua_setfield(L, -2, "attempt");
    lua_pushnumber(L, (lua_Number)call->elapsed_ms / 1000);
    lua_setfield(L, -2, "elapsed");
    if (call->status) {
        lua_pushinteger(L, call->status);
        lua_setfield(L, -2, "status");
    }
    struct clock *clock = sched_clock(vm_sched(call->vm));
    uint32_t retry_after = ops_retry_after(buf_str(&call->reply_headers), clock_wall_ms(clock));
    if (retry_after) {
        lua_pushinteger(L, retry_after);
        lua_setfield(L, -2, "retry_after");
    }
    struct buf *text = &call->body; /* the request's own text is not needed any more */
    buf_clear(text);
    redact_url(text, buf_str(&call->url));
    set_string(L, "url", buf_str(text));
    bool fresh_token = call->def->effect == OPS_LOGIN && call->err.kind == ERR_PARSE;
    if (call->reply.len && !fresh_token) { /* a token that nobody has registered as a secret yet */
        /* Redacted before it is cut, so that no half of a secret stays at the end. */
        buf_clear(text);
        size_t n = call->reply.len < 4 * ERROR_BODY_MAX ? call->reply.len : 4 * ERROR_BODY_MAX;
        buf_append(text, call->reply.data, n);
        redact_buf(text, 0);
        lua_pushlstring(L, buf_str(text), text->len < ERROR_BODY_MAX ? text->len : ERROR_BODY_MAX);
        lua_setfield(L, -2, "body");
    }
    return lua_error(L);
}

/* [-0, +1, m] pushes the fields that log.with has given this task; text and whole numbers of it go into
 * fields. */
static size_t task_fields(lua_State *L, struct log_field *fields)
{
    static const char *const names[] = {"job", "attempt", "policy"};
    size_t n = 0;
    task_push_local(L, "perigee.log");
    for (size_t i = 0; lua_istable(L, -1) && i < sizeof names / sizeof names[0]; i++) {
        lua_getfield(L, -1, names[i]);
        bool whole = lua_isinteger(L, -1);
        fields[n].key = names[i];
        fields[n].type = whole ? LOG_INTEGER : LOG_STRING;
        fields[n].integer = whole ? lua_tointeger(L, -1) : 0;
        fields[n].string = whole ? NULL : luax_string(L, -1, &fields[n].len);
        if (whole || fields[n].string) n++;
        lua_pop(L, 1); /* the table keeps it */
    }
    return n;
}

static void log_call(lua_State *L, const struct call *call, bool ok)
{
    if (!log_enabled(LOG_LEVEL_DEBUG)) return;
    struct log_field fields[9] = {LOG_STR("service", call->conn->service->name),
                                  LOG_STR("operation", call->def->name),
                                  LOG_INT("status", call->status),
                                  LOG_INT("try", call->attempt),
                                  LOG_STR("error", ok ? NULL : err_kind_name(call->err.kind)),
                                  LOG_STR("outcome", ok ? NULL : outcome_name(call->err.outcome))};
    size_t n = 6 + task_fields(L, fields + 6);
    log_event(LOG_LEVEL_DEBUG, "ops.call", fields, n);
    lua_pop(L, 1);
}

static void note(lua_State *L, const struct call *call, bool ok)
{
    const char *service = call->conn->service->name, *operation = call->def->name;
    struct ops_stats *stats = ops_stats(L);
    stats->calls++;
    if (!ok) stats->failed++;
    tally_add(TALLY_CALLS, service, operation, ok ? "ok" : outcome_name(call->err.outcome));
    if (!ok) tally_add(TALLY_CALL_ERRORS, service, err_kind_name(call->err.kind), NULL);
    if (call->elapsed_ms > stats->slowest_ms) {
        stats->slowest_ms = call->elapsed_ms;
        snprintf(stats->slowest, sizeof stats->slowest, "%s.%s", service, operation);
    }
    log_call(L, call, ok);
}

/* [-0, +0, m] the id a create gave us, for the permit's record; kept alive by the reply.  NULL if none. */
static const char *remote_id(lua_State *L, const struct ops_def *def, int reply, char out[32])
{
    if (lua_type(L, reply) != LUA_TTABLE || !def->reply[0].name) return NULL;
    lua_getfield(L, reply, def->reply[0].name);
    if (lua_isinteger(L, -1)) snprintf(out, 32, "%lld", (long long)lua_tointeger(L, -1));
    const char *id = lua_isinteger(L, -1) ? out : lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return id;
}

/* [-0, +2, e] */
static int call_finish(lua_State *L, struct op *op)
{
    struct call *call = (struct call *)op;
    struct ops_answer answer = {.status = call->status,
                                .headers = buf_str(&call->reply_headers),
                                .body = buf_str(&call->reply),
                                .body_len = call->reply.len};
    struct err transport = call->err;
    if (call->failed) {
        answer.transport = &transport;
        lua_pushnil(L);
    } else {
        ops_decode(L, call->conn->service, call->def, &answer);
    }
    int reply = lua_gettop(L);
    bool ok = ops_judge(call->conn->service, call->def, &answer, &call->err) == 0;
    char id[32];
    if (ok)
        enter_answer(call, SPEND_CREATED, remote_id(L, call->def, reply, id));
    else
        enter_answer(call, call->err.outcome == OUTCOME_NONE ? SPEND_NONE : SPEND_UNKNOWN, NULL);
    note(L, call, ok);
    if (!ok) return raise_error(L, call);

    if (lua_isnil(L, reply)) {
        lua_newtable(L);
        lua_replace(L, reply);
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, call->status);
    lua_setfield(L, -2, "status");
    lua_pushnumber(L, (lua_Number)call->elapsed_ms / 1000);
    lua_setfield(L, -2, "elapsed");
    int64_t date = ops_server_date(answer.headers);
    if (date >= 0) {
        lua_pushinteger(L, date);
        lua_setfield(L, -2, "date");
    }
    return 2;
}

static const struct op_type call_type = {.name = "service call",
                                         .abort = call_abort,
                                         .finish = call_finish,
                                         .release = call_release,
                                         .describe = call_describe};

/* Within the process no socket is waited for: a virtual clock may move on meanwhile. */
static const struct op_type local_call_type = {.name = "service call",
                                               .timed = true,
                                               .abort = call_abort,
                                               .finish = call_finish,
                                               .release = call_release,
                                               .describe = call_describe};

/* ---- send --------------------------------------------------------------------------------------------- */

/* [-0, +0, e] the permit of a create: made for this very operation, on record, not used. */
static struct permit **check_permit(lua_State *L, const char *who, const struct ops_conn *conn,
                                    const struct ops_def *def, int index)
{
    if (def->effect != OPS_CREATE) {
        if (index) luax_invalid(L, "%s: costs nothing and takes no permit", who);
        return NULL;
    }
    struct permit **slot = index ? luaL_testudata(L, index, PERMIT_CLASS) : NULL;
    if (!slot || !*slot) luax_invalid(L, "%s: costs money and needs a permit of the spend kernel", who);
    if (permit_state(*slot) != PERMIT_INTENT)
        luax_invalid(L, "%s: its permit is %s; each request needs a permit of its own", who,
                     permit_state_name(permit_state(*slot)));
    if (strcmp(permit_service(*slot), conn->service->name) != 0 ||
        strcmp(permit_operation(*slot), def->name) != 0)
        luax_invalid(L, "%s: its permit was given for %s.%s", who, permit_service(*slot),
                     permit_operation(*slot));
    return slot;
}

/* [-0, +0, m] what the call points into stays until release. */
static int anchor(lua_State *L, const struct ops_call_options *o)
{
    const int indexes[] = {o->conn_index, o->permit_index, o->progress_index};
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
        if (!indexes[i]) continue;
        lua_pushvalue(L, indexes[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* [-0, +0, e] the request's texts, from the exact table. */
static void compose(lua_State *L, struct call *call, int exact)
{
    const struct ops_def *def = call->def;
    buf_printf(&call->url, "%s%s", call->conn->base_url, def->path);
    if (strcmp(def->method, "GET") == 0)
        ops_encode_query(L, exact, def, &call->url);
    else
        ops_encode(L, exact, def, &call->body);
    for (const struct ops_field *f = def->fields; f->name; f++) {
        if (f->type != OPS_FILE && f->type != OPS_FILE_NAME) continue;
        lua_getfield(L, exact, f->name);
        if (f->type == OPS_FILE)
            call->file = mem_strdup(lua_tostring(L, -1));
        else
            call->file_name = mem_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

int ops_send(lua_State *L, struct ops_conn *conn, const struct ops_def *def, int fields,
             const struct ops_call_options *options)
{
    char who[96];
    snprintf(who, sizeof who, "%s.%s", conn->service->name, def->name);
    if (def->effect == OPS_CREATE) task_check_not_cancelled(L, who);
    ops_check(L, fields, who, def, 0);
    int exact = lua_gettop(L);
    struct permit **permit = check_permit(L, who, conn, def, options->permit_index);

    bool local = local_is(conn->transport);
    struct call *call = op_new(L, local ? &local_call_type : &call_type, sizeof *call);
    call->conn = conn;
    call->def = def;
    call->vm = vm_of(L);
    call->anchor = LUA_NOREF;
    call->anchor = anchor(L, options);
    call->attempt = options->attempt;
    call->timeout_ms = options->timeout_ms;
    call->permit = permit;
    if (options->progress_index)
        call->progress = luaL_checkudata(L, options->progress_index, OPS_PROGRESS_CLASS);
    compose(L, call, exact);
    if (permit && spend_sent(*permit, &call->err) != 0) return luax_raise_err(L, &call->err);
    if (launch(call) != 0) { /* bad URL, unreadable file: nothing left, and the judge will say so */
        call->failed = true;
        op_complete(&call->op);
    }
    return op_park(L, &call->op);
}
