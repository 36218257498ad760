/* ops.c - perigee.core.ops: the operations engine for Lua, one exchange for each call.
 *
 *   services()                         names of the services
 *   describe(service)                  its table as Lua values: for docs, stubs and completion
 *   connect{service=, base_url=}       a connection: :call(operation, fields, options) :token(text)
 * :base_url() check(service, operation, fields, {partial=, local_files=})    exact types, or raises `invalid`
 *   split(service, name, table)        {fields of each part…}, options
 *   progress()                         a cell an upload reports to: :read() gives sent, total
 *   shared()                           one table for all clients of the VM: locks, drafts, tokens
 *   stats(), count_retry(), count_answer()   figures for the summary
 *   secret(text)                       registers a secret for blanking
 *
 * Several exchanges in a row are the business of scripts/lib/service.lua and the clients.
 */
#include <lauxlib.h>
#include <string.h>

#include "bindings/modules.h"
#include "bindings/local.h"
#include "bindings/services.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/ops.h"
#include "host/redact.h"
#include "host/tally.h"
#include "host/task.h"

static const struct ops_service *const services[] = {&deai_service, &sxwl_service, NULL};

enum { NAMES_MAX = 96, PARTS_MAX = 4 };

/* ---- names -------------------------------------------------------------------------------------------- */

/* [-0, +0, e] */
static const struct ops_service *check_service(lua_State *L, int index)
{
    const char *name = luax_string(L, index, NULL);
    for (size_t i = 0; name && services[i]; i++)
        if (strcmp(services[i]->name, name) == 0) return services[i];
    luax_invalid(L, "unknown service \"%s\"", name ? name : luaL_typename(L, index));
}

/* [-0, +0, e] */
static const struct ops_def *check_def(lua_State *L, const struct ops_service *service, int index)
{
    const char *name = luax_string(L, index, NULL);
    const struct ops_def *def = name ? ops_find(service, name) : NULL;
    if (!def)
        luax_invalid(L, "%s: unknown operation \"%s\"", service->name, name ? name : luaL_typename(L, index));
    return def;
}

static int l_services(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; services[i]; i++) {
        lua_pushstring(L, services[i]->name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* ---- describe ----------------------------------------------------------------------------------------- */

static void set_string(lua_State *L, const char *key, const char *value)
{
    if (!value) return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, bool value)
{
    if (!value) return;
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, key);
}

/* [-0, +1, m] */
static void push_strings(lua_State *L, const char *const *list)
{
    lua_newtable(L);
    for (int i = 0; list && list[i]; i++) {
        lua_pushstring(L, list[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

/* [-0, +1, m] */
static void push_field(lua_State *L, const struct ops_field *f)
{
    lua_newtable(L);
    set_string(L, "name", f->name);
    set_string(L, "type", ops_type_name(f->type));
    set_flag(L, "required", f->required);
    set_flag(L, "secret", f->secret);
    set_string(L, "required_if", f->required_if);
    set_string(L, "required_value", f->required_value);
    set_string(L, "default", f->fallback);
    set_string(L, "mark", f->mark);
    set_string(L, "doc", f->doc);
    if (f->choices) {
        push_strings(L, f->choices);
        lua_setfield(L, -2, "choices");
    }
    if (f->least || f->most) {
        lua_pushinteger(L, f->least);
        lua_setfield(L, -2, "least");
        lua_pushinteger(L, f->most);
        lua_setfield(L, -2, "most");
    }
    if (f->above < f->below) {
        lua_pushnumber(L, f->above);
        lua_setfield(L, -2, "above");
        lua_pushnumber(L, f->below);
        lua_setfield(L, -2, "below");
    }
    if (f->max_len) {
        lua_pushinteger(L, (lua_Integer)f->max_len);
        lua_setfield(L, -2, "max_len");
    }
}

/* [-0, +1, m] */
static void push_reply(lua_State *L, const struct ops_reply_field *reply)
{
    static const char *const types[] = {"",       "string", "string", "integer", "number",
                                        "amount", "amount", "list",   "table",   "any"};
    lua_newtable(L);
    for (int i = 0; reply[i].name; i++) {
        lua_newtable(L);
        set_string(L, "name", reply[i].name);
        set_string(L, "type", types[reply[i].type]);
        set_string(L, "currency", reply[i].currency);
        set_string(L, "doc", reply[i].doc);
        set_flag(L, "required", reply[i].required);
        lua_rawseti(L, -2, i + 1);
    }
}

/* [-0, +1, m] */
static void push_def(lua_State *L, const struct ops_def *def)
{
    lua_newtable(L);
    set_string(L, "name", def->name);
    set_string(L, "method", def->method);
    set_string(L, "path", def->path);
    set_string(L, "effect", ops_effect_name(def->effect));
    set_string(L, "doc", def->doc);
    set_flag(L, "idempotent", def->idempotent);
    lua_newtable(L);
    for (int i = 0; def->fields[i].name; i++) {
        push_field(L, &def->fields[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "fields");
    push_strings(L, def->options);
    lua_setfield(L, -2, "options");
    push_reply(L, def->reply);
    lua_setfield(L, -2, "reply");
}

static int l_describe(lua_State *L)
{
    const struct ops_service *service = check_service(L, 1);
    lua_newtable(L);
    set_string(L, "name", service->name);
    set_string(L, "title", service->title);
    set_string(L, "base_url", service->base_url);
    lua_newtable(L);
    for (int i = 0; service->defs[i].name; i++) {
        push_def(L, &service->defs[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "operations");
    lua_newtable(L);
    for (int i = 0; service->compounds && service->compounds[i].name; i++) {
        const struct ops_compound *c = &service->compounds[i];
        lua_newtable(L);
        set_string(L, "name", c->name);
        set_string(L, "doc", c->doc);
        push_strings(L, c->parts);
        lua_setfield(L, -2, "parts");
        push_strings(L, c->options);
        lua_setfield(L, -2, "options");
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "compounds");
    return 1;
}

/* ---- check and split ---------------------------------------------------------------------------------- */

static int l_check(lua_State *L)
{
    const struct ops_service *service = check_service(L, 1);
    const struct ops_def *def = check_def(L, service, 2);
    static const char *const options[] = {"partial", "local_files", "name", NULL};
    luax_check_options(L, 4, "ops.check", options);
    unsigned flags = 0;
    if (luax_opt_boolean(L, 4, "ops.check", "partial", false)) flags |= OPS_PARTIAL;
    if (luax_opt_boolean(L, 4, "ops.check", "local_files", false)) flags |= OPS_LOCAL_FILES;
    const char *who = luax_opt_string(L, 4, "ops.check", "name", NULL, NULL);
    if (!who) who = lua_pushfstring(L, "%s.%s", service->name, def->name);
    ops_check(L, 3, who, def, flags);
    return 1;
}

/* The operations behind a name: itself, or the parts of a compound. */
struct parts {
    const struct ops_def *defs[PARTS_MAX];
    int count;
    const char *const *options;
};

/* [-0, +0, e] */
static struct parts find_parts(lua_State *L, const struct ops_service *service, const char *name)
{
    struct parts parts = {.count = 0};
    const struct ops_compound *compound = ops_find_compound(service, name);
    const struct ops_def *def = ops_find(service, name);
    if (compound) {
        parts.options = compound->options;
        for (int i = 0; compound->parts[i] && i < PARTS_MAX; i++)
            parts.defs[parts.count++] = ops_find(service, compound->parts[i]);
    } else if (def) {
        parts.options = def->options;
        parts.defs[parts.count++] = def;
    } else {
        luax_invalid(L, "%s: unknown operation \"%s\"", service->name, name);
    }
    return parts;
}

static bool listed(const char *const *list, const char *name)
{
    for (; list && *list; list++)
        if (strcmp(*list, name) == 0) return true;
    return false;
}

static bool has_field(const struct ops_def *def, const char *name)
{
    for (const struct ops_field *f = def->fields; f->name; f++)
        if (strcmp(f->name, name) == 0) return true;
    return false;
}

/* [-0, +0, e] */
static void refuse_name(lua_State *L, const char *who, const struct parts *parts, const char *name)
{
    const char *names[NAMES_MAX + 1];
    size_t n = 0;
    for (int i = 0; i < parts->count; i++)
        for (const struct ops_field *f = parts->defs[i]->fields; f->name && n < NAMES_MAX; f++)
            names[n++] = f->name;
    for (const char *const *o = parts->options; o && *o && n < NAMES_MAX; o++) names[n++] = *o;
    names[n] = NULL;
    luax_refuse_name(L, who, "field", name, names);
}

/* split(service, name, table[, shown name]) -> {fields of part 1, fields of part 2, …}, options */
static int l_split(lua_State *L)
{
    const struct ops_service *service = check_service(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct parts parts = find_parts(L, service, name);
    lua_settop(L, 4);
    const char *who = lua_pushfstring(L, "%s.%s", service->name, luaL_optstring(L, 4, name));
    if (lua_type(L, 3) != LUA_TTABLE)
        luax_invalid(L, "%s: takes one table of fields, not %s", who, luaL_typename(L, 3));
    lua_createtable(L, parts.count, 0);
    int lists = lua_gettop(L);
    for (int i = 1; i <= parts.count; i++) {
        lua_newtable(L);
        lua_rawseti(L, lists, i);
    }
    lua_newtable(L);
    int options = lua_gettop(L);
    const char *unknown = NULL; /* the first in byte order: lua_next has none */
    lua_pushnil(L);
    while (lua_next(L, 3)) {
        if (lua_type(L, -2) != LUA_TSTRING) luax_invalid(L, "%s: takes named fields, not a list", who);
        const char *key = lua_tostring(L, -2);
        bool known = false;
        for (int i = 0; i < parts.count; i++) {
            if (!has_field(parts.defs[i], key)) continue;
            lua_rawgeti(L, lists, i + 1);
            lua_pushvalue(L, -2);
            lua_setfield(L, -2, key);
            lua_pop(L, 1);
            known = true;
        }
        if (listed(parts.options, key)) {
            lua_pushvalue(L, -1);
            lua_setfield(L, options, key);
            known = true;
        }
        if (!known && (!unknown || strcmp(key, unknown) < 0)) unknown = key;
        lua_pop(L, 1);
    }
    if (unknown) refuse_name(L, who, &parts, unknown);
    return 2;
}

/* ---- connections -------------------------------------------------------------------------------------- */

static int l_connect(lua_State *L)
{
    static const char *const options[] = {"service", "base_url", "transport", NULL};
    luax_check_options(L, 1, "ops.connect", options);
    lua_getfield(L, 1, "service");
    const struct ops_service *service = check_service(L, -1);
    size_t n;
    const char *url = luax_opt_string(L, 1, service->name, "base_url", &n, service->base_url);
    if (url == service->base_url) n = strlen(url);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        luax_invalid(L, "%s.client: base_url must start with http:// or https://", service->name);
    if (strpbrk(url, "?# \t\r\n") || memchr(url, 0, n))
        luax_invalid(L, "%s.client: base_url must be a plain address, without query or blanks",
                     service->name);
    while (n && url[n - 1] == '/') n--;
    struct ops_conn *conn = luax_new(L, OPS_CONN_CLASS, sizeof *conn);
    conn->service = service;
    conn->base_url = mem_strndup(url, n);
    conn->transport_ref = LUA_NOREF;
    lua_getfield(L, 1, "transport");
    conn->transport = lua_isnil(L, -1) ? ops_default_transport(L) : local_check(L, -1);
    conn->transport_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

static void free_text(char **text)
{
    if (*text) memset(*text, 0, strlen(*text));
    mem_free(*text);
    *text = NULL;
}

static int l_conn_gc(lua_State *L)
{
    struct ops_conn *conn = luaL_checkudata(L, 1, OPS_CONN_CLASS);
    free_text(&conn->token);
    mem_free(conn->base_url);
    conn->base_url = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, conn->transport_ref);
    conn->transport_ref = LUA_NOREF;
    return 0;
}

/* conn:token(text or nil): what later calls carry.  A line break would let a token add headers. */
static int l_conn_token(lua_State *L)
{
    struct ops_conn *conn = luaL_checkudata(L, 1, OPS_CONN_CLASS);
    size_t n = 0;
    const char *token = lua_isnoneornil(L, 2) ? NULL : luaL_checklstring(L, 2, &n);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)token[i] <= ' ' || (unsigned char)token[i] >= 0x7f)
            luax_invalid(L, "%s.client: the token holds a blank or a byte that no token has",
                         conn->service->name);
    free_text(&conn->token);
    if (!token) return 0;
    conn->token = mem_strndup(token, n);
    redact_add(token, n);
    return 0;
}

static int l_conn_base_url(lua_State *L)
{
    struct ops_conn *conn = luaL_checkudata(L, 1, OPS_CONN_CLASS);
    lua_pushstring(L, conn->base_url);
    return 1;
}

/* conn:call(operation, fields, {timeout=, attempt=, permit=, progress=}) -> reply, {status, elapsed, date} */
static int l_conn_call(lua_State *L)
{
    struct ops_conn *conn = luaL_checkudata(L, 1, OPS_CONN_CLASS);
    const struct ops_def *def = check_def(L, conn->service, 2);
    static const char *const names[] = {"timeout", "attempt", "permit", "progress", NULL};
    lua_settop(L, 4);
    luax_check_options(L, 4, def->name, names);
    struct ops_call_options options = {.conn_index = 1};
    options.timeout_ms = luax_opt_duration(L, 4, def->name, "timeout", 0);
    options.attempt = (int)luax_opt_integer(L, 4, def->name, "attempt", 1, 1, 1000000);
    if (lua_isnil(L, 4)) return ops_send(L, conn, def, 3, &options);
    if (lua_getfield(L, 4, "permit") != LUA_TNIL) options.permit_index = 5;
    if (lua_getfield(L, 4, "progress") != LUA_TNIL) options.progress_index = 6;
    return ops_send(L, conn, def, 3, &options);
}

/* ---- progress, shared state, figures ------------------------------------------------------------------ */

static int l_progress(lua_State *L)
{
    luax_new(L, OPS_PROGRESS_CLASS, sizeof(struct ops_progress));
    return 1;
}

static int l_progress_read(lua_State *L)
{
    const struct ops_progress *cell = luaL_checkudata(L, 1, OPS_PROGRESS_CLASS);
    lua_pushinteger(L, (lua_Integer)cell->now.sent);
    lua_pushinteger(L, (lua_Integer)cell->now.send_total);
    return 2;
}

/* The one place where clients of a VM share locks, drafts and tokens: a journal can stand behind it. */
static int l_shared(lua_State *L)
{
    static const char key = 0;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE) return 1;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    return 1;
}

static int l_stats(lua_State *L)
{
    const struct ops_stats *stats = ops_stats(L);
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, (lua_Integer)stats->calls);
    lua_setfield(L, -2, "calls");
    lua_pushinteger(L, (lua_Integer)stats->failed);
    lua_setfield(L, -2, "failed");
    lua_pushinteger(L, (lua_Integer)stats->retries);
    lua_setfield(L, -2, "retries");
    if (stats->slowest[0]) {
        lua_pushstring(L, stats->slowest);
        lua_setfield(L, -2, "slowest");
        lua_pushnumber(L, (lua_Number)stats->slowest_ms / 1000);
        lua_setfield(L, -2, "slowest_seconds");
    }
    return 1;
}

/* count_answer(): the call that has just failed was an answer all the same ("not ready yet"). */
static int l_count_answer(lua_State *L)
{
    struct ops_stats *stats = ops_stats(L);
    if (stats->failed > 0) stats->failed--;
    return 0;
}

/* count_retry([kind]): of the error after which something is tried again */
static int l_count_retry(lua_State *L)
{
    ops_stats(L)->retries++;
    tally_add(TALLY_RETRIES, luaL_optstring(L, 1, "other"), NULL, NULL);
    return 0;
}

static int l_secret(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    redact_add(text, n);
    return 0;
}

/* The tables alone, as data: what help needs where no call can be made. */
int luaopen_perigee_core_operations(lua_State *L)
{
    static const luaL_Reg functions[] = {{"services", l_services}, {"describe", l_describe}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

int luaopen_perigee_core_ops(lua_State *L)
{
    static const luaL_Reg conn_methods[] = {
        {"call", l_conn_call}, {"token", l_conn_token}, {"base_url", l_conn_base_url}, {NULL, NULL}};
    static const luaL_Reg conn_meta[] = {{"__gc", l_conn_gc}, {NULL, NULL}};
    static const luaL_Reg progress_methods[] = {{"read", l_progress_read}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"services", l_services},
                                         {"describe", l_describe},
                                         {"check", l_check},
                                         {"split", l_split},
                                         {"connect", l_connect},
                                         {"progress", l_progress},
                                         {"shared", l_shared},
                                         {"stats", l_stats},
                                         {"count_retry", l_count_retry},
                                         {"count_answer", l_count_answer},
                                         {"secret", l_secret},
                                         {NULL, NULL}};
    luax_class(L, OPS_CONN_CLASS, conn_methods, conn_meta);
    luax_class(L, OPS_PROGRESS_CLASS, progress_methods, NULL);
    luaL_newlib(L, functions);
    return 1;
}
