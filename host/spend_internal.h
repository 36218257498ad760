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
    char name[BUDGET_NAME_MAX + 1], zone[BUDGET_NAME_MAX + 1];
    struct budget_offset *offsets;
    size_t offset_count;
    int warn_percent;
    bool group, durable;
    char *definition; /* NULL once the store has it */
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

/* The same, without the figures: a limit in the currency of the price is all that is asked for. */
bool budget_check_currency(const struct budget *budget, const struct amount *price,
                           struct spend_denial *denial);

/* The price does not fit into that row; false. */
bool budget_deny(const struct budget *budget, const struct budget_row *row, struct spend_denial *denial);

/* True once for each row and window: so much of its limit is used that low is to be told. */
bool budget_is_low(struct budget *budget, struct budget_row *row, struct budget_low *low);

/* Opens the present windows.  Forwards only: a clock that jumps back reopens nothing. */
void budget_roll(struct budget *budget);

/* The number of the window that holds the wall time given. */
int64_t budget_window_number(const struct budget *budget, enum budget_window window, int64_t wall_ms);

/* Notes the present windows: what follows counts there. */
void budget_enter(struct budget *budget, struct booking *booking);

/* Adds (sign 1) or takes away (sign -1) in the booking's windows, those that have passed excepted. */
void budget_book(const struct booking *booking, enum spend_bucket bucket, const struct amount *amount,
                 int sign);

/* Logs it and tells the listener. */
void spend_tell_low(struct spend *spend, const struct budget_low *low);

/* The part of a reservation that stands in the budgets themselves: books in all of them or in none. */
bool spend_reserve_own(struct permit *permit, struct spend_denial *denial);
void spend_move_own(struct permit *permit, enum spend_bucket from, const struct amount *was,
                    enum spend_bucket to, const struct amount *now);

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
    char *job, *policy, *tags, *model;
    int64_t attempt;
    char intent_id[33];

    bool priced, governed;
    struct amount price;
    struct booking *bookings;
    size_t booking_count;

    enum spend_bucket bucket;
    struct amount booked; /* what stands in the bucket */
    struct spend_part part;

    bool in_store; /* a store has it and will answer */
    bool recorded; /* it is in the journal */
    bool dropped;  /* no caller any more */
    struct spend_denial *denial;
    struct err *failure; /* why the intent could not be recorded; NULL unless so */
    spend_request_done_fn request_done;
    spend_intent_done_fn intent_done;
    void *ctx;

    struct list_node doubt; /* spend->doubts, while the outcome is unknown and not presumed */
    uint64_t presume_at_ms;
};

/* Lows that nobody has taken yet: the newest. */
enum { SPEND_LOWS_MAX = 64 };

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

    struct budget_low lows[SPEND_LOWS_MAX];
    size_t low_first, low_count;
    void (*low_fn)(void *ctx);
    void *low_ctx;
};

/* Something asked of the store: what it is about, and who waits. */
struct spend_call {
    struct spend *spend;
    struct budget *budget; /* read, count; a reference */
    struct amount amount;  /* count */
    int64_t wall_ms;
    bool unknown;
    char intent_id[33]; /* take */
    bool abandoned;
    spend_call_fn done;
    void *ctx;
};

/* The store's answer; frees the call. permit: what was taken. */
void spend_store_answered(struct spend_call *call, struct permit *permit, const struct err *err);

/* Adds to the process's figures, or takes away (sign -1). */
void spend_count(struct spend *spend, enum spend_bucket bucket, const struct amount *amount,
                 const struct spend_part *part, int sign);

struct permit *permit_new(struct spend *spend, const struct spend_request *request);

/* A permit as a store has kept it: its state, and where its amount stands. */
struct permit *permit_restore(struct spend *spend, const struct spend_request *request, const char *intent_id,
                              enum permit_state state, enum spend_bucket bucket, const struct amount *booked,
                              struct spend_part part, const char *remote_id);
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
