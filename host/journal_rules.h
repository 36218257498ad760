/* journal_rules.h - what is true of the records whatever engine keeps them.
 *
 * States and which may follow which, what the end of a process does to its permits, how sums are formed, and
 * the errors of the verbs.  Every engine asks here.  Pure functions; safe on any thread.
 */
#ifndef PERIGEE_JOURNAL_RULES_H
#define PERIGEE_JOURNAL_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/amount.h"
#include "host/err.h"
#include "host/record.h"

/* ---- answers ------------------------------------------------------------------------------------------ */

/* err_set with ERR_INVALID and a code; returns -1. */
int journal_invalid(struct err *err, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The field `limit` of a verb, at least 1; fallback if there is none. */
int64_t journal_limit(const struct record *in, int64_t fallback);

/* ---- jobs --------------------------------------------------------------------------------------------- */

/* planned, held, submitting, running, unknown. */
bool journal_job_active(const char *state);

/* True if `to` may follow `from`.  A state may follow itself while it is active. */
bool journal_job_may_follow(const char *from, const char *to);

/* ---- permits ------------------------------------------------------------------------------------------ */

/* True if permit.move may bring a permit from one state to the other.  The way from reserved to intent is
 * permit.intent's alone. */
bool journal_permit_may_follow(const char *from, const char *to);

/* The column that the time of entering a state is noted in: "sent_at", "answered_at", "ended_at" or NULL. */
const char *journal_permit_time(const char *state);

/* What the end of its process makes of a permit. */
struct journal_burial {
    const char *state, *bucket; /* NULL: it stays as it is */
    bool derived;               /* settled at its price */
};

struct journal_burial journal_permit_bury(const char *state, bool has_job);

/* ---- sums --------------------------------------------------------------------------------------------- */

enum journal_bucket { JOURNAL_NONE, JOURNAL_HELD, JOURNAL_UNKNOWN, JOURNAL_SPENT };

/* Of the names none, held, unknown, spent; NULL is none. */
enum journal_bucket journal_bucket_parse(const char *name);

/* Adds the text (an amount; NULL adds nothing) to the sum, or takes it away (sign -1).  A sum never wraps: it
 * stays at the top of the range, where nothing more fits.  False if the text is no amount of that currency.
 */
bool journal_sum_add(struct amount *sum, const char *text, int sign);

/* "", "held", "unknown", "spent": the fields of a line by enum journal_bucket. */
extern const char *const journal_bucket_names[4];

/* A row at the end of out: the line as it was given, and its sums. */
struct record *journal_line_row(struct record_list *out, const struct record *line,
                                const struct amount sums[4]);

/* True if held + unknown + spent + price stays within the limit; all of one currency. */
bool journal_fits(const struct amount sums[4], const struct amount *price, const struct amount *limit);

/* ---- what goes after a while -------------------------------------------------------------------------- */

enum {
    JOURNAL_KEEP_DAYS = 90,        /* finished jobs, their attempts and decisions, ended permits */
    JOURNAL_OUTBOX_KEEP_DAYS = 30, /* messages that were sent or given up */
    JOURNAL_HOOK_KEEP_DAYS = 30,   /* runs of hooks, the newest of each excepted */
    JOURNAL_LINE_KEEP_DAYS = 40, /* at least, a budget's windows: the longest is a month, and still counts */
    JOURNAL_DAY_MS = 24 * 60 * 60 * 1000,
};

/* How long the window of a budget stays when the rest is kept for so many days. */
int64_t journal_line_days(int64_t keep_days);

#endif
