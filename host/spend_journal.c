/* spend_journal.c - the store of the program: permits and durable budgets are records of the journal.
 *
 * A reservation is first booked in the budgets that are a script's own, then asked of the journal in one
 * step, with a line for each window of each durable budget; what the journal denies is undone here.  An
 * intent is committed before the kernel hears of it.  Moves are queued in order and not waited for; one that
 * could not be written is tried again, and gives way to a later one of the same permit, which says more.
 *
 * Without a journal that can be written, governed calls are denied, and others go unrecorded, with one
 * warning.  Reading and taking is in spend_journal_ask.c.
 */
#include "host/spend_journal.h"

#include <stdio.h>
#include <string.h>

#include "host/log.h"
#include "host/mem.h"

static const uint64_t FIRST_RETRY_MS = 1000, LAST_RETRY_MS = 4000, PRESUME_EVERY_MS = 60000;

/* ---- asking -------------------------------------------------------------------------------------------- */

struct asked *spend_journal_asked(struct spend_store *store, struct permit *permit)
{
    struct journal_store *js = (struct journal_store *)store;
    struct asked *asked = mem_alloc(sizeof *asked);
    asked->store = js;
    asked->permit = permit;
    list_append(&js->asked, &asked->node);
    return asked;
}

void spend_journal_ask(struct asked *asked, const char *verb, struct record *in, journal_done_fn done)
{
    const struct spend_journal *journal = &asked->store->journal;
    asked->call = journal->call(journal->journal, verb, in, done, asked);
}

void spend_journal_done(struct asked *asked)
{
    list_remove(&asked->node);
    if (asked->waiter) { /* only when the store goes: nobody hears it */
        budget_unref(asked->waiter->budget);
        mem_free(asked->waiter);
    }
    budget_unref(asked->low_budget);
    record_free(asked->kept);
    mem_free(asked->lines);
    mem_free(asked);
}

/* For what nobody waits for: the journal logs a failure. */
static void tell(struct journal_store *js, const char *verb, struct record *in)
{
    js->journal.call(js->journal.journal, verb, in, NULL, NULL);
}

void spend_journal_presume(struct spend_store *store, const struct spend *spend)
{
    struct journal_store *js = (struct journal_store *)store;
    struct clock *clock = timers_clock(js->timers);
    uint64_t now_ms = clock_now_ms(clock);
    if (now_ms < js->presume_at_ms) return;
    js->presume_at_ms = now_ms + PRESUME_EVERY_MS;
    struct record *in = record_new();
    record_set_integer(in, "before", clock_wall_ms(clock) - (int64_t)spend->unknown_after_ms);
    tell(js, "permit.presume", in);
}

void spend_journal_set_amount(struct record *record, const char *name, const struct amount *amount)
{
    char text[AMOUNT_TEXT_SIZE];
    amount_format(amount, text);
    record_set_text(record, name, text);
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static bool same_line(const struct budget_line_at *a, const struct budget *budget,
                      const struct budget_row *row)
{
    const struct budget_row *other = &a->budget->rows[a->row];
    return strcmp(a->budget->name, budget->name) == 0 && other->window == row->window &&
           a->number == row->number && amount_same_currency(&other->limit, &row->limit);
}

/* The tighter of two limits that two budgets of one name set. */
static void tighten(struct budget_line_at *line, const struct budget *budget, size_t row)
{
    const struct budget_row *have = &line->budget->rows[line->row], *new = &budget->rows[row];
    int order;
    if (!new->bounded) return;
    if (have->bounded && amount_compare(&have->limit, &new->limit, &order, NULL) == 0 && order <= 0) return;
    line->budget = budget;
    line->row = row;
}

void spend_journal_add_lines(struct asked *asked, struct budget *budget, const char *currency)
{
    budget_roll(budget);
    asked->lines = mem_realloc(asked->lines, (asked->line_count + budget->row_count) * sizeof *asked->lines);
    size_t before = asked->line_count;
    for (size_t i = 0; i < budget->row_count; i++) {
        const struct budget_row *row = &budget->rows[i];
        if (currency && strcmp(row->limit.currency, currency) != 0) continue;
        size_t same = 0;
        while (same < before && !same_line(&asked->lines[same], budget, row)) same++;
        if (same < before)
            tighten(&asked->lines[same], budget, i);
        else
            asked->lines[asked->line_count++] =
                (struct budget_line_at){.budget = budget, .row = i, .number = row->number};
    }
}

void spend_journal_put_lines(const struct asked *asked, struct record *in)
{
    for (size_t i = 0; i < asked->line_count; i++) {
        const struct budget_line_at *line = &asked->lines[i];
        const struct budget_row *row = &line->budget->rows[line->row];
        struct record *out = record_append(in, "lines");
        record_set_text(out, "budget", line->budget->name);
        record_set_text(out, "window", budget_window_name(row->window));
        record_set_integer(out, "number", line->number);
        record_set_text(out, "currency", row->limit.currency);
        if (row->bounded) spend_journal_set_amount(out, "limit", &row->limit);
    }
}

/* A sum that the journal gives; what is not there is nothing. */
static struct amount read_sum(const struct record *row, const char *name, const char *currency)
{
    struct amount sum = {.low = 0};
    const char *text = record_text(row, name);
    snprintf(sum.currency, sizeof sum.currency, "%s", currency);
    if (text) amount_parse(&sum, text, strlen(text), currency, NULL);
    return sum;
}

void spend_journal_read_line(const struct record *from, struct budget_row *row)
{
    row->held = read_sum(from, "held", row->limit.currency);
    row->unknown = read_sum(from, "unknown", row->limit.currency);
    row->spent = read_sum(from, "spent", row->limit.currency);
}

/* ---- reserve ------------------------------------------------------------------------------------------- */

static void set_if(struct record *record, const char *name, const char *text)
{
    if (text[0]) record_set_text(record, name, text);
}

static struct record *describe(const struct permit *permit)
{
    struct record *in = record_new();
    record_set_text(in, "intent", permit->intent_id);
    record_set_text(in, "operation", permit->operation);
    record_set_text(in, "service", permit->service);
    set_if(in, "account", permit->account);
    set_if(in, "key", permit->key);
    if (permit->priced) spend_journal_set_amount(in, "price", &permit->price);
    record_set_integer(in, "governed", permit->governed);
    set_if(in, "job", permit->job);
    if (permit->attempt) record_set_integer(in, "attempt", permit->attempt);
    set_if(in, "policy", permit->policy);
    set_if(in, "tags", permit->tags);
    set_if(in, "model", permit->model);
    return in;
}

static void undo_own(struct permit *permit)
{
    spend_move_own(permit, BUCKET_HELD, &permit->price, BUCKET_NONE, &permit->price);
}

/* The journal cannot be used: denied if governed; true if it may go all the same. */
static bool without_journal(struct permit *permit, const struct err *err, struct spend_denial *denial)
{
    struct journal_store *js = (struct journal_store *)permit->spend->store;
    if (permit->governed)
        return spend_deny(denial, DENIAL_JOURNAL,
                          "%s is not sent: a limit applies to it, and the journal cannot record it: %s",
                          permit->operation, err->message);
    permit->recorded = false;
    if (js->warned) return true;
    js->warned = true;
    log_write(
        LOG_LEVEL_WARN, "spend.unrecorded", LOG_STR("operation", permit->operation),
        LOG_STR("error", err->message),
        LOG_STR("hint", "this paid call goes without a record, as do those after it: nothing limits them"));
    return true;
}

/* The row of the line, if its window is still the present one. */
static struct budget_row *row_of(const struct permit *permit, const struct budget_line_at *line)
{
    for (size_t i = 0; i < permit->booking_count; i++) {
        struct budget *budget = permit->bookings[i].budget;
        if (budget == line->budget && budget->rows[line->row].number == line->number)
            return &budget->rows[line->row];
    }
    return NULL;
}

/* The first line that said no, in the words of the memory's. */
static bool find_denied(const struct asked *asked, const struct record_list *rows,
                        struct spend_denial *denial)
{
    for (size_t i = 0; i < rows->count && i < asked->line_count; i++) {
        if (!record_integer(rows->items[i], "denied")) continue;
        const struct budget_line_at *line = &asked->lines[i];
        struct budget_row row = line->budget->rows[line->row];
        spend_journal_read_line(rows->items[i], &row);
        budget_deny(line->budget, &row, denial);
        return true;
    }
    return false;
}

/* The figures of the lines, as the journal has them now; lows come of them. */
static void take_lines(const struct asked *asked, const struct record_list *rows)
{
    struct permit *permit = asked->permit;
    for (size_t i = 0; i < rows->count && i < asked->line_count; i++) {
        struct budget_row *row = row_of(permit, &asked->lines[i]);
        if (!row) continue;
        spend_journal_read_line(rows->items[i], row);
        for (size_t k = 0; k < permit->booking_count; k++)
            if (permit->bookings[k].budget == asked->lines[i].budget)
                spend_journal_check_low(permit->spend->store, permit->bookings[k].budget, row);
    }
}

static void reserved_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    struct permit *permit = asked->permit;
    struct spend_denial denial = {.has_price = permit->priced, .price = permit->price};
    bool granted = true;
    permit->recorded = !err;
    if (err) {
        granted = without_journal(permit, err, &denial);
    } else {
        take_lines(asked, rows);
        granted = !find_denied(asked, rows, &denial);
    }
    if (!granted) {
        permit->recorded = false;
        if (permit->priced) undo_own(permit);
    }
    spend_journal_done(asked);
    spend_store_reserved(permit, granted ? NULL : &denial);
}

/* Keeps what the budget is, for those who only know the journal. */
static void note_definition(struct journal_store *js, struct budget *budget)
{
    if (!budget->definition) return;
    struct record *in = record_new();
    record_set_text(in, "space", SPEND_BUDGET_SPACE);
    record_set_text(in, "name", budget->name);
    record_set_text(in, "value", budget->definition);
    tell(js, "store.set", in);
    mem_free(budget->definition);
    budget->definition = NULL;
}

static void journal_reserve(struct spend_store *store, struct permit *permit)
{
    struct spend_denial denial = {.has_price = permit->priced, .price = permit->price};
    if (permit->priced && !spend_reserve_own(permit, &denial)) {
        spend_store_reserved(permit, &denial);
        return;
    }
    spend_journal_presume(store, permit->spend);
    struct asked *asked = spend_journal_asked(store, permit);
    for (size_t i = 0; permit->priced && i < permit->booking_count; i++) {
        struct budget *budget = permit->bookings[i].budget;
        if (!budget->durable) continue;
        note_definition((struct journal_store *)store, budget);
        spend_journal_add_lines(asked, budget, permit->price.currency);
    }
    struct record *in = describe(permit);
    spend_journal_put_lines(asked, in);
    spend_journal_ask(asked, "permit.reserve", in, reserved_cb);
}

/* ---- intent -------------------------------------------------------------------------------------------- */

static void recorded_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    struct permit *permit = asked->permit;
    struct spend_denial denial = {.has_price = false};
    bool goes = !err || without_journal(permit, err, &denial);
    (void)rows;
    spend_journal_done(asked);
    spend_store_recorded(permit, goes ? NULL : &denial.err);
}

static void journal_intent(struct spend_store *store, struct permit *permit)
{
    if (!permit->recorded) {
        spend_store_recorded(permit, NULL);
        return;
    }
    struct record *in = record_new();
    record_set_text(in, "intent", permit->intent_id);
    spend_journal_ask(spend_journal_asked(store, permit), "permit.intent", in, recorded_cb);
}

/* ---- move ---------------------------------------------------------------------------------------------- */

/* What the journal calls the permit's state; a permit that gives back before it was sent is released. */
static const char *move_state(const struct permit *permit)
{
    switch (permit->state) {
    case PERMIT_SENT:
    case PERMIT_UNKNOWN:
    case PERMIT_CREATED:
    case PERMIT_SETTLED: return permit_state_name(permit->state);
    default: return permit_state_name(PERMIT_RELEASED);
    }
}

static const char *bucket_name(enum spend_bucket bucket)
{
    static const char *const names[] = {"none", "held", "unknown", "spent"};
    return names[bucket];
}

static void retry_cb(struct timer *timer);

/* A later move of the same permit stands for all before it. */
static void forget_backlog(struct journal_store *js, const char *intent)
{
    struct list_node *next;
    for (struct list_node *n = js->backlog.next; n != &js->backlog; n = next) {
        struct asked *old = LIST_ENTRY(n, struct asked, node);
        next = n->next;
        if (strcmp(record_text(old->kept, "intent"), intent) == 0) spend_journal_done(old);
    }
}

/* True while a later move of the same permit is with the journal; answers come in order. */
static bool is_outdated(const struct journal_store *js, const char *intent)
{
    for (const struct list_node *n = js->asked.next; n != &js->asked; n = n->next) {
        const struct asked *other = LIST_ENTRY(n, struct asked, node);
        if (other->kept && strcmp(record_text(other->kept, "intent"), intent) == 0) return true;
    }
    return false;
}

static void moved_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct asked *asked = ctx;
    struct journal_store *js = asked->store;
    const char *intent = record_text(asked->kept, "intent");
    (void)rows;
    asked->call = NULL;
    list_remove(&asked->node);
    if (!err || err->kind == ERR_INVALID) {
        if (err)
            log_write(LOG_LEVEL_ERROR, "spend.move_refused", LOG_STR("intent", intent),
                      LOG_STR("state", record_text(asked->kept, "state")), LOG_STR("error", err->message));
        if (!err) js->retry_ms = FIRST_RETRY_MS;
        spend_journal_done(asked);
        if (err || list_first(&js->backlog) == NULL) return;
        timer_start_background(js->timers, &js->retry, 0, retry_cb); /* it can be written again */
        return;
    }
    if (is_outdated(js, intent)) {
        spend_journal_done(asked);
        return;
    }
    list_append(&js->backlog, &asked->node);
    if (timer_active(&js->retry)) return;
    if (js->retry_ms == FIRST_RETRY_MS) /* once for each time that it cannot be written */
        log_write(
            LOG_LEVEL_WARN, "spend.record_late", LOG_STR("error", err->message),
            LOG_STR("hint", "what was sent is known to this process only, until the journal can be written"));
    timer_start_background(js->timers, &js->retry, js->retry_ms, retry_cb);
    js->retry_ms = 2 * js->retry_ms < LAST_RETRY_MS ? 2 * js->retry_ms : LAST_RETRY_MS;
}

static void send_move(struct asked *asked)
{
    spend_journal_ask(asked, "permit.move", record_copy(asked->kept), moved_cb);
}

/* The oldest alone: if it can be written, the rest follows. */
static void retry_cb(struct timer *timer)
{
    struct journal_store *js = LIST_ENTRY(timer, struct journal_store, retry);
    struct list_node *node = list_pop(&js->backlog);
    if (!node) return;
    list_append(&js->asked, node);
    send_move(LIST_ENTRY(node, struct asked, node));
}

static void journal_move(struct spend_store *store, struct permit *permit, enum spend_bucket from,
                         const struct amount *was, enum spend_bucket to, const struct amount *now)
{
    spend_move_own(permit, from, was, to, now);
    if (!permit->recorded) return;
    struct record *in = record_new();
    record_set_text(in, "intent", permit->intent_id);
    record_set_text(in, "state", move_state(permit));
    record_set_text(in, "bucket", bucket_name(to));
    if (to != BUCKET_NONE) {
        spend_journal_set_amount(in, "amount", now);
        record_set_integer(in, "derived", permit->part.derived);
        record_set_integer(in, "presumed", permit->part.presumed);
    }
    if (permit->remote_id) record_set_text(in, "remote_id", permit->remote_id);
    forget_backlog((struct journal_store *)store,
                   permit->intent_id); /* else it might be written after this */
    struct asked *asked = spend_journal_asked(store, NULL);
    asked->kept = in;
    send_move(asked);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

/* Permits may be gone already: nothing of them is looked at. */
static void journal_free_store(struct spend_store *store)
{
    struct journal_store *js = (struct journal_store *)store;
    struct list_node *node;
    timer_stop(js->timers, &js->retry);
    while ((node = list_first(&js->asked))) {
        struct asked *asked = LIST_ENTRY(node, struct asked, node);
        if (asked->claims_low) spend_tell_low(asked->low_budget->spend, &asked->low); /* nobody else would */
        if (asked->call) js->journal.abandon(asked->call);
        spend_journal_done(asked);
    }
    while ((node = list_first(&js->backlog))) {
        struct asked *asked = LIST_ENTRY(node, struct asked, node);
        log_write(LOG_LEVEL_ERROR, "spend.record_lost", LOG_STR("intent", record_text(asked->kept, "intent")),
                  LOG_STR("state", record_text(asked->kept, "state")),
                  LOG_STR("amount", record_text(asked->kept, "amount")));
        spend_journal_done(asked);
    }
    mem_free(js);
}

struct spend_store *spend_journal_store_new(const struct spend_journal *journal, struct timers *timers)
{
    static const struct spend_store_type type = {.reserve = journal_reserve,
                                                 .intent = journal_intent,
                                                 .move = journal_move,
                                                 .free = journal_free_store,
                                                 .read = spend_journal_read,
                                                 .count = spend_journal_count,
                                                 .take = spend_journal_take};
    struct journal_store *js = mem_alloc(sizeof *js);
    js->base.type = &type;
    js->journal = *journal;
    js->timers = timers;
    js->retry_ms = FIRST_RETRY_MS;
    list_init(&js->asked);
    list_init(&js->backlog);
    return &js->base;
}
