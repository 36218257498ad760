/* modules.c - the table of C modules. */
#include "bindings/modules.h"

const luaL_Reg binding_modules[] = {
    {"perigee.core.amount", luaopen_perigee_core_amount},
    {"perigee.core.budget", luaopen_perigee_core_budget},
    {"perigee.core.config", luaopen_perigee_core_config},
    {"perigee.core.fs", luaopen_perigee_core_fs},
    {"perigee.core.http", luaopen_perigee_core_http},
    {"perigee.core.journal", luaopen_perigee_core_journal},
    {"perigee.core.json", luaopen_perigee_core_json},
    {"perigee.core.jwt", luaopen_perigee_core_jwt},
    {"perigee.core.lock", luaopen_perigee_core_lock},
    {"perigee.core.log", luaopen_perigee_core_log},
    {"perigee.core.local", luaopen_perigee_core_local},
    {"perigee.core.ops", luaopen_perigee_core_ops},
    {"perigee.core.proc", luaopen_perigee_core_proc},
    {"perigee.core.retry", luaopen_perigee_core_retry},
    {"perigee.core.sdnotify", luaopen_perigee_core_sdnotify},
    {"perigee.core.secret", luaopen_perigee_core_secret},
    {"perigee.core.server", luaopen_perigee_core_server},
    {"perigee.core.spend", luaopen_perigee_core_spend},
    {"perigee.core.sync", luaopen_perigee_core_sync},
    {"perigee.core.task", luaopen_perigee_core_task},
    {"perigee.core.term", luaopen_perigee_core_term},
    {"perigee.core.time", luaopen_perigee_core_time},
    {"perigee.core.vms", luaopen_perigee_core_vms},
    {NULL, NULL},
};
