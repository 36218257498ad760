/* spend.h - the spend kernel: no paid request leaves without a permit, and only this file makes one.
 *
 *   price -> gate -> reserve -> intent -> send -> answer -> settle or release
 *
 * The operations engine refuses to send a create without a `struct permit` in state PERMIT_INTENT.  A permit
 * is good for one request: whoever sends again asks again.  Everything that may one day wait for a disk is
 * asynchronous: spend_request and spend_intent answer by callback from the loop, never from within the call;
 * the other four queue their record and return.  What keeps the records is a `struct spend_store`
 * (spend_store.h): the journal in the program, memory in tests and tools, behind the same six functions.
 *
 * A call is governed when a max_cost or a budget (its own, its client's, its scope's, the process's) applies
 * to it.  Governed calls fail closed: what cannot be evaluated is denied.  Others pass, are counted, and are
 * warned about once; spend_require_budget denies them too.
 *
 * Held, unknown and spent are never added up into one figure.  One kernel for the process, shared by its
 * VMs.  Loop thread only; no Lua here.
 */
#ifndef PERIGEE_SPEND_H
#define PERIGEE_SPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/amount.h"
#include "host/err.h"
#include "host/random.h"
#include "host/timers.h"

struct spend;
struct spend_store;
struct spend_call;
struct permit;
struct budget;

/* The metatable of a permit in Lua; such a userdata holds one `struct permit *`, NULL once it is dropped.
 * bindings/spend.c makes them, host/ops.c reads them. */
#define PERMIT_CLASS "perigee.permit"

/* ---- the kernel --------------------------------------------------------------------------------------- */

enum { SPEND_BUDGETS_MAX = 16 };

struct spend_options {
    struct spend_store *store; /* taken over; NULL = in memory */
    struct timers *timers;     /* time, and the way answers get out of the loop */
    struct random *random;     /* seeds intent ids on a virtual clock only; elsewhere the kernel's secrets */
    uint64_t unknown_after_ms; /* an unknown outcome counts as presumed spent after this; 0 = 24 h */
};

struct spend *spend_new(const struct spend_options *options);

/* When every VM is closed: callers have dropped their permits (a debug build aborts if not) and abandoned
 * their calls.  What is unknown is forgotten with the process; the store keeps what it keeps. */
void spend_free(struct spend *spend);

/* Denies ungoverned calls (--require-budget). */
void spend_require_budget(struct spend *spend, bool required);

/* From now on an unknown outcome counts as presumed spent after so long (--unknown-after). */
void spend_set_unknown_after(struct spend *spend, uint64_t ms);

/* A budget that every call counts against (--budget, the configuration).  Takes a reference.  -1 and err if
 * there are too many (SPEND_BUDGETS_MAX). */
int spend_add_default_budget(struct spend *spend, struct budget *budget, struct err *err);

/* Calls from now on do not count against it; those under way do to their end. */
void spend_remove_default_budget(struct spend *spend, struct budget *budget);

/* ---- budgets ------------------------------------------------------------------------------------------ */

/* Windows are those of the calendar: the hour, the day from midnight, the week from Monday, the month from
 * the 1st, in the budget's time zone.  A call counts in the window in which it was reserved, whenever it is
 * settled.  A wall clock that jumps back never reopens a window that has passed. */
enum budget_window { BUDGET_TOTAL, BUDGET_HOUR, BUDGET_DAY, BUDGET_WEEK, BUDGET_MONTH, BUDGET_WINDOW_COUNT };

struct budget_limit {
    enum budget_window window;
    struct amount amount; /* currencies may differ; at most one limit for each window and currency */
};

enum { BUDGET_LIMITS_MAX = 16, BUDGET_NAME_MAX = 63 };

/* A time zone: what is to be added to UTC from a moment on. */
struct budget_offset {
    int64_t from_s; /* since 1970 */
    int32_t offset_s;
};

/* All of it is copied. */
struct budget_spec {
    const char *name; /* NULL = "" */
    const struct budget_limit *limits;
    size_t limit_count;
    const char *zone; /* how the zone is called; NULL = "UTC" */
    const struct budget_offset
        *offsets;        /* of the zone, in their order; before the first, that of the first */
    size_t offset_count; /* 0 = UTC */
    int warn_percent;    /* one warning for each limit and window once so much is used; 0 = none */
    bool group;          /* bounds the attempts of one policy:run or job: denies with "max_cost" */

    /* Its figures are the journal's, under its name, shared with every process of the state directory.
     * Without a store that is durable they are its own all the same. */
    bool durable;
    const char *definition; /* kept with them, for those who only know the journal; may be NULL */
};

/* NULL and err (kind invalid) if the spec makes no sense.  The caller holds one reference. */
struct budget *budget_new(struct spend *spend, const struct budget_spec *spec, struct err *err);
struct budget *budget_ref(struct budget *budget);
void budget_unref(struct budget *budget); /* NULL is allowed */

/* Whether that kernel has made it: no other counts against it. */
bool budget_is_of(const struct budget *budget, const struct spend *spend);
const char *budget_name(const struct budget *budget);
const char *budget_zone(const struct budget *budget);

/* Its figures are read with budget_refresh. */
bool budget_is_durable(const struct budget *budget);

/* One limit and what stands against it in its present window. */
struct budget_line {
    enum budget_window window;
    bool bounded; /* false: a total that is only kept, without a limit */
    struct amount limit;
    struct amount held;    /* reserved, or sent and not yet settled */
    struct amount unknown; /* sent, outcome unknown: still held */
    struct amount spent;   /* settled, and presumed spent */
    struct amount left;    /* limit - held - unknown - spent, at least 0 */
};

/* Lines of a budget, as of now, those of a durable one as last read; index < budget_line_count.  Each
 * currency has a total line. */
size_t budget_line_count(const struct budget *budget);
struct budget_line budget_line(struct budget *budget, size_t index);
const char *budget_window_name(enum budget_window window);

/* Counts what was paid outside of the kernel (by an earlier run), at a wall time in milliseconds since 1970:
 * in the total, and in each present window that holds that time.  unknown: its outcome is not known.  It may
 * go beyond the limits.  -1 and err (kind invalid) for a negative amount.  Not for durable ones. */
int budget_count(struct budget *budget, const struct amount *amount, int64_t wall_ms, bool unknown,
                 struct err *err);

/* A limit of which much is used. */
struct budget_low {
    char budget[BUDGET_NAME_MAX + 1];
    char zone[BUDGET_NAME_MAX + 1];
    enum budget_window window;
    struct amount used, limit;
};

/* The oldest that has not been taken yet, or false.  Each limit and window comes once; that of a durable
 * budget once for all processes and starts. */
bool spend_take_low(struct spend *spend, struct budget_low *low);
bool spend_has_low(const struct spend *spend);

/* One listener, called when there is something to take; fn NULL takes it away. */
void spend_on_low(struct spend *spend, void (*fn)(void *ctx), void *ctx);
bool spend_has_low_reader(const struct spend *spend);

/* ---- permits ------------------------------------------------------------------------------------------ */

enum permit_state {
    PERMIT_REQUESTED, /* the gate has not answered yet */
    PERMIT_DENIED,    /* nothing is held; drop it */
    PERMIT_RESERVED,  /* its price is held */
    PERMIT_RECORDING, /* the intent is on its way to the store */
    PERMIT_INTENT,    /* recorded: the one state in which a request may leave */
    PERMIT_SENT,      /* left, no answer yet */
    PERMIT_UNKNOWN,   /* may have been executed: stays held */
    PERMIT_CREATED,   /* executed: held until settled */
    PERMIT_SETTLED,
    PERMIT_RELEASED
};

/* What the answer says about the create. */
enum spend_outcome {
    SPEND_CREATED, /* executed, remote id known */
    SPEND_NONE,    /* certainly not executed: the permit is released */
    SPEND_UNKNOWN  /* may have been executed */
};

/* All of it is copied. */
struct spend_request {
    const char *operation; /* "start_inference", without the service */
    const char *service;   /* "deai", "sxwl" */
    const char *account;   /* who pays; may be NULL */
    const char *key;       /* what it is about (jobName, jobID); may be NULL */

    bool priced;         /* price is the worst case; false: "unpriced" */
    bool no_worst_case;  /* nothing bounds the cost (stopType "0"); denied when governed */
    struct amount price; /* not negative */

    const struct amount *max_cost;             /* bounds this call; NULL = none */
    const struct amount *max_cost_per_attempt; /* likewise, inside a group */
    struct budget *const *budgets;             /* all must agree, and are reserved in one step; a budget */
    size_t budget_count;                       /* named twice counts once */
    bool agreed; /* a person was asked, knew what bounds it, and said yes: nobody is warned that nothing does
                  */

    /* For the record; any may be NULL. */
    const char *job, *policy, *tags, *model; /* tags: JSON; model: what the price was estimated for */
    int64_t attempt;                         /* 0 = none */

    const char *intent; /* 32 hex digits, for what must be named by its intent before it has a price; NULL =
                         * drawn here */
};

/* Why a request was denied.  err.kind is ERR_DENIED and err.code one of
 *   budget_required  ungoverned, and a budget is required
 *   no_price         governed, but its price is not known
 *   no_worst_case    governed, but nothing bounds its cost
 *   currency         a limit is in another currency than the price
 *   max_cost         the price, or the sum of the attempts, is above max_cost
 *   over_budget      a budget has too little left
 *   journal          governed, and the journal cannot record it
 * or ERR_INVALID for a request that makes no sense (a negative price). */
struct spend_denial {
    struct err err;
    bool has_price, has_limit;
    struct amount price, limit, left; /* limit and left of the first limit that said no */
    char budget[BUDGET_NAME_MAX + 1]; /* its budget's name, "" if none */
    enum budget_window window;
};

/* denial is NULL if granted: the permit is PERMIT_RESERVED.  Called once, from the loop. */
typedef void (*spend_request_done_fn)(void *ctx, struct permit *permit, const struct spend_denial *denial);

/* err is NULL if recorded: the permit is PERMIT_INTENT.  Called once, from the loop. */
typedef void (*spend_intent_done_fn)(void *ctx, struct permit *permit, const struct err *err);

/* Gate and reserve.  Never NULL; the caller owns the permit and drops it exactly once, whatever the answer.
 */
struct permit *spend_request(struct spend *spend, const struct spend_request *request,
                             spend_request_done_fn done, void *ctx);

/* Whether spend_request would be denied as things stand: asks for nothing and holds nothing, so a request
 * that follows may still be.  A durable budget is judged by its figures as last read.  False: *denial says
 * why, and is counted like that of a request. */
bool spend_judge(struct spend *spend, const struct spend_request *request, struct spend_denial *denial);

/* The budgets that such a request counts against, each once: its own, then those of the process.  The caller
 * holds no reference.  budgets: SPEND_BUDGETS_MAX * 2 of them.  Returns their number. */
size_t spend_budgets_of(struct spend *spend, const struct spend_request *request, struct budget **budgets);

/* The next five return -1 and err (kind invalid, code "order") in a state other than the one named, and
 * change nothing then. */

/* RESERVED -> RECORDING -> INTENT.  The record is durable when done comes; if it cannot be written, the
 * permit is released. */
int spend_intent(struct permit *permit, spend_intent_done_fn done, void *ctx, struct err *err);

/* INTENT -> SENT.  Call it just before the request is given to a transport. */
int spend_sent(struct permit *permit, struct err *err);

/* SENT -> CREATED | RELEASED | UNKNOWN; also UNKNOWN -> CREATED | RELEASED, when it is found out later.
 * remote_id may be NULL. */
int spend_answered(struct permit *permit, enum spend_outcome outcome, const char *remote_id, struct err *err);

/* CREATED or UNKNOWN -> SETTLED.  actual: what was charged, which may be more or less than the price; NULL:
 * the price itself.  derived: computed by us, not reported by the service.  Unpriced permits take an actual.
 */
int spend_settle(struct permit *permit, const struct amount *actual, bool derived, struct err *err);

/* RESERVED or INTENT -> RELEASED: nothing was sent. */
int spend_release(struct permit *permit, struct err *err);

/* The caller goes away (NULL is allowed); a pending callback will not come.  Fails safe by state: nothing
 * sent: released; SENT: UNKNOWN, stays held; CREATED: settled at its price, derived, but for a permit of a
 * job in a durable store: that one stays as it is, for whoever takes the job over. */
void permit_drop(struct permit *permit);

enum permit_state permit_state(const struct permit *permit);
const char *permit_state_name(enum permit_state state);

/* Takes an UNKNOWN permit, or a job's CREATED one, that its caller dropped back, to answer or settle it; NULL
 * if there is none of this intent id.  The caller owns it again. */
struct permit *spend_adopt(struct spend *spend, const char *intent_id);

/* 32 hex digits, drawn by spend_request.  Good for callback keys and for finding a lost create again. */
const char *permit_intent_id(const struct permit *permit);

/* NULL if unpriced. */
const struct amount *permit_price(const struct permit *permit);
const char *permit_operation(const struct permit *permit);
const char *permit_service(const struct permit *permit);
const char *permit_remote_id(const struct permit *permit); /* "" if not known */
bool permit_governed(const struct permit *permit);

/* ---- what must be asked of the store ------------------------------------------------------------------ */

/* Called once, from the loop.  err is NULL on success. */
typedef void (*spend_call_fn)(void *ctx, struct permit *permit, const struct err *err);

/* Nobody waits any more (NULL is allowed): done will not come.  What was asked happens all the same. */
void spend_call_abandon(struct spend_call *call);

/* Whether there is a store that outlives the process; what follows needs one. */
bool spend_is_durable(const struct spend *spend);

/* Reads the figures of a durable budget; those of the last reading stay if it cannot be done. */
struct spend_call *budget_refresh(struct budget *budget, spend_call_fn done, void *ctx);

/* budget_count for a durable budget.  NULL and err for a negative amount. */
struct spend_call *budget_add(struct budget *budget, const struct amount *amount, int64_t wall_ms,
                              bool unknown, spend_call_fn done, void *ctx, struct err *err);

/* The permit that a process which has ended left UNKNOWN or CREATED: the caller of done owns it. */
struct spend_call *spend_take(struct spend *spend, const char *intent_id, spend_call_fn done, void *ctx);

/* ---- figures for the summary -------------------------------------------------------------------------- */

enum spend_denial_code {
    DENIAL_BUDGET_REQUIRED,
    DENIAL_NO_PRICE,
    DENIAL_NO_WORST_CASE,
    DENIAL_CURRENCY,
    DENIAL_MAX_COST,
    DENIAL_OVER_BUDGET,
    DENIAL_JOURNAL,
    DENIAL_CODE_COUNT
};

const char *spend_denial_name(enum spend_denial_code code);

struct spend_counters {
    uint64_t requested, granted;
    uint64_t denied[DENIAL_CODE_COUNT];
    uint64_t sent, created, refused, unknown; /* unknown: now */
    uint64_t settled, derived, released;
    uint64_t ungoverned; /* granted without any max_cost or budget */
    uint64_t unpriced;   /* granted without a price */
};

/* For each currency seen, in the order of first use. */
struct spend_sums {
    char currency[AMOUNT_CURRENCY_SIZE];
    struct amount held, unknown, spent;
    struct amount derived;  /* the part of spent that no service has reported */
    struct amount presumed; /* the part of spent whose outcome is unknown */
};

/* Counts a denial by a gate that did not even have to ask (one minute of a job is above max_cost). */
void spend_count_denial(struct spend *spend, const char *code);

const struct spend_counters *spend_counters(const struct spend *spend);
size_t spend_sums_count(const struct spend *spend);
struct spend_sums spend_sums(struct spend *spend, size_t index);

#endif
