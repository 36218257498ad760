/* journal_sqlite_report.c - what was spent on what, without adding up every permit each time.
 *
 * A permit that is settled counts in the daily totals: in a row with live = 1 while it is there, with live =
 * 0 once retention has taken it away.  So a report reads days and open permits only.  One by job, or of a
 * time that does not begin and end with a day, reads the permits themselves and the days of those that are
 * gone.
 */
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

/* ---- daily totals ------------------------------------------------------------------------------------- */

/* The settled permits that `which` names, as rows of the daily totals. */
#define DAYS_OF(which)                                                                                       \
    "(SELECT reserved_at / 86400000 AS day, service, operation, coalesce(policy, '') AS policy,"             \
    " coalesce(tags, '') AS tags, coalesce(amount_currency(coalesce(amount, price)), '') AS currency,"       \
    " amount_total(amount_currency(amount), iif(bucket = 'spent', amount, NULL)) AS spent,"                  \
    " amount_total(amount_currency(amount), iif(bucket = 'spent' AND derived, amount, NULL)) AS derived,"    \
    " amount_total(amount_currency(amount), iif(bucket = 'spent' AND presumed, amount, NULL)) AS presumed,"  \
    " count(*) AS permits FROM permits WHERE state = 'settled'" which " GROUP BY 1, 2, 3, 4, 5, 6)"
#define ADD(live, which)                                                                                     \
    "INSERT INTO daily(live, day, service, operation, policy, tags, currency, spent, derived, presumed,"     \
    " permits) SELECT " live ", * FROM " DAYS_OF(                                                            \
        which) " WHERE 1 ON CONFLICT DO UPDATE SET spent = amount_plus(spent, excluded.spent),"              \
               " derived = amount_plus(derived, excluded.derived),"                                          \
               " presumed = amount_plus(presumed, excluded.presumed), permits = permits + excluded.permits"
#define SAME_DAY                                                                                             \
    " d.live = 1 AND d.day = p.day AND d.service = p.service AND d.operation = p.operation"                  \
    " AND d.policy = p.policy AND d.tags = p.tags AND d.currency = p.currency"
#define TAKE(which)                                                                                          \
    "UPDATE daily AS d SET spent = amount_less(d.spent, p.spent), derived = amount_less(d.derived, "         \
    "p.derived),"                                                                                            \
    " presumed = amount_less(d.presumed, p.presumed), permits = d.permits - p.permits FROM " DAYS_OF(        \
        which) " AS p WHERE" SAME_DAY

#define ONE    " AND number = :permit"
#define CHOSEN " AND number IN (SELECT number FROM chosen)"

static int drop_empty(struct sqlite_call *call)
{
    return sqlite_run(call, "DELETE FROM daily WHERE live = 1 AND permits <= 0", NULL);
}

int sqlite_daily_add(struct sqlite_call *call)
{
    return sqlite_run(call, ADD("1", ONE), NULL);
}

int sqlite_daily_take(struct sqlite_call *call)
{
    return sqlite_run(call, TAKE(ONE), NULL) < 0 ? -1 : drop_empty(call);
}

int sqlite_daily_retire(struct sqlite_call *call)
{
    if (sqlite_run(call, ADD("0", CHOSEN), NULL) < 0 || sqlite_run(call, TAKE(CHOSEN), NULL) < 0) return -1;
    return drop_empty(call);
}

int sqlite_daily_verify(struct sqlite_call *call)
{
    return sqlite_rows(
        call,
        "SELECT 'day ' || p.day || ', ' || p.service || ' ' || p.operation || ': its permits say'"
        " || ' spent ' || coalesce(p.spent, 'nothing') || ', the daily total says ' ||"
        " coalesce(d.spent, 'nothing') AS problem FROM " DAYS_OF(
            "") " AS p LEFT JOIN daily AS d"
                " ON" SAME_DAY " WHERE d.permits IS NOT p.permits OR"
                " coalesce(d.spent, '0 ' || p.currency) <> coalesce(p.spent, '0 ' || p.currency)",
        call->out);
}

/* ---- reports ------------------------------------------------------------------------------------------ */

/* The currency of a permit is that of its amount, and of its price while nothing is held. */
#define ENTRIES(permits, days)                                                                               \
    "WITH entries(at, job, policy, tags, service, operation, currency, held, unknown, spent, derived,"       \
    " presumed, permits) AS ("                                                                               \
    "SELECT reserved_at, job, policy, tags, service, operation, amount_currency(coalesce(amount, price)),"   \
    " iif(bucket = 'held', amount, NULL), iif(bucket = 'unknown', amount, NULL),"                            \
    " iif(bucket = 'spent', amount, NULL), iif(bucket = 'spent' AND derived, amount, NULL),"                 \
    " iif(bucket = 'spent' AND presumed, amount, NULL), 1 FROM permits " permits                             \
    " AND reserved_at >= :from AND reserved_at < :to "                                                       \
    "UNION ALL SELECT day * 86400000, NULL, nullif(policy, ''), nullif(tags, ''), service, operation,"       \
    " nullif(currency, ''), NULL, NULL, spent, derived, presumed, permits FROM daily"                        \
    " WHERE " days " AND day * 86400000 >= :from AND day * 86400000 < :to)"
#define FROM_DAYS    ENTRIES("INDEXED BY permits_open WHERE ended_at IS NULL", "1")
#define FROM_PERMITS ENTRIES("WHERE state <> 'released'", "live = 0")
#define SUMS                                                                                                 \
    " AS \"group\", currency, amount_total(currency, held) AS held,"                                         \
    " amount_total(currency, unknown) AS unknown, amount_total(currency, spent) AS spent,"                   \
    " amount_total(currency, derived) AS derived, amount_total(currency, presumed) AS presumed,"             \
    " sum(permits) AS permits FROM entries"
#define GROUPED " GROUP BY 1, 2 HAVING currency IS NOT NULL ORDER BY 1, 2"
#define TAGS    " JOIN json_each(iif(json_valid(tags), tags, '[]')) AS t ON t.type = 'text'"
#define REPORT(name, group, join)                                                                            \
    {                                                                                                        \
        name, FROM_DAYS "SELECT " group SUMS join GROUPED, FROM_PERMITS "SELECT " group SUMS join GROUPED    \
    }

static bool is_whole_day(const struct record *in, const char *name)
{
    return record_integer(in, name) % JOURNAL_DAY_MS == 0;
}

int sqlite_spend_report(struct sqlite_call *call)
{
    static const char *const texts[][3] = {
        REPORT("total", "NULL", ""),
        REPORT("policy", "policy", ""),
        REPORT("job", "job", ""),
        REPORT("service", "service", ""),
        REPORT("operation", "operation", ""),
        REPORT("day", "date(at / 1000, 'unixepoch')", ""),
        REPORT("tag", "t.value", TAGS),
    };
    const char *by = record_text(call->in, "by");
    bool days = is_whole_day(call->in, "since") && is_whole_day(call->in, "until") && strcmp(by, "job") != 0;
    bool ends = record_type(call->in, "until") != RECORD_NONE;
    sqlite_more_integer(call, "from", record_integer(call->in, "since"));
    sqlite_more_integer(call, "to", ends ? record_integer(call->in, "until") : INT64_MAX);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i][0], by) == 0) return sqlite_rows(call, texts[i][days ? 1 : 2], call->out);
    return 0;
}

int sqlite_ratio_list(struct sqlite_call *call)
{
    return sqlite_rows(
        call,
        "WITH entries(service, model, currency, count, estimate, actual) AS ("
        "SELECT service, coalesce(model, ''), amount_currency(amount), 1, price, amount"
        " FROM permits WHERE state = 'settled' AND bucket = 'spent' AND NOT derived"
        " AND amount_currency(amount) = amount_currency(price)"
        " UNION ALL SELECT service, model, currency, count, estimate, actual FROM ratios)"
        "SELECT service, nullif(model, '') AS model, currency, sum(count) AS count,"
        " amount_total(currency, estimate) AS estimate, amount_total(currency, actual) AS actual"
        " FROM entries GROUP BY service, entries.model, currency"
        " ORDER BY service, entries.model, currency",
        call->out);
}
