/* engines.h - the journal and the spend kernel of a program, made and freed together. */
#ifndef PERIGEE_BINDINGS_ENGINES_H
#define PERIGEE_BINDINGS_ENGINES_H

#include <lua.h>

struct engines;
struct sched;

/* One for the program. */
struct engines *engines_new(struct sched *sched);

/* When every VM is closed; what the others give back on their way out is still written. */
void engines_free(struct engines *engines);

/* [-0, +0, m] makes them those of the VM; ctx: the engines. */
void engines_install(lua_State *L, void *ctx);

#endif
