/* spend.h (bindings) - the one spend kernel of the process as its VMs see it. */
#ifndef PERIGEE_BINDINGS_SPEND_H
#define PERIGEE_BINDINGS_SPEND_H

#include <lua.h>

#include "host/spend.h"

/* [-0, +0, m] before any script runs in the VM.  The kernel must live until the VM is closed. */
void spend_install(lua_State *L, struct spend *spend);

/* [-0, +1, m] the modules perigee.core.spend and perigee.core.budget over this kernel; NULL: over that of the
 * VM. */
void spend_push_module(lua_State *L, struct spend *spend);
void budget_push_module(lua_State *L, struct spend *spend);

/* [-0, +0, e] the kernel; raises `unavailable` in a VM that was given none. */
struct spend *spend_of(lua_State *L);

/* [-0, +0, -] the budget at index (bindings/budget.c makes them), or NULL if the value is none. */
struct budget *budget_test(lua_State *L, int index);

/* [-0, +1, m] the permit as a value, which owns it from now on. */
void spend_push_permit(lua_State *L, struct permit **owner);

/* [-1, +0, m] puts request and judge into the table below the top, which is their upvalue. */
void spend_add_request(lua_State *L);

#endif
