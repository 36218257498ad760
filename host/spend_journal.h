/* spend_journal.h - what the two files of the journal's store share; for host/spend_journal*.c only. */
#ifndef PERIGEE_SPEND_JOURNAL_H
#define PERIGEE_SPEND_JOURNAL_H

#include "host/spend_internal.h"

/* Spaces of store.set that are the kernel's: what each durable budget is, and which lows were told. */
#define SPEND_BUDGET_SPACE "perigee.budgets"
#define SPEND_LOW_SPACE    "perigee.budget.low"

struct journal_store {
    struct spend_store base;
    struct spend_journal journal;
    struct timers *timers;
    struct list_node asked;   /* with the journal */
    struct list_node backlog; /* moves that could not be written, one for each permit */
    struct timer retry;
    uint64_t retry_ms;
    uint64_t presume_at_ms; /* when it asks next what is presumed spent */
    bool warned;            /* of calls that go unrecorded */
};

/* A line that was asked for: row `row` of the budget, whose window was `number` then. */
struct budget_line_at {
    const struct budget *budget;
    size_t row;
    int64_t number;
};

/* One verb on its way. */
struct asked {
    struct list_node node;
    struct journal_store *store;
    struct journal_call *call;
    struct permit *permit;     /* reserve, intent */
    struct spend_call *waiter; /* read, count, take */
    struct record *kept;       /* of a move, until it is written */
    struct budget_line_at *lines;
    size_t line_count;
    struct budget *low_budget; /* a reference */
    struct budget_low low;
    int64_t low_number;
    bool claims_low; /* is on its way to be the one that tells it */
};

struct asked *spend_journal_asked(struct spend_store *store, struct permit *permit);

/* Takes the record over. */
void spend_journal_ask(struct asked *asked, const char *verb, struct record *in, journal_done_fn done);

/* It was answered, or never will be: frees it. */
void spend_journal_done(struct asked *asked);

/* Unknown outcomes of any process that are old enough count as spent from here on; at most once a minute. */
void spend_journal_presume(struct spend_store *store, const struct spend *spend);

/* Adds the present windows of the budget, in that currency (NULL: in all).  Two budgets of one name share
 * lines. */
void spend_journal_add_lines(struct asked *asked, struct budget *budget, const char *currency);
void spend_journal_put_lines(const struct asked *asked, struct record *in);
void spend_journal_read_line(const struct record *from, struct budget_row *row);

void spend_journal_set_amount(struct record *record, const char *name, const struct amount *amount);

/* Tells that a limit is nearly used, unless a process has told it already. */
void spend_journal_check_low(struct spend_store *store, struct budget *budget, struct budget_row *row);

void spend_journal_read(struct spend_store *store, struct spend_call *call);
void spend_journal_count(struct spend_store *store, struct spend_call *call);
void spend_journal_take(struct spend_store *store, struct spend_call *call);

#endif
