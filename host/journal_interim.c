/* journal_interim.c - until the engine on SQLite is there, every place is kept in memory.
 *
 * Weak: the engine's own function takes its place when it is linked, and this file goes.
 */
#include "host/journal_engine.h"

__attribute__((weak)) struct journal_engine *journal_sqlite_new(const char *directory,
                                                                const struct journal_process *self)
{
    (void)directory;
    return journal_memory_new(self);
}
