/* journal_sqlite_money.c - the lines of budgets, and what reports say. */
#include <stdio.h>
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

/* ---- lines -------------------------------------------------------------------------------------------- */

#define LINE_IS                                                                                              \
    " WHERE budget = :l_budget AND window = :l_window AND number = :l_number AND currency = :l_currency"

static void name_line(struct sqlite_call *call, const struct record *line)
{
    sqlite_more_field(call, "l_budget", line, "budget");
    sqlite_more_field(call, "l_window", line, "window");
    sqlite_more_field(call, "l_number", line, "number");
    sqlite_more_field(call, "l_currency", line, "currency");
}

int sqlite_line_read(struct sqlite_call *call, const struct record *line, struct amount sums[4])
{
    struct record *row;
    for (int bucket = JOURNAL_NONE; bucket <= JOURNAL_SPENT; bucket++)
        if (amount_zero(&sums[bucket], record_text(line, "currency"), call->err) < 0) return -1;
    name_line(call, line);
    if (sqlite_row(call, "SELECT held, unknown, spent FROM lines" LINE_IS, &row) < 0) return -1;
    bool good = true;
    for (int bucket = JOURNAL_HELD; row && bucket <= JOURNAL_SPENT; bucket++)
        good = good && journal_sum_add(&sums[bucket], record_text(row, journal_bucket_names[bucket]), 1);
    record_free(row);
    if (good) return 0;
    err_set(call->err, ERR_UNAVAILABLE,
            "the journal %s is damaged: a sum of budget %s cannot be read; "
            "`perigee journal verify` says more",
            call->engine->path, record_text(line, "budget"));
    return err_set_code(call->err, "journal_corrupt");
}

int sqlite_line_write(struct sqlite_call *call, const struct record *line, const struct amount sums[4])
{
    name_line(call, line);
    for (int bucket = JOURNAL_HELD; bucket <= JOURNAL_SPENT; bucket++) {
        char text[AMOUNT_TEXT_SIZE], name[16];
        amount_format(&sums[bucket], text);
        snprintf(name, sizeof name, "l_%s", journal_bucket_names[bucket]);
        sqlite_more_text(call, name, text);
    }
    return sqlite_run(call,
                      "INSERT INTO lines(budget, window, number, currency, held, unknown, spent, changed_at)"
                      " VALUES (:l_budget, :l_window, :l_number, :l_currency, :l_held, :l_unknown, :l_spent,"
                      " :now) ON CONFLICT(budget, window, number, currency) DO UPDATE SET held = :l_held,"
                      " unknown = :l_unknown, spent = :l_spent, changed_at = :now",
                      NULL);
}

int sqlite_budget_lines(struct sqlite_call *call)
{
    const struct record_list *lines = record_rows(call->in, "lines");
    for (size_t i = 0; i < lines->count; i++) {
        struct amount sums[4];
        if (sqlite_line_read(call, lines->items[i], sums) < 0) return -1;
        journal_line_row(call->out, lines->items[i], sums);
    }
    return 0;
}

int sqlite_budget_count(struct sqlite_call *call)
{
    const struct record_list *lines = record_rows(call->in, "lines");
    const char *amount = record_text(call->in, "amount");
    enum journal_bucket bucket = record_integer(call->in, "unknown") ? JOURNAL_UNKNOWN : JOURNAL_SPENT;
    for (size_t i = 0; i < lines->count; i++) {
        struct amount sums[4];
        if (sqlite_line_read(call, lines->items[i], sums) < 0) return -1;
        if (!journal_sum_add(&sums[bucket], amount, 1)) continue; /* of another currency */
        if (sqlite_line_write(call, lines->items[i], sums) < 0 ||
            sqlite_line_base(call, lines->items[i], bucket, amount) < 0)
            return -1;
    }
    return 0;
}

int sqlite_line_base(struct sqlite_call *call, const struct record *line, enum journal_bucket bucket,
                     const char *amount)
{
    name_line(call, line);
    sqlite_more_text(call, "l_amount", amount);
    return sqlite_run(call,
                      bucket == JOURNAL_SPENT
                          ? "UPDATE lines SET base_spent = amount_plus(base_spent, :l_amount)" LINE_IS
                          : "UPDATE lines SET base_unknown = amount_plus(base_unknown, :l_amount)" LINE_IS,
                      NULL);
}

/* ---- reports ------------------------------------------------------------------------------------------ */

/* What the permits that are there and the daily totals of those that are gone have in common. The currency of
 * a permit is that of its amount, and of its price while nothing is held. */
#define ENTRIES                                                                                              \
    "WITH entries(at, job, policy, tags, service, operation, currency, held, unknown, spent, derived,"       \
    " presumed, permits) AS ("                                                                               \
    "SELECT reserved_at, job, policy, tags, service, operation, amount_currency(coalesce(amount, price)),"   \
    " iif(bucket = 'held', amount, NULL), iif(bucket = 'unknown', amount, NULL),"                            \
    " iif(bucket = 'spent', amount, NULL), iif(bucket = 'spent' AND derived, amount, NULL),"                 \
    " iif(bucket = 'spent' AND presumed, amount, NULL), 1 FROM permits"                                      \
    " WHERE state <> 'released' AND reserved_at >= :from AND reserved_at < :to "                             \
    "UNION ALL SELECT day * 86400000, NULL, nullif(policy, ''), nullif(tags, ''), service, operation,"       \
    " nullif(currency, ''), NULL, NULL, spent, derived, presumed, permits FROM daily"                        \
    " WHERE day * 86400000 >= :from AND day * 86400000 < :to)"
#define SUMS                                                                                                 \
    " AS \"group\", currency, amount_total(currency, held) AS held,"                                         \
    " amount_total(currency, unknown) AS unknown, amount_total(currency, spent) AS spent,"                   \
    " amount_total(currency, derived) AS derived, amount_total(currency, presumed) AS presumed,"             \
    " sum(permits) AS permits FROM entries"
#define GROUPED " GROUP BY 1, 2 HAVING currency IS NOT NULL ORDER BY 1, 2"

int sqlite_spend_report(struct sqlite_call *call)
{
    static const char *const texts[][2] = {
        {"total", ENTRIES "SELECT NULL" SUMS GROUPED},
        {"policy", ENTRIES "SELECT policy" SUMS GROUPED},
        {"job", ENTRIES "SELECT job" SUMS GROUPED},
        {"service", ENTRIES "SELECT service" SUMS GROUPED},
        {"operation", ENTRIES "SELECT operation" SUMS GROUPED},
        {"day", ENTRIES "SELECT date(at / 1000, 'unixepoch')" SUMS GROUPED},
        {"tag",
         ENTRIES "SELECT t.value" SUMS " JOIN json_each(iif(json_valid(tags), tags, '[]')) AS t" GROUPED},
    };
    const char *by = record_text(call->in, "by");
    sqlite_more_integer(call, "from", record_integer(call->in, "since"));
    sqlite_more_integer(call, "to",
                        record_type(call->in, "until") == RECORD_NONE ? INT64_MAX
                                                                      : record_integer(call->in, "until"));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i][0], by) == 0) return sqlite_rows(call, texts[i][1], call->out);
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
