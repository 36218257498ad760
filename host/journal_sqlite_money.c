/* journal_sqlite_money.c - the lines of budgets: what is held, unknown and spent in each window. */
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
