/* spend_internal.h - the structs behind spend.h, for host/spend*.c only. */
#ifndef PERIGEE_SPEND_INTERNAL_H
#define PERIGEE_SPEND_INTERNAL_H

#include "host/list.h"
#include "host/spend.h"
#include "host/spend_store.h"

/* ---- budgets (spend_budget.c) ------------------------------------------------------------------------- */

/* One window of one currency.  A budget has a total row for each of its currencies, bounded or not. */
struct budget_row {
    enum budget_window window;
    bool bounded;
    bool warned;    /* in this window already */
    int64_t number; /* of the present window: hours, days, weeks or months since 1970 */
    struct amount limit, held, unknown, spent; /* of one currency */
};

struct budget {
    size_t refs;
    struct spend *spend; /* for its clock, and for what is presumed spent by now */
    char name[BUDGET_NAME_MAX + 1];
    int offset_minutes, warn_percent;
    bool group;
    struct budget_row *rows;
    size_t row_count;
};

/* A permit's place in one budget: the windows it counts in. */
struct booking {
    struct budget *budget;
    int64_t number[BUDGET_WINDOW_COUNT];
};

/* Fills the denial's code and sentence; false. */
bool spend_deny(struct spend_denial *denial, enum spend_denial_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True if the price fits into every window; else denial says which one said no. */
bool budget_check(struct budget *budget, const struct amount *price, struct spend_denial *denial);

/* Notes the present windows: what follows counts there. */
void budget_enter(struct budget *budget, struct booking *booking);

/* Adds (sign 1) or takes away (sign -1) in the booking's windows, those that have passed excepted. */
void budget_book(const struct booking *booking, enum spend_bucket bucket, const struct amount *amount,
                 int sign);

/* Sums never wrap: one that would stays at the top of the range, where nothing more fits. */
void spend_sum_add(struct amount *sum, const struct amount *amount, int sign);

/* ---- permits (spend_permit.c) and the kernel (spend.c) ------------------------------------------------ */

/* What kind of spent an amount is. */
struct spend_part {
    bool derived;  /* worked out by us, no service has reported it */
    bool presumed; /* outcome unknown for too long */
};

struct permit {
    struct list_node node;   /* spend->permits */
    struct list_node answer; /* spend->answers, while an answer waits to be delivered */
    struct spend *spend;
    enum permit_state state;
    uint64_t number; /* 1, 2, …: the same in every run with the same seed, for logs */
    char *operation, *service, *remote_id;
    char *account, *key; /* for the record that a store keeps */
    char intent_id[33];

    bool priced, governed;
    struct amount price;
    struct booking *bookings;
    size_t booking_count;

    enum spend_bucket bucket;
    struct amount booked; /* what stands in the bucket */
    struct spend_part part;

    bool in_store; /* a store has it and will answer */
    bool dropped;  /* no caller any more */
    struct spend_denial *denial;
    bool failed;
    struct err failure;
    spend_request_done_fn request_done;
    spend_intent_done_fn intent_done;
    void *ctx;

    struct list_node doubt; /* spend->doubts, while the outcome is unknown and not presumed */
    uint64_t presume_at_ms;
};

struct spend {
    struct timers *timers;
    struct random *random; /* NULL unless the clock is virtual */
    struct spend_store *store;
    uint64_t unknown_after_ms;
    bool budget_required;
    bool warned_ungoverned;
    struct budget *defaults[SPEND_BUDGETS_MAX];
    size_t default_count;

    struct list_node permits;
    struct list_node answers;
    struct list_node doubts; /* by presume_at_ms */
    struct timer answer_timer;
    uint64_t last_number;

    struct spend_counters counters;
    struct spend_sums *sums;
    size_t sum_count;
};

/* Adds to the process's figures, or takes away (sign -1). */
void spend_count(struct spend *spend, enum spend_bucket bucket, const struct amount *amount,
                 const struct spend_part *part, int sign);

struct permit *permit_new(struct spend *spend, const struct spend_request *request);
void permit_free(struct permit *permit);

/* The store holds the price now: so do the figures. */
void permit_hold(struct permit *permit);

/* Unknown outcomes that are old enough count as spent from here on; called before figures are read. */
void permit_presume_due(struct spend *spend);

/* Nothing is held any more. */
void permit_give_back(struct permit *permit);

/* The caller left while an answer was on its way: give back what it brought, and free. */
void permit_abandon(struct permit *permit);

/* err: the verb does not go with the state.  Returns -1. */
int permit_refuse(const struct permit *permit, const char *verb, struct err *err);

#endif
