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
    .name = "permit_lines",
    .columns = {"intent", "budget", "window", "number", "currency"},
    .indexes = {{BOOKING_INTENT, -1}},
    .index_count = 1,
};

enum {
    LINE_BUDGET,
    LINE_WINDOW,
    LINE_NUMBER,
    LINE_CURRENCY,
    LINE_HELD,
    LINE_UNKNOWN,
    LINE_SPENT,
    LINE_CHANGED_AT
};

const struct table_schema memory_lines = {
    .name = "lines",
    .columns = {"budget", "window", "number", "currency", "held", "unknown", "spent", "changed_at"},
    .indexes = {{LINE_BUDGET, LINE_WINDOW, LINE_NUMBER, LINE_CURRENCY, -1}},
    .index_count = 1,
};

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

static struct row *find_booked_line(const struct memory *m, const struct row *booking)
{
    return find_line(m, row_text(booking, BOOKING_BUDGET), row_text(booking, BOOKING_WINDOW),
                     row_integer(booking, BOOKING_NUMBER), row_text(booking, BOOKING_CURRENCY));
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

/* Adds to one bucket of a line, or takes away. */
static void line_add(struct memory *m, struct row *line, enum journal_bucket bucket, const char *amount,
                     int sign)
{
    static const int columns[] = {-1, LINE_HELD, LINE_UNKNOWN, LINE_SPENT};
    if (bucket == JOURNAL_NONE || !amount) return;
    struct amount sums[4];
    char text[AMOUNT_TEXT_SIZE];
    read_sums(line, row_text(line, LINE_CURRENCY), sums);
    if (!journal_sum_add(&sums[bucket], amount, sign)) return; /* of another currency */
    amount_format(&sums[bucket], text);
    table_set_text(&m->lines, line, columns[bucket], text);
    table_set_integer(&m->lines, line, LINE_CHANGED_AT, m->now);
}

static struct row *make_line(struct memory *m, const struct record *given)
{
    struct row *line = find_given_line(m, given);
    return line ? line : table_add(&m->lines, given);
}

int memory_budget_lines(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const struct record_list *lines = record_rows(in, "lines");
    for (size_t i = 0; i < lines->count; i++) {
        struct amount sums[4];
        read_sums(find_given_line(m, lines->items[i]), record_text(lines->items[i], "currency"), sums);
        journal_line_row(out, lines->items[i], sums);
    }
    return 0;
}

int memory_budget_count(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out, (void)err;
    const struct record_list *lines = record_rows(in, "lines");
    const char *amount = record_text(in, "amount");
    enum journal_bucket bucket = record_integer(in, "unknown") ? JOURNAL_UNKNOWN : JOURNAL_SPENT;
    for (size_t i = 0; i < lines->count; i++) {
        struct row *line = make_line(m, lines->items[i]);
        line_add(m, line, bucket, amount, 1);
    }
    return 0;
}

/* ---- reserving ---------------------------------------------------------------------------------------- */

/* The line with its sums; 1 if the price would pass its limit, which `denied` then says.  A price in another
 * currency than the line's is none of its business. */
static int try_line(const struct memory *m, const struct record *line, const char *price,
                    struct record_list *out)
{
    struct amount sums[4], cost, limit;
    const char *currency = record_text(line, "currency"), *text = record_text(line, "limit");
    read_sums(find_given_line(m, line), currency, sums);
    struct record *row = journal_line_row(out, line, sums);
    amount_zero(&cost, currency, NULL);
    amount_zero(&limit, currency, NULL);
    if (!price || !text || !journal_sum_add(&cost, price, 1)) return 0;
    if (journal_sum_add(&limit, text, 1) && journal_fits(sums, &cost, &limit)) return 0;
    record_set_integer(row, "denied", 1);
    return 1;
}

/* True if the permit stands in that line already: one named twice counts once. */
static bool is_booked(const struct memory *m, const char *intent, const struct record *line)
{
    const struct row *b = table_find_text(&m->bookings, 0, intent);
    for (; b; b = table_next(&m->bookings, 0, b))
        if (find_given_line(m, line) == find_booked_line(m, b)) return true;
    return false;
}

static void reserve(struct memory *m, const struct record *in, struct record_list *out)
{
    const struct record_list *lines = record_rows(in, "lines");
    const char *intent = record_text(in, "intent"), *price = record_text(in, "price");
    struct row *permit = table_add(&m->permits, in);
    table_set_text(&m->permits, permit, PERMIT_STATE, "reserved");
    table_set_text(&m->permits, permit, PERMIT_BUCKET, "held");
    table_set_text(&m->permits, permit, PERMIT_AMOUNT, price);
    table_set_text(&m->permits, permit, PERMIT_PROCESS, m->self.id);
    table_set_integer(&m->permits, permit, PERMIT_RESERVED_AT, m->now);
    table_set_integer(&m->permits, permit, PERMIT_DERIVED, 0);
    table_set_integer(&m->permits, permit, PERMIT_PRESUMED, 0);
    for (size_t i = 0; i < lines->count; i++) {
        struct row *line = make_line(m, lines->items[i]);
        if (is_booked(m, intent, lines->items[i])) continue;
        struct row *booking = table_add(&m->bookings, lines->items[i]);
        table_set_text(&m->bookings, booking, BOOKING_INTENT, intent);
        line_add(m, line, JOURNAL_HELD, price, 1);
        struct amount sums[4];
        read_sums(line, row_text(line, LINE_CURRENCY), sums);
        journal_line_row(out, lines->items[i], sums);
    }
}

int memory_permit_reserve(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const struct record_list *lines = record_rows(in, "lines");
    const char *intent = record_text(in, "intent"), *price = record_text(in, "price");
    int denied = 0;
    if (table_find_text(&m->permits, 0, intent))
        return journal_invalid(err, "intent", "a permit has the intent %s already", intent);
    for (size_t i = 0; i < lines->count; i++) denied += try_line(m, lines->items[i], price, out);
    if (denied) return 0;
    record_list_deinit(out);
    reserve(m, in, out);
    return 0;
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
    for (; b; b = table_next(&m->bookings, 0, b)) line_add(m, find_booked_line(m, b), bucket, amount, sign);
}

static void note_time(struct memory *m, struct row *permit, const char *state)
{
    const char *when = journal_permit_time(state);
    int column = !when                              ? -1
                 : strcmp(when, "sent_at") == 0     ? PERMIT_SENT_AT
                 : strcmp(when, "answered_at") == 0 ? PERMIT_ANSWERED_AT
                                                    : PERMIT_ENDED_AT;
    if (column != PERMIT_ENDED_AT) table_clear(&m->permits, permit, PERMIT_ENDED_AT);
    if (column >= 0) table_set_integer(&m->permits, permit, column, m->now);
}

/* amount NULL: as it was, or else its price. */
static void move(struct memory *m, struct row *permit, const char *state, const char *bucket,
                 const char *amount)
{
    if (!amount) amount = row_text(permit, PERMIT_AMOUNT);
    if (!amount) amount = row_text(permit, PERMIT_PRICE);
    if (journal_bucket_parse(bucket) == JOURNAL_NONE) amount = NULL;
    book(m, permit, -1);
    table_set_text(&m->permits, permit, PERMIT_AMOUNT, amount);
    table_set_text(&m->permits, permit, PERMIT_BUCKET, bucket);
    book(m, permit, 1);
    if (!row_is(permit, PERMIT_STATE, state)) note_time(m, permit, state);
    table_set_text(&m->permits, permit, PERMIT_STATE, state);
}

int memory_permit_intent(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *permit = need_permit(m, "permit.intent", in, err);
    if (!permit) return -1;
    if (!row_is(permit, PERMIT_STATE, "reserved") || !row_is(permit, PERMIT_PROCESS, m->self.id))
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
    const char *remote_id = record_text(in, "remote_id");
    if (!journal_permit_may_follow(row_text(permit, PERMIT_STATE), state))
        return journal_invalid(err, "order", "permit.move: permit %s is %s and cannot become %s",
                               row_text(permit, PERMIT_INTENT_ID), row_text(permit, PERMIT_STATE), state);
    move(m, permit, state, bucket, record_text(in, "amount"));
    table_set_integer(&m->permits, permit, PERMIT_DERIVED, record_integer(in, "derived"));
    table_set_integer(&m->permits, permit, PERMIT_PRESUMED, record_integer(in, "presumed"));
    if (remote_id) table_set_text(&m->permits, permit, PERMIT_REMOTE_ID, remote_id);
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
        move(m, permit, "unknown", "spent", NULL);
        table_set_integer(&m->permits, permit, PERMIT_DERIVED, 0);
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
        if (row_is(permit, PERMIT_BUCKET, "held") && find_booked_line(m, booking) == line)
            journal_sum_add(held, row_text(permit, PERMIT_AMOUNT), 1);
    }
}

/* Lines of windows that are over and in which nothing stands any more. */
void memory_compact_lines(struct memory *m, int64_t before)
{
    const struct row *booking;
    struct row *line;
    for (size_t at = 0; (booking = table_each(&m->bookings, &at));) {
        line = find_booked_line(m, booking);
        if (row_integer(line, LINE_CHANGED_AT) < before)
            table_set_integer(&m->lines, line, LINE_CHANGED_AT, before);
    }
    for (size_t at = 0; (line = table_each(&m->lines, &at));)
        if (!row_is(line, LINE_WINDOW, "total") && row_integer(line, LINE_CHANGED_AT) < before)
            table_remove(&m->lines, line);
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
