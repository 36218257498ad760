/* spend_store.h - what keeps the kernel's records: the seam between host/spend.c and its engines.
 *
 * The kernel owns the order of states, the gates that need no figures, and the answers to callers.  A store
 * owns the figures of the budgets and whatever is durable.  A memory store answers at once, a journal from
 * the loop when its transaction is through; callers cannot tell, since the kernel delivers every answer from
 * the loop.  A permit given to a store stays valid until the store has answered, even if its caller left.
 * Nothing but host/spend*.c and main.c, which chooses the store, includes this.
 */
#ifndef PERIGEE_SPEND_STORE_H
#define PERIGEE_SPEND_STORE_H

#include "host/journal.h"
#include "host/spend.h"

struct spend_store;

/* Where a permit's amount stands. */
enum spend_bucket { BUCKET_NONE, BUCKET_HELD, BUCKET_UNKNOWN, BUCKET_SPENT };

struct spend_store_type {
    /* Checks every budget of the permit and holds its price in all of them or in none; answers with
     * spend_store_reserved, from within the call or later from the loop. */
    void (*reserve)(struct spend_store *store, struct permit *permit);

    /* Makes the intent durable; answers with spend_store_recorded. */
    void (*intent)(struct spend_store *store, struct permit *permit);

    /* The permit's amount goes from one bucket to another, and may change on the way; its new state is to
     * be kept.  Queued in order behind what came before; a failure is the store's to log and retry. */
    void (*move)(struct spend_store *store, struct permit *permit, enum spend_bucket from,
                 const struct amount *was, enum spend_bucket to, const struct amount *now);

    void (*free)(struct spend_store *store);

    /* NULL in a store that is not durable, else each answers with spend_store_answered, later from the loop.
     */
    void (*read)(struct spend_store *store, struct spend_call *call);
    void (*count)(struct spend_store *store, struct spend_call *call);
    void (*take)(struct spend_store *store, struct spend_call *call);
};

/* First member of every store. */
struct spend_store {
    const struct spend_store_type *type;
};

/* The store's answers; exactly one for each reserve and each intent. */
void spend_store_reserved(struct permit *permit, const struct spend_denial *denial);
void spend_store_recorded(struct permit *permit, const struct err *err);

/* Figures live in the budgets themselves; nothing is durable. */
struct spend_store *spend_memory_store_new(void);

/* Where the verbs go: journal_call and journal_abandon, or a double of a test's. */
struct spend_journal {
    struct journal *journal;
    struct journal_call *(*call)(struct journal *journal, const char *verb, struct record *in,
                                 journal_done_fn done, void *ctx);
    void (*abandon)(struct journal_call *call);
};

/* Permits and durable budgets in the journal, which must outlive the kernel. */
struct spend_store *spend_journal_store_new(const struct spend_journal *journal, struct timers *timers);

#endif
