/* journal_sqlite_permit.c - permits: from their reservation to the bucket in which their amount ends. */
#include <stdio.h>
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

#define COLUMNS                                                                                              \
    "intent, operation, service, account, key, price, governed, job, attempt, policy, tags, model, state,"   \
    " bucket, amount, derived, presumed, remote_id, process, reserved_at, sent_at, answered_at, ended_at"

static int not_found(struct sqlite_call *call)
{
    return journal_invalid(call->err, "not_found", "no permit has the intent %s",
                           record_text(call->in, "intent"));
}

/* The permit of the call, or -1 and err. */
static int read_permit(struct sqlite_call *call, struct record **out)
{
    if (sqlite_row(call, "SELECT number, " COLUMNS " FROM permits WHERE intent = :intent", out) < 0)
        return -1;
    return *out ? 0 : not_found(call);
}

int sqlite_permit_get(struct sqlite_call *call)
{
    return sqlite_rows(call, "SELECT " COLUMNS " FROM permits WHERE intent = :intent", call->out);
}

/* ---- reserving ---------------------------------------------------------------------------------------- */

/* One row for each line; *denied if the price does not fit everywhere.  price NULL: nothing is asked for. */
static int judge_lines(struct sqlite_call *call, const struct amount *price, bool *denied)
{
    const struct record_list *lines = record_rows(call->in, "lines");
    *denied = false;
    for (size_t i = 0; i < lines->count; i++) {
        const struct record *line = lines->items[i];
        const char *limit_text = record_text(line, "limit");
        struct amount sums[4], limit;
        if (sqlite_line_read(call, line, sums) < 0) return -1;
        struct record *row = journal_line_row(call->out, line, sums);
        if (!price || !limit_text || !amount_same_currency(price, &sums[JOURNAL_HELD])) continue;
        if (amount_parse(&limit, limit_text, strlen(limit_text), NULL, call->err) < 0) return -1;
        if (journal_fits(sums, price, &limit)) continue;
        *denied = true;
        record_set_integer(row, "denied", 1);
    }
    return 0;
}

/* Adds to the line's bucket, or takes away. */
static int book(struct sqlite_call *call, const struct record *line, enum journal_bucket bucket,
                const char *amount, int sign)
{
    struct amount sums[4];
    if (bucket == JOURNAL_NONE || !amount) return 0;
    if (sqlite_line_read(call, line, sums) < 0) return -1;
    if (!journal_sum_add(&sums[bucket], amount, sign)) return 0; /* of another currency */
    return sqlite_line_write(call, line, sums);
}

static int enter_lines(struct sqlite_call *call, const char *price)
{
    const struct record_list *lines = record_rows(call->in, "lines");
    sqlite_more_integer(call, "permit", sqlite3_last_insert_rowid(call->engine->db));
    for (size_t i = 0; i < lines->count; i++) {
        const struct record *line = lines->items[i];
        sqlite_more_field(call, "budget", line, "budget");
        sqlite_more_field(call, "window", line, "window");
        sqlite_more_field(call, "number", line, "number");
        sqlite_more_field(call, "currency", line, "currency");
        if (sqlite_run(call,
                       "INSERT OR IGNORE INTO permit_lines(permit, budget, window, number, currency)"
                       " VALUES (:permit, :budget, :window, :number, :currency)",
                       NULL) < 0)
            return -1;
        if (sqlite3_changes(call->engine->db) == 0) continue; /* named twice, counts once */
        struct amount sums[4];
        if (book(call, line, JOURNAL_HELD, price, 1) < 0 || sqlite_line_read(call, line, sums) < 0) return -1;
        journal_line_row(call->out, line, sums);
    }
    return 0;
}

int sqlite_permit_reserve(struct sqlite_call *call)
{
    const char *price_text = record_text(call->in, "price");
    struct amount price;
    struct record *there;
    bool denied;
    if (price_text && amount_parse(&price, price_text, strlen(price_text), NULL, call->err) < 0) return -1;
    if (sqlite_row(call, "SELECT number FROM permits WHERE intent = :intent", &there) < 0) return -1;
    record_free(there);
    if (there)
        return journal_invalid(call->err, "intent", "a permit has the intent %s already",
                               record_text(call->in, "intent"));
    if (judge_lines(call, price_text ? &price : NULL, &denied) < 0) return -1;
    if (denied) return 0;
    record_list_deinit(call->out);
    if (sqlite_run(call,
                   "INSERT INTO permits(intent, operation, service, account, key, price, governed, job,"
                   " attempt, policy, tags, model, state, bucket, amount, process, reserved_at) VALUES"
                   " (:intent, :operation, :service, :account, :key, :price, :governed, :job, :attempt,"
                   " :policy, :tags, :model, 'reserved', 'held', :price, :me, :now)",
                   NULL) < 0)
        return -1;
    return enter_lines(call, price_text);
}

int sqlite_permit_intent(struct sqlite_call *call)
{
    int64_t changed;
    struct record *permit;
    if (sqlite_run(call,
                   "UPDATE permits SET state = 'intent' WHERE intent = :intent AND state = 'reserved'"
                   " AND process = :me",
                   &changed) < 0)
        return -1;
    if (changed == 1) return 0;
    if (read_permit(call, &permit) < 0) return -1;
    journal_invalid(call->err, "order",
                    "a permit in state %s does not become an intent: it was taken for that of a process that "
                    "has ended, or is another process's",
                    record_text(permit, "state"));
    record_free(permit);
    return -1;
}

/* ---- moving ------------------------------------------------------------------------------------------- */

static int rebook(struct sqlite_call *call, const struct record *permit, const struct sqlite_change *change,
                  const char *amount)
{
    struct record_list lines = {NULL, 0};
    sqlite_more_field(call, "permit", permit, "number");
    int rc = sqlite_rows(
        call, "SELECT budget, window, number, currency FROM permit_lines WHERE permit = :permit", &lines);
    for (size_t i = 0; rc == 0 && i < lines.count; i++) {
        rc = book(call, lines.items[i], journal_bucket_parse(record_text(permit, "bucket")),
                  record_text(permit, "amount"), -1);
        if (rc == 0) rc = book(call, lines.items[i], journal_bucket_parse(change->bucket), amount, 1);
    }
    record_list_deinit(&lines);
    return rc;
}

int sqlite_permit_change(struct sqlite_call *call, const struct record *permit,
                         const struct sqlite_change *change)
{
    const char *amount = change->amount;
    if (!amount) amount = record_text(permit, "amount");
    if (!amount) amount = record_text(permit, "price");
    if (journal_bucket_parse(change->bucket) == JOURNAL_NONE) amount = NULL;
    if (rebook(call, permit, change, amount) < 0) return -1;
    sqlite_more_field(call, "permit", permit, "number");
    if (strcmp(record_text(permit, "state"), "settled") == 0 && sqlite_daily_take(call) < 0) return -1;
    const char *entered = journal_permit_time(change->state);
    bool entering = strcmp(record_text(permit, "state"), change->state) != 0;
    sqlite_more_text(call, "new_state", change->state);
    sqlite_more_text(call, "new_bucket", change->bucket);
    sqlite_more_text(call, "new_amount", amount);
    sqlite_more_text(call, "new_remote_id", change->remote_id);
    sqlite_more_text(call, "entered", entering && entered ? entered : "");
    sqlite_more_integer(call, "new_derived", change->derived);
    sqlite_more_integer(call, "new_presumed", change->presumed);
    if (sqlite_run(call,
                   "UPDATE permits SET state = :new_state, bucket = :new_bucket, amount = :new_amount,"
                   " derived = :new_derived, presumed = :new_presumed,"
                   " remote_id = coalesce(:new_remote_id, remote_id),"
                   " sent_at = iif(:entered = 'sent_at', :now, sent_at),"
                   " answered_at = iif(:entered = 'answered_at', :now, answered_at),"
                   " ended_at = CASE WHEN :entered = 'ended_at' THEN :now"
                   "  WHEN :new_state IN ('settled', 'released') THEN ended_at END"
                   " WHERE number = :permit",
                   NULL) < 0)
        return -1;
    return strcmp(change->state, "settled") == 0 ? sqlite_daily_add(call) : 0;
}

int sqlite_permit_move(struct sqlite_call *call)
{
    struct record *permit;
    if (read_permit(call, &permit) < 0) return -1;
    struct sqlite_change change = {.state = record_text(call->in, "state"),
                                   .bucket = record_text(call->in, "bucket"),
                                   .amount = record_text(call->in, "amount"),
                                   .remote_id = record_text(call->in, "remote_id"),
                                   .derived = record_integer(call->in, "derived") != 0,
                                   .presumed = record_integer(call->in, "presumed") != 0};
    const char *from = record_text(permit, "state");
    int rc = journal_permit_may_follow(from, change.state)
                 ? sqlite_permit_change(call, permit, &change)
                 : journal_invalid(call->err, "order", "a permit in state %s does not become %s", from,
                                   change.state);
    record_free(permit);
    return rc;
}

int sqlite_permit_presume(struct sqlite_call *call)
{
    struct record_list permits = {NULL, 0};
    int rc = sqlite_rows(call,
                         "SELECT number, " COLUMNS " FROM permits WHERE state = 'unknown'"
                         " AND bucket = 'unknown' AND answered_at <= :before ORDER BY number",
                         &permits);
    for (size_t i = 0; rc == 0 && i < permits.count; i++) {
        struct sqlite_change change = {.state = "unknown", .bucket = "spent", .presumed = true};
        rc = sqlite_permit_change(call, permits.items[i], &change);
        sqlite_more_field(call, "presumed_intent", permits.items[i], "intent");
        if (rc == 0)
            rc = sqlite_rows(call, "SELECT " COLUMNS " FROM permits WHERE intent = :presumed_intent",
                             call->out);
    }
    record_list_deinit(&permits);
    return rc;
}

/* ---- finding ------------------------------------------------------------------------------------------ */

int sqlite_permit_list(struct sqlite_call *call)
{
    static const char *const filters[][2] = {
        {"state", " AND state = :state"},
        {"job", " AND job = :job"},
        {"process", " AND process = :process"},
        {"key", " AND key = :key"},
        {"operation", " AND operation = :operation"},
        {"since", " AND reserved_at >= :since"},
    };
    struct buf text = {0};
    buf_puts(&text, "SELECT " COLUMNS " FROM permits WHERE 1");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (record_type(call->in, filters[i][0]) != RECORD_NONE) buf_puts(&text, filters[i][1]);
    buf_puts(&text, " ORDER BY number DESC LIMIT :limit");
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    int rc = sqlite_rows(call, buf_str(&text), call->out);
    buf_deinit(&text);
    return rc;
}

int sqlite_permit_take(struct sqlite_call *call)
{
    struct record *permit;
    bool alive;
    if (read_permit(call, &permit) < 0) return -1;
    const char *owner = record_text(permit, "process");
    int rc = 0;
    if (strcmp(owner, call->engine->self.id) != 0) {
        rc = sqlite_process_alive(call, owner, &alive);
        if (rc == 0 && alive)
            rc = journal_invalid(call->err, "taken", "process %s has this permit, and lives", owner);
    }
    record_free(permit);
    if (rc < 0 || sqlite_run(call, "UPDATE permits SET process = :me WHERE intent = :intent", NULL) < 0)
        return -1;
    return sqlite_permit_get(call);
}
