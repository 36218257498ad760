/* journal.h (bindings) - the process's one journal, for the VMs. */
#ifndef PERIGEE_BINDINGS_JOURNAL_H
#define PERIGEE_BINDINGS_JOURNAL_H

#include <lua.h>

#include "host/journal.h"

/* [-0, +0, m] tells a VM which journal its modules use; once, before they are. */
void journal_install(lua_State *L, struct journal *journal);

/* [-0, +1, m] the module perigee.core.journal over this journal; NULL: over that of the VM. */
void journal_push_module(lua_State *L, struct journal *journal);

/* [-0, +0, e] raises `unavailable` in a VM that has none. */
struct journal *journal_of(lua_State *L);

/* [-0, +0, -] libuv handles that it keeps open once it was used: no leak. */
size_t journal_handles(lua_State *L);

#endif
