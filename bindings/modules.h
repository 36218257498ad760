/* modules.h - the C modules that scripts and the Lua library can require: one luaopen_ for each binding. */
#ifndef PERIGEE_MODULES_H
#define PERIGEE_MODULES_H

#include <lauxlib.h>

/* [-0, +1, e] each returns the table of its module. */
int luaopen_perigee_core_amount(lua_State *L);
int luaopen_perigee_core_budget(lua_State *L);
int luaopen_perigee_core_config(lua_State *L);
int luaopen_perigee_core_editor(lua_State *L);
int luaopen_perigee_core_engines(lua_State *L);
int luaopen_perigee_core_fs(lua_State *L);
int luaopen_perigee_core_history(lua_State *L);
int luaopen_perigee_core_hmac(lua_State *L);
int luaopen_perigee_core_http(lua_State *L);
int luaopen_perigee_core_journal(lua_State *L);
int luaopen_perigee_core_json(lua_State *L);
int luaopen_perigee_core_jwt(lua_State *L);
int luaopen_perigee_core_lock(lua_State *L);
int luaopen_perigee_core_log(lua_State *L);
int luaopen_perigee_core_local(lua_State *L);
int luaopen_perigee_core_manual(lua_State *L);
int luaopen_perigee_core_metrics(lua_State *L);
int luaopen_perigee_core_operations(lua_State *L);
int luaopen_perigee_core_ops(lua_State *L);
int luaopen_perigee_core_proc(lua_State *L);
int luaopen_perigee_core_retry(lua_State *L);
int luaopen_perigee_core_sdnotify(lua_State *L);
int luaopen_perigee_core_secret(lua_State *L);
int luaopen_perigee_core_server(lua_State *L);
int luaopen_perigee_core_spend(lua_State *L);
int luaopen_perigee_core_sync(lua_State *L);
int luaopen_perigee_core_task(lua_State *L);
int luaopen_perigee_core_term(lua_State *L);
int luaopen_perigee_core_text(lua_State *L);
int luaopen_perigee_core_time(lua_State *L);
int luaopen_perigee_core_vms(lua_State *L);

/* All of them, for struct vm_config; ends with {NULL, NULL}. */
extern const luaL_Reg binding_modules[];

/* width, escape and cut: what perigee.core.text and perigee.core.term have in common (bindings/text.c). */
extern const luaL_Reg text_functions[];

#endif
