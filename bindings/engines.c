/* engines.c - perigee.core.engines: a second journal and spend kernel in one process, for a rehearsal.
 *
 *   open() -> {journal=, spend=, budget=}: the modules perigee.core.journal, .spend and .budget, as they are
 * required, but over a journal and a kernel that nothing else uses
 *
 * Owns all of them, the program's own and those opened here, until the program ends: a task may hold a permit
 * for as long as its VM lives.  What is of one kernel is refused by another (budget_is_of).
 */
#include "bindings/engines.h"

#include "bindings/journal.h"
#include "bindings/modules.h"
#include "bindings/spend.h"
#include "host/list.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/spend_store.h"
#include "host/task.h"

struct pair {
    struct list_node link; /* in struct engines */
    struct journal *journal;
    struct spend *spend;
};

struct engines {
    struct sched *sched;
    struct list_node pairs; /* struct pair; the first is the program's own */
};

static const char engines_key;

static struct pair *open_pair(struct engines *engines)
{
    struct timers *timers = sched_timers(engines->sched);
    struct pair *pair = mem_alloc(sizeof *pair);
    pair->journal = journal_new(sched_loop(engines->sched), timers);
    struct spend_journal spend_journal = {
        .journal = pair->journal, .call = journal_call, .abandon = journal_abandon};
    struct spend_options options = {.timers = timers,
                                    .random = sched_random(engines->sched),
                                    .store = spend_journal_store_new(&spend_journal, timers)};
    pair->spend = spend_new(&options);
    list_append(&engines->pairs, &pair->link);
    return pair;
}

struct engines *engines_new(struct sched *sched)
{
    struct engines *engines = mem_alloc(sizeof *engines);
    engines->sched = sched;
    list_init(&engines->pairs);
    open_pair(engines);
    return engines;
}

void engines_free(struct engines *engines)
{
    struct list_node *n;
    while ((n = list_pop(&engines->pairs)) != NULL) {
        struct pair *pair = LIST_ENTRY(n, struct pair, link);
        spend_free(pair->spend);
        journal_free(pair->journal);
        mem_free(pair);
    }
    mem_free(engines);
}

void engines_install(lua_State *L, void *ctx)
{
    struct engines *engines = ctx;
    const struct pair *own = LIST_ENTRY(list_first(&engines->pairs), struct pair, link);
    journal_install(L, own->journal);
    spend_install(L, own->spend);
    lua_pushlightuserdata(L, engines);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &engines_key);
}

static int l_open(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &engines_key);
    struct engines *engines = lua_touserdata(L, -1);
    if (engines == NULL) luax_invalid(L, "engines.open: this VM has none");
    const struct pair *pair = open_pair(engines);
    lua_createtable(L, 0, 3);
    journal_push_module(L, pair->journal);
    lua_setfield(L, -2, "journal");
    spend_push_module(L, pair->spend);
    lua_setfield(L, -2, "spend");
    budget_push_module(L, pair->spend);
    lua_setfield(L, -2, "budget");
    return 1;
}

int luaopen_perigee_core_engines(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
