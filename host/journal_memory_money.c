/* journal_memory_money.c - permits and the sums of budgets, in memory.
 *
 * A permit's amount stands in one bucket of each line it was reserved on; a booking is that connection.
 */
#include <string.h>

#include "host/journal_memory.h"

const struct table_schema memory_permits = {
    .name = "permits",
    .columns = {"intent",   "operation",   "service", "account",     "key",      "price",
                "governed", "job",         "attempt", "policy",      "tags",     "model",
                "state",    "bucket",      "amount",  "derived",     "presumed", "remote_id",
                "process",  "reserved_at", "sent_at", "answered_at", "ended_at"},
    .indexes = {{PERMIT_INTENT_ID, -1}, {PERMIT_JOB, -1}, {PERMIT_KEY, -1}},
    .index_count = 3,
};

enum { BOOKING_INTENT, BOOKING_BUDGET, BOOKING_WINDOW, BOOKING_NUMBER, BOOKING_CURRENCY };

const struct table_schema memory_bookings = {
    .name = "bookings",
    .columns = {"intent", "budget", "window", "number", "currency"},
    .indexes = {{BOOKING_INTENT, -1}},
    .index_count = 1,
};

enum { LINE_BUDGET, LINE_WINDOW, LINE_NUMBER, LINE_CURRENCY, LINE_HELD, LINE_UNKNOWN, LINE_SPENT };

const struct table_schema memory_lines = {
    .name = "lines",
    .columns = {"budget", "window", "number", "currency", "held", "unknown", "spent"},
    .indexes = {{LINE_BUDGET, LINE_WINDOW, LINE_NUMBER, LINE_CURRENCY, -1}},
    .index_count = 1,
};

enum { RATIO_SERVICE, RATIO_MODEL, RATIO_CURRENCY, RATIO_COUNT, RATIO_ESTIMATE, RATIO_ACTUAL };

const struct table_schema memory_ratios = {
    .name = "ratios",
    .columns = {"service", "model", "currency", "count", "estimate", "actual"},
    .indexes = {{RATIO_SERVICE, RATIO_MODEL, RATIO_CURRENCY, -1}},
    .index_count = 1,
};

void memory_put_sum(struct record *to, const char *field, const struct amount *sum)
{
    char text[AMOUNT_TEXT_SIZE];
    size_t n = amount_format(sum, text);
    record_set_bytes(to, field, text, n);
}

/* ---- lines -------------------------------------------------------------------------------------------- */

static struct cell text_cell(const char *text)
{
    return (struct cell){.text = (char *)text, .number = (int64_t)strlen(text), .type = RECORD_TEXT};
}

static struct row *find_line(const struct memory *m, const char *budget, const char *window, int64_t number,
                             const char *currency)
{
    struct cell key[] = {text_cell(budget),
                         text_cell(window),
                         {.number = number, .type = RECORD_INTEGER},
                         text_cell(currency)};
    return table_find(&m->lines, 0, key);
}

static struct row *find_given_line(const struct memory *m, const struct record *line)
{
    return find_line(m, record_text(line, "budget"), record_text(line, "window"),
                     record_integer(line, "number"), record_text(line, "currency"));
}

/* The line's figures by enum journal_bucket; NULL: nothing yet. */
static void read_sums(const struct row *line, const char *currency, struct amount sums[4])
{
    for (int i = 0; i < 4; i++) amount_zero(&sums[i], currency, NULL);
    if (!line) return;
    journal_sum_add(&sums[JOURNAL_HELD], row_text(line, LINE_HELD), 1);
    journal_sum_add(&sums[JOURNAL_UNKNOWN], row_text(line, LINE_UNKNOWN), 1);
    journal_sum_add(&sums[JOURNAL_SPENT], row_text(line, LINE_SPENT), 1);
}

static struct record *put_line(const struct record *given, const struct amount sums[4],
                               struct record_list *out)
{
    struct record *row = record_list_add(out);
    record_set_text(row, "budget", record_text(given, "budget"));
    record_set_text(row, "window", record_text(given, "window"));
    record_set_integer(row, "number", record_integer(given, "number"));
    record_set_text(row, "currency", record_text(given, "currency"));
    memory_put_sum(row, "held", &sums[JOURNAL_HELD]);
    memory_put_sum(row, "unknown", &sums[JOURNAL_UNKNOWN]);
    memory_put_sum(row, "spent", &sums[JOURNAL_SPENT]);
    return row;
}

/* Adds to one bucket of a line, or takes away. */
static void line_add(struct memory *m, struct row *line, enum journal_bucket bucket, const char *amount,
                     int sign)
{
    static const int columns[] = {-1, LINE_HELD, LINE_UNKNOWN, LINE_SPENT};
    if (bucket == JOURNAL_NONE || !amount) return;
    struct amount sums[4];
    char text[AMOUNT_TEXT_SIZE];
    read_sums(line, row_text(line, LINE_CURRENCY), sums);
    journal_sum_add(&sums[bucket], amount, sign);
    amount_format(&sums[bucket], text);
    table_set_text(&m->lines, line, columns[bucket], text);
}

static struct row *make_line(struct memory *m, const struct record *given)
{
    struct row *line = find_given_line(m, given);
    return line ? line : table_add(&m->lines, given);
}

/* A price in another currency than its line's would be counted nowhere. */
static int check_currency(const char *verb, const struct record *line, const char *amount, struct err *err)
{
    struct amount sum;
    amount_zero(&sum, record_text(line, "currency"), NULL);
    if (journal_sum_add(&sum, amount, 1)) return 0;
    return journal_invalid(err, "currency", "%s: %s cannot be counted on a line of budget %s in %s", verb,
                           amount, record_text(line, "budget"), record_text(line, "currency"));
}

int memory_budget_lines(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const struct record_list *lines = record_rows(in, "lines");
    for (size_t i = 0; i < lines->count; i++) {
        struct amount sums[4];
        read_sums(find_given_line(m, lines->items[i]), record_text(lines->items[i], "currency"), sums);
        put_line(lines->items[i], sums, out);
    }
    return 0;
}

int memory_budget_count(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const struct record_list *lines = record_rows(in, "lines");
    const char *amount = record_text(in, "amount");
    enum journal_bucket bucket = record_integer(in, "unknown") ? JOURNAL_UNKNOWN : JOURNAL_SPENT;
    for (size_t i = 0; i < lines->count; i++)
        if (check_currency("budget.count", lines->items[i], amount, err) < 0) return -1;
    for (size_t i = 0; i < lines->count; i++) {
        struct row *line = make_line(m, lines->items[i]);
        line_add(m, line, bucket, amount, 1);
    }
    return memory_budget_lines(m, in, out, err);
}

/* ---- reserving ---------------------------------------------------------------------------------------- */

/* The line with its sums; 1 if the price would pass its limit, which `denied` then says. */
static int try_line(const struct memory *m, const struct record *line, const char *price,
                    struct record_list *out)
{
    struct amount sums[4], cost, limit;
    const char *currency = record_text(line, "currency"), *text = record_text(line, "limit");
    read_sums(find_given_line(m, line), currency, sums);
    struct record *row = put_line(line, sums, out);
    amount_zero(&cost, currency, NULL);
    amount_zero(&limit, currency, NULL);
    journal_sum_add(&cost, price, 1);
    if (!text || (journal_sum_add(&limit, text, 1) && journal_fits(sums, &cost, &limit))) return 0;
    record_set_integer(row, "denied", 1);
    return 1;
}

static void reserve(struct memory *m, const struct record *in)
{
    const struct record_list *lines = record_rows(in, "lines");
    const char *intent = record_text(in, "intent"), *price = record_text(in, "price");
    struct row *permit = table_add(&m->permits, in);
    table_set_text(&m->permits, permit, PERMIT_STATE, "reserved");
    table_set_text(&m->permits, permit, PERMIT_BUCKET, price ? "held" : "none");
    table_set_text(&m->permits, permit, PERMIT_AMOUNT, price);
    table_set_text(&m->permits, permit, PERMIT_PROCESS, m->self.id);
    table_set_integer(&m->permits, permit, PERMIT_RESERVED_AT, m->now);
    for (size_t i = 0; price && i < lines->count; i++) {
        struct row *booking = table_add(&m->bookings, lines->items[i]);
        table_set_text(&m->bookings, booking, BOOKING_INTENT, intent);
        line_add(m, make_line(m, lines->items[i]), JOURNAL_HELD, price, 1);
    }
}

int memory_permit_reserve(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const struct record_list *lines = record_rows(in, "lines");
    const char *intent = record_text(in, "intent"), *price = record_text(in, "price");
    int denied = 0;
    if (table_find_text(&m->permits, 0, intent))
        return journal_invalid(err, "intent", "permit.reserve: intent %s was there already", intent);
    for (size_t i = 0; i < lines->count; i++) {
        if (check_currency("permit.reserve", lines->items[i], price, err) < 0) return -1;
        denied += try_line(m, lines->items[i], price, out);
    }
    if (denied) return 0;
    reserve(m, in);
    record_list_deinit(out);
    return memory_budget_lines(m, in, out, err);
}

/* ---- the way of a permit ------------------------------------------------------------------------------- */

static struct row *need_permit(const struct memory *m, const char *verb, const struct record *in,
                               struct err *err)
{
    const char *intent = record_text(in, "intent");
    struct row *permit = table_find_text(&m->permits, 0, intent);
    if (!permit) journal_invalid(err, "not_found", "%s: there is no permit %s", verb, intent);
    return permit;
}

/* Takes the permit's amount from its bucket in every line, or puts it there. */
static void book(struct memory *m, const struct row *permit, int sign)
{
    enum journal_bucket bucket = journal_bucket_parse(row_text(permit, PERMIT_BUCKET));
    const char *amount = row_text(permit, PERMIT_AMOUNT);
    struct row *b = table_find_text(&m->bookings, 0, row_text(permit, PERMIT_INTENT_ID));
    for (; b; b = table_next(&m->bookings, 0, b))
        line_add(m,
                 find_line(m, row_text(b, BOOKING_BUDGET), row_text(b, BOOKING_WINDOW),
                           row_integer(b, BOOKING_NUMBER), row_text(b, BOOKING_CURRENCY)),
                 bucket, amount, sign);
}

/* What was charged beside what was estimated: of reported charges alone. */
static void note_ratio(struct memory *m, const struct row *permit)
{
    const char *price = row_text(permit, PERMIT_PRICE), *amount = row_text(permit, PERMIT_AMOUNT);
    if (!price || !amount || !row_is(permit, PERMIT_BUCKET, "spent")) return;
    const char *currency = strchr(price, ' ') + 1;
    const struct cell *model = &permit->cells[PERMIT_MODEL];
    struct cell key[] = {permit->cells[PERMIT_SERVICE], *model, text_cell(currency)};
    struct row *ratio = table_find(&m->ratios, 0, key);
    if (!ratio) {
        ratio = table_add(&m->ratios, NULL);
        table_set_text(&m->ratios, ratio, RATIO_SERVICE, row_text(permit, PERMIT_SERVICE));
        table_set_text(&m->ratios, ratio, RATIO_MODEL, row_text(permit, PERMIT_MODEL));
        table_set_text(&m->ratios, ratio, RATIO_CURRENCY, currency);
    }
    struct amount estimate, actual;
    char text[AMOUNT_TEXT_SIZE];
    amount_zero(&estimate, currency, NULL);
    actual = estimate;
    journal_sum_add(&estimate, row_text(ratio, RATIO_ESTIMATE), 1);
    journal_sum_add(&estimate, price, 1);
    journal_sum_add(&actual, row_text(ratio, RATIO_ACTUAL), 1);
    journal_sum_add(&actual, amount, 1);
    table_set_integer(&m->ratios, ratio, RATIO_COUNT, row_integer(ratio, RATIO_COUNT) + 1);
    amount_format(&estimate, text);
    table_set_text(&m->ratios, ratio, RATIO_ESTIMATE, text);
    amount_format(&actual, text);
    table_set_text(&m->ratios, ratio, RATIO_ACTUAL, text);
}

/* amount NULL: as it was. */
static void move(struct memory *m, struct row *permit, const char *state, const char *bucket,
                 const char *amount)
{
    const char *when = journal_permit_time(state);
    book(m, permit, -1);
    if (amount) table_set_text(&m->permits, permit, PERMIT_AMOUNT, amount);
    table_set_text(&m->permits, permit, PERMIT_BUCKET, bucket);
    book(m, permit, 1);
    table_set_text(&m->permits, permit, PERMIT_STATE, state);
    int column = !when                              ? -1
                 : strcmp(when, "sent_at") == 0     ? PERMIT_SENT_AT
                 : strcmp(when, "answered_at") == 0 ? PERMIT_ANSWERED_AT
                                                    : PERMIT_ENDED_AT;
    if (column >= 0) table_set_integer(&m->permits, permit, column, m->now);
}

int memory_permit_intent(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *permit = need_permit(m, "permit.intent", in, err);
    if (!permit) return -1;
    if (!row_is(permit, PERMIT_STATE, "reserved"))
        return journal_invalid(err, "order", "permit.intent: permit %s is %s, not reserved",
                               row_text(permit, PERMIT_INTENT_ID), row_text(permit, PERMIT_STATE));
    table_set_text(&m->permits, permit, PERMIT_STATE, "intent");
    return 0;
}

int memory_permit_move(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *permit = need_permit(m, "permit.move", in, err);
    if (!permit) return -1;
    const char *state = record_text(in, "state"), *bucket = record_text(in, "bucket");
    const char *amount = record_text(in, "amount"), *price = row_text(permit, PERMIT_PRICE);
    if (!journal_permit_may_follow(row_text(permit, PERMIT_STATE), state))
        return journal_invalid(err, "order", "permit.move: permit %s is %s and cannot become %s",
                               row_text(permit, PERMIT_INTENT_ID), row_text(permit, PERMIT_STATE), state);
    if (amount && price && strcmp(strchr(amount, ' '), strchr(price, ' ')) != 0)
        return journal_invalid(err, "currency", "permit.move: amount is %s, and the permit's price %s",
                               amount, price);
    bool was_settled = row_is(permit, PERMIT_STATE, "settled");
    move(m, permit, state, bucket, amount);
    table_set_integer(&m->permits, permit, PERMIT_DERIVED, record_integer(in, "derived"));
    table_set_integer(&m->permits, permit, PERMIT_PRESUMED, record_integer(in, "presumed"));
    if (record_text(in, "remote_id"))
        table_set_text(&m->permits, permit, PERMIT_REMOTE_ID, record_text(in, "remote_id"));
    if (!was_settled && strcmp(state, "settled") == 0 && !record_integer(in, "derived"))
        note_ratio(m, permit);
    return 0;
}

int memory_permit_presume(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    int64_t before = record_integer(in, "before");
    struct row *permit;
    for (size_t at = 0; (permit = table_each(&m->permits, &at));) {
        if (!row_is(permit, PERMIT_STATE, "unknown") || !row_is(permit, PERMIT_BUCKET, "unknown")) continue;
        if (row_integer(permit, PERMIT_ANSWERED_AT) > before) continue;
        book(m, permit, -1);
        table_set_text(&m->permits, permit, PERMIT_BUCKET, "spent");
        book(m, permit, 1);
        table_set_integer(&m->permits, permit, PERMIT_PRESUMED, 1);
        table_put(&m->permits, permit, record_list_add(out));
    }
    return 0;
}

void memory_leave_permits(struct memory *m)
{
    struct row *permit;
    for (size_t at = 0; (permit = table_each(&m->permits, &at));) {
        struct journal_burial burial =
            journal_permit_bury(row_text(permit, PERMIT_STATE), row_has(permit, PERMIT_JOB));
        if (!burial.state || !row_is(permit, PERMIT_PROCESS, m->self.id)) continue;
        move(m, permit, burial.state, burial.bucket, NULL);
        if (burial.derived) table_set_integer(&m->permits, permit, PERMIT_DERIVED, 1);
    }
}

void memory_line_held(const struct memory *m, const struct row *line, struct amount *said,
                      struct amount *held)
{
    const struct row *booking;
    amount_zero(said, row_text(line, LINE_CURRENCY), NULL);
    *held = *said;
    journal_sum_add(said, row_text(line, LINE_HELD), 1);
    for (size_t at = 0; (booking = table_each(&m->bookings, &at));) {
        const struct row *permit = table_find_text(&m->permits, 0, row_text(booking, BOOKING_INTENT));
        if (row_is(permit, PERMIT_BUCKET, "held") &&
            row_is(booking, BOOKING_BUDGET, row_text(line, LINE_BUDGET)) &&
            row_is(booking, BOOKING_WINDOW, row_text(line, LINE_WINDOW)) &&
            row_integer(booking, BOOKING_NUMBER) == row_integer(line, LINE_NUMBER))
            journal_sum_add(held, row_text(permit, PERMIT_AMOUNT), 1); /* of its currency alone */
    }
}

/* ---- looking ------------------------------------------------------------------------------------------- */

int memory_permit_get(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const struct row *permit = table_find_text(&m->permits, 0, record_text(in, "intent"));
    if (permit) table_put(&m->permits, permit, record_list_add(out));
    return 0;
}

int memory_permit_take(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    struct row *permit = need_permit(m, "permit.take", in, err);
    if (!permit) return -1;
    table_set_text(&m->permits, permit, PERMIT_PROCESS, m->self.id); /* no other process lives here */
    table_put(&m->permits, permit, record_list_add(out));
    return 0;
}

static bool is_wanted(const struct row *permit, const struct record *in)
{
    static const struct {
        const char *field;
        enum permit_column column;
    } filters[] = {{"state", PERMIT_STATE},
                   {"job", PERMIT_JOB},
                   {"process", PERMIT_PROCESS},
                   {"key", PERMIT_KEY},
                   {"operation", PERMIT_OPERATION}};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const char *wanted = record_text(in, filters[i].field);
        if (wanted && !row_is(permit, filters[i].column, wanted)) return false;
    }
    return row_integer(permit, PERMIT_RESERVED_AT) >= record_integer(in, "since");
}

/* By an index where one fits; both ways give the newest first. */
int memory_permit_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    int64_t limit = journal_limit(in, INT64_MAX);
    const char *job = record_text(in, "job"), *key = record_text(in, "key");
    int index = job ? 1 : 2;
    const struct row *permit;
    if (job || key) {
        permit = table_find_text(&m->permits, index, job ? job : key);
        for (; permit && (int64_t)out->count < limit; permit = table_next(&m->permits, index, permit))
            if (is_wanted(permit, in)) table_put(&m->permits, permit, record_list_add(out));
        return 0;
    }
    for (size_t at = m->permits.slots; (permit = table_each_back(&m->permits, &at));) {
        if (!is_wanted(permit, in)) continue;
        table_put(&m->permits, permit, record_list_add(out));
        if ((int64_t)out->count >= limit) break;
    }
    return 0;
}
