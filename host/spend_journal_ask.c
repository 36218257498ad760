/* spend_journal_ask.c - what the journal's store reads: figures of durable budgets, permits of processes
 * that have ended, and whether a low was told already. */
#include "host/spend_journal.h"

#include <stdio.h>
#include <string.h>

#include "host/mem.h"

/* ---- figures ------------------------------------------------------------------------------------------- */

/* The answer of a call that brings no permit. */
static void answer(struct asked *asked, struct permit *permit, const struct err *err)
{
    struct spend_call *call = asked->waiter;
    asked->waiter = NULL;
    spend_journal_done(asked);
    spend_store_answered(call, permit, err);
}

static void lines_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    struct budget *budget = asked->waiter->budget;
    for (size_t i = 0; !err && i < rows->count && i < asked->line_count; i++) {
        struct budget_row *row = &budget->rows[asked->lines[i].row];
        if (row->number == asked->lines[i].number) spend_journal_read_line(rows->items[i], row);
    }
    answer(asked, NULL, err);
}

void spend_journal_read(struct spend_store *store, struct spend_call *call)
{
    struct record *in = record_new();
    spend_journal_presume(store, call->spend);
    struct asked *asked = spend_journal_asked(store, NULL);
    asked->waiter = call;
    spend_journal_add_lines(asked, call->budget, NULL);
    spend_journal_put_lines(asked, in);
    spend_journal_ask(asked, "budget.lines", in, lines_cb);
}

static void counted_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    (void)rows;
    answer(ctx, NULL, err);
}

void spend_journal_count(struct spend_store *store, struct spend_call *call)
{
    struct record *in = record_new();
    struct asked *asked = spend_journal_asked(store, NULL);
    asked->waiter = call;
    spend_journal_add_lines(asked, call->budget, call->amount.currency);
    size_t kept = 0; /* only the windows that hold its time; the lines are this budget's alone */
    for (size_t i = 0; i < asked->line_count; i++) {
        const struct budget_row *row = &call->budget->rows[asked->lines[i].row];
        if (budget_window_number(call->budget, row->window, call->wall_ms) == row->number)
            asked->lines[kept++] = asked->lines[i];
    }
    asked->line_count = kept;
    spend_journal_put_lines(asked, in);
    spend_journal_set_amount(in, "amount", &call->amount);
    record_set_integer(in, "unknown", call->unknown);
    spend_journal_ask(asked, "budget.count", in, counted_cb);
}

/* ---- permits of processes that have ended ---------------------------------------------------------------
 */

static bool read_amount(const struct record *row, const char *name, struct amount *out)
{
    const char *text = record_text(row, name);
    return text && amount_parse(out, text, strlen(text), NULL, NULL) == 0;
}

static enum spend_bucket read_bucket(const char *name)
{
    if (name && strcmp(name, "held") == 0) return BUCKET_HELD;
    if (name && strcmp(name, "unknown") == 0) return BUCKET_UNKNOWN;
    if (name && strcmp(name, "spent") == 0) return BUCKET_SPENT;
    return BUCKET_NONE;
}

static const char *text_or_empty(const struct record *row, const char *name)
{
    const char *text = record_text(row, name);
    return text ? text : "";
}

static struct permit *restore(struct spend *spend, const struct record *row, struct err *err)
{
    const char *state = text_or_empty(row, "state"), *intent = text_or_empty(row, "intent");
    bool unknown = strcmp(state, "unknown") == 0;
    if (!unknown && strcmp(state, "created") != 0) {
        err_set(err, ERR_INVALID, "the permit of intent %s is %s: nothing about it is open", intent, state);
        err_set_code(err, "order");
        return NULL;
    }
    struct spend_request request = {.operation = text_or_empty(row, "operation"),
                                    .service = text_or_empty(row, "service"),
                                    .account = record_text(row, "account"),
                                    .key = record_text(row, "key"),
                                    .job = record_text(row, "job"),
                                    .policy = record_text(row, "policy"),
                                    .tags = record_text(row, "tags"),
                                    .model = record_text(row, "model"),
                                    .attempt = record_integer(row, "attempt")};
    struct spend_part part = {.derived = record_integer(row, "derived") != 0,
                              .presumed = record_integer(row, "presumed") != 0};
    struct amount booked;
    request.priced = read_amount(row, "price", &request.price);
    enum spend_bucket bucket = read_bucket(record_text(row, "bucket"));
    bool stands = bucket != BUCKET_NONE && read_amount(row, "amount", &booked);
    return permit_restore(spend, &request, intent, unknown ? PERMIT_UNKNOWN : PERMIT_CREATED, bucket,
                          stands ? &booked : NULL, part, record_text(row, "remote_id"));
}

static void taken_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    struct spend *spend = asked->waiter->spend;
    struct permit *permit = NULL;
    struct err problem;
    if (!err && rows->count == 0) {
        err_set(&problem, ERR_INVALID, "no permit has the intent %s", asked->waiter->intent_id);
        err_set_code(&problem, "not_found");
        err = &problem;
    } else if (!err) {
        permit = restore(spend, rows->items[0], &problem);
        if (!permit) err = &problem;
    }
    answer(asked, permit, err);
}

void spend_journal_take(struct spend_store *store, struct spend_call *call)
{
    struct record *in = record_new();
    struct asked *asked = spend_journal_asked(store, NULL);
    asked->waiter = call;
    record_set_text(in, "intent", call->intent_id);
    spend_journal_ask(asked, "permit.take", in, taken_cb);
}

/* ---- lows: once for each limit and window, whichever process sees it first --------------------------------
 */

static struct record *low_record(const struct asked *asked)
{
    const struct budget_low *low = &asked->low;
    char limit[AMOUNT_TEXT_SIZE], name[256];
    struct record *in = record_new();
    amount_format(&low->limit, limit);
    snprintf(name, sizeof name, "%s|%s|%s", low->budget, budget_window_name(low->window), limit);
    record_set_text(in, "space", SPEND_LOW_SPACE);
    record_set_text(in, "name", name);
    return in;
}

/* Told unless another process was quicker; what cannot be known is told. */
static void claimed_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    (void)rows;
    if (!err || err->kind != ERR_INVALID) spend_tell_low(asked->low_budget->spend, &asked->low);
    spend_journal_done(asked);
}

static void known_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    char number[24];
    int64_t version = 0;
    snprintf(number, sizeof number, "%lld", (long long)asked->low_number);
    if (!err && rows->count > 0) {
        if (strcmp(text_or_empty(rows->items[0], "value"), number) == 0) {
            spend_journal_done(asked);
            return;
        }
        version = record_integer(rows->items[0], "version");
    }
    struct record *in = low_record(asked);
    record_set_text(in, "value", number);
    record_set_integer(in, "version", version);
    asked->claims_low = true;
    spend_journal_ask(asked, "store.set", in, claimed_cb);
}

void spend_journal_check_low(struct spend_store *store, struct budget *budget, struct budget_row *row)
{
    struct budget_low low;
    if (!budget_is_low(budget, row, &low)) return;
    struct asked *asked = spend_journal_asked(store, NULL);
    asked->low_budget = budget_ref(budget);
    asked->low = low;
    asked->low_number = row->number;
    spend_journal_ask(asked, "store.get", low_record(asked), known_cb);
}
