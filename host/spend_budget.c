/* spend_budget.c - budgets: calendar windows and what stands against each limit. */
#include "host/spend_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/log.h"
#include "host/mem.h"

enum { HOUR_S = 3600, DAY_S = 86400 };

static const char *const window_names[] = {"total", "hour", "day", "week", "month"};

const char *budget_window_name(enum budget_window window)
{
    return window_names[window];
}

void spend_sum_add(struct amount *sum, const struct amount *amount, int sign)
{
    struct amount change = *amount;
    if (sign < 0) amount_negate(&change, amount);
    if (amount_add(sum, sum, &change, NULL) == 0) return;
    assert(amount_same_currency(sum, amount));
    sum->low = UINT64_MAX;
    sum->high = INT64_MAX;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* What the zone adds to UTC at that moment. */
static int64_t offset_at(const struct budget *budget, int64_t s)
{
    size_t i = budget->offset_count;
    while (i > 1 && budget->offsets[i - 1].from_s > s) i--;
    return i > 0 ? budget->offsets[i - 1].offset_s : 0;
}

int64_t budget_window_number(const struct budget *budget, enum budget_window window, int64_t now_ms)
{
    int64_t utc = floor_div(now_ms, 1000), offset = offset_at(budget, utc), s = utc + offset;
    time_t when = (time_t)s;
    struct tm tm;
    switch (window) {
    case BUDGET_HOUR:
        return floor_div(utc + offset % HOUR_S, HOUR_S); /* each hour once, clocks changed or not */
    case BUDGET_DAY: return floor_div(s, DAY_S);
    case BUDGET_WEEK: return floor_div(floor_div(s, DAY_S) + 3, 7); /* 1970 began on a Thursday */
    case BUDGET_MONTH:
        if (!gmtime_r(&when, &tm)) return 0;
        return ((int64_t)tm.tm_year - 70) * 12 + tm.tm_mon;
    default: return 0;
    }
}

static int64_t wall_ms(const struct budget *budget)
{
    return clock_wall_ms(timers_clock(budget->spend->timers));
}

static struct amount nothing_in(const struct budget_row *row)
{
    struct amount zero = {.low = 0};
    memcpy(zero.currency, row->limit.currency, sizeof zero.currency);
    return zero;
}

void budget_roll(struct budget *budget)
{
    int64_t now_ms = wall_ms(budget);
    for (size_t i = 0; i < budget->row_count; i++) {
        struct budget_row *row = &budget->rows[i];
        int64_t number = budget_window_number(budget, row->window, now_ms);
        if (number <= row->number) continue;
        row->number = number;
        row->held = row->unknown = row->spent = nothing_in(row);
        row->warned = false;
    }
}

static struct budget_row *find_row(struct budget *budget, enum budget_window window, const char *currency)
{
    for (size_t i = 0; i < budget->row_count; i++) {
        struct budget_row *row = &budget->rows[i];
        if (row->window == window && strcmp(row->limit.currency, currency) == 0) return row;
    }
    return NULL;
}

static struct budget_row *add_row(struct budget *budget, enum budget_window window, const char *currency)
{
    struct budget_row *row = &budget->rows[budget->row_count++];
    row->window = window;
    memcpy(row->limit.currency, currency, AMOUNT_CURRENCY_SIZE);
    row->held = row->unknown = row->spent = row->limit;
    row->number = budget_window_number(budget, window, wall_ms(budget));
    return row;
}

static int check_spec(const struct budget_spec *spec, struct err *err)
{
    if (spec->limit_count == 0) return err_set(err, ERR_INVALID, "a budget needs at least one limit");
    if (spec->limit_count > BUDGET_LIMITS_MAX)
        return err_set(err, ERR_INVALID, "a budget takes at most %d limits", BUDGET_LIMITS_MAX);
    if (spec->zone && strlen(spec->zone) > BUDGET_NAME_MAX)
        return err_set(err, ERR_INVALID, "a budget's time zone has at most %d bytes", BUDGET_NAME_MAX);
    if (spec->durable && (!spec->name || spec->name[0] == '\0'))
        return err_set(err, ERR_INVALID, "a budget without a name cannot be kept");
    if (spec->warn_percent < 0 || spec->warn_percent > 100)
        return err_set(err, ERR_INVALID, "a budget warns at a share between 0 and 1");
    if (spec->name && strlen(spec->name) > BUDGET_NAME_MAX)
        return err_set(err, ERR_INVALID, "a budget's name has at most %d bytes", BUDGET_NAME_MAX);
    for (size_t i = 0; i < spec->limit_count; i++)
        if (amount_sign(&spec->limits[i].amount) < 0)
            return err_set(err, ERR_INVALID, "a budget's limit (%s) is negative",
                           budget_window_name(spec->limits[i].window));
    return 0;
}

struct budget *budget_new(struct spend *spend, const struct budget_spec *spec, struct err *err)
{
    if (check_spec(spec, err) < 0) return NULL;
    struct budget *budget = mem_alloc(sizeof *budget);
    budget->refs = 1;
    budget->spend = spend;
    if (spec->name) memcpy(budget->name, spec->name, strlen(spec->name));
    snprintf(budget->zone, sizeof budget->zone, "%s", spec->zone ? spec->zone : "UTC");
    budget->offsets = mem_dup(spec->offsets, spec->offset_count * sizeof *spec->offsets);
    budget->offset_count = spec->offset_count;
    budget->warn_percent = spec->warn_percent;
    budget->group = spec->group;
    budget->durable = spec->durable && spend_is_durable(spend);
    if (budget->durable && spec->definition) budget->definition = mem_strdup(spec->definition);
    budget->rows = mem_alloc_array(2 * spec->limit_count, sizeof *budget->rows);
    for (size_t i = 0; i < spec->limit_count; i++) {
        const struct budget_limit *limit = &spec->limits[i];
        const char *currency = limit->amount.currency;
        if (!find_row(budget, BUDGET_TOTAL, currency)) add_row(budget, BUDGET_TOTAL, currency);
        struct budget_row *row = find_row(budget, limit->window, currency);
        if (row && row->bounded) {
            err_set(err, ERR_INVALID, "a budget has two limits for one %s in %s",
                    budget_window_name(limit->window), currency);
            budget_unref(budget);
            return NULL;
        }
        if (!row) row = add_row(budget, limit->window, currency);
        row->bounded = true;
        row->limit = limit->amount;
    }
    return budget;
}

struct budget *budget_ref(struct budget *budget)
{
    budget->refs++;
    return budget;
}

void budget_unref(struct budget *budget)
{
    if (!budget || --budget->refs > 0) return;
    mem_free(budget->rows);
    mem_free(budget->offsets);
    mem_free(budget->definition);
    mem_free(budget);
}

bool budget_is_of(const struct budget *budget, const struct spend *spend)
{
    return budget->spend == spend;
}

const char *budget_name(const struct budget *budget)
{
    return budget->name;
}

const char *budget_zone(const struct budget *budget)
{
    return budget->zone;
}

bool budget_is_durable(const struct budget *budget)
{
    return budget->durable;
}

size_t budget_line_count(const struct budget *budget)
{
    return budget->row_count;
}

static struct amount used_of(const struct budget_row *row)
{
    struct amount used = row->held;
    spend_sum_add(&used, &row->unknown, 1);
    spend_sum_add(&used, &row->spent, 1);
    return used;
}

/* At least nothing: a charge above its price may have used more than the limit. */
static struct amount left_of(const struct budget_row *row)
{
    struct amount left = row->limit, used = used_of(row);
    spend_sum_add(&left, &used, -1);
    return amount_sign(&left) > 0 ? left : nothing_in(row);
}

struct budget_line budget_line(struct budget *budget, size_t index)
{
    assert(index < budget->row_count);
    permit_presume_due(budget->spend);
    budget_roll(budget);
    const struct budget_row *row = &budget->rows[index];
    return (struct budget_line){.window = row->window,
                                .bounded = row->bounded,
                                .limit = row->limit,
                                .held = row->held,
                                .unknown = row->unknown,
                                .spent = row->spent,
                                .left = row->bounded ? left_of(row) : nothing_in(row)};
}

bool spend_deny(struct spend_denial *denial, enum spend_denial_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(denial->err.message, sizeof denial->err.message, format, args);
    va_end(args);
    denial->err.kind = ERR_DENIED;
    snprintf(denial->err.code, sizeof denial->err.code, "%s", spend_denial_name(code));
    return false;
}

/* "(day, Asia/Shanghai)"; a total has no zone. */
static void put_window(const struct budget *budget, enum budget_window window, char out[96])
{
    const char *zone = window == BUDGET_TOTAL ? NULL : budget->zone;
    snprintf(out, 96, "(%s%s%s)", budget_window_name(window), zone ? ", " : "", zone ? zone : "");
}

/* 'the limit (day, UTC) of budget "demo"', or what bounds a group of attempts. */
static void describe_row(const struct budget *budget, const struct budget_row *row, char out[192])
{
    char window[96];
    put_window(budget, row->window, window);
    if (budget->group)
        snprintf(out, 192, "max_cost over all attempts");
    else if (budget->name[0] == '\0')
        snprintf(out, 192, "the budget's limit %s", window);
    else
        snprintf(out, 192, "the limit %s of budget \"%s\"", window, budget->name);
}

bool budget_deny(const struct budget *budget, const struct budget_row *row, struct spend_denial *denial)
{
    char price[AMOUNT_TEXT_SIZE], limit[AMOUNT_TEXT_SIZE], left[AMOUNT_TEXT_SIZE], what[192];
    denial->has_limit = true;
    denial->limit = row->limit;
    denial->left = left_of(row);
    denial->window = row->window;
    memcpy(denial->budget, budget->name, sizeof denial->budget);
    amount_format(&denial->price, price);
    amount_format(&row->limit, limit);
    amount_format(&denial->left, left);
    describe_row(budget, row, what);
    return spend_deny(denial, budget->group ? DENIAL_MAX_COST : DENIAL_OVER_BUDGET,
                      "the price %s does not fit: %s is %s, and %s is left", price, what, limit, left);
}

bool budget_check_currency(const struct budget *budget, const struct amount *price,
                           struct spend_denial *denial)
{
    for (size_t i = 0; i < budget->row_count; i++)
        if (budget->rows[i].bounded && amount_same_currency(&budget->rows[i].limit, price)) return true;
    memcpy(denial->budget, budget->name, sizeof denial->budget);
    return spend_deny(denial, DENIAL_CURRENCY, "%s%s%s has no limit in %s, the currency of the price",
                      budget->group ? "max_cost" : "the budget", budget->name[0] ? " " : "", budget->name,
                      price->currency);
}

bool budget_check(struct budget *budget, const struct amount *price, struct spend_denial *denial)
{
    if (!budget_check_currency(budget, price, denial)) return false;
    budget_roll(budget);
    for (size_t i = 0; i < budget->row_count; i++) {
        const struct budget_row *row = &budget->rows[i];
        if (!row->bounded || !amount_same_currency(&row->limit, price)) continue;
        struct amount left = left_of(row);
        int order;
        if (amount_compare(price, &left, &order, NULL) < 0 || order > 0)
            return budget_deny(budget, row, denial);
    }
    return true;
}

void budget_enter(struct budget *budget, struct booking *booking)
{
    budget_roll(budget);
    booking->budget = budget;
    for (size_t i = 0; i < budget->row_count; i++)
        booking->number[budget->rows[i].window] = budget->rows[i].number;
}

bool budget_is_low(struct budget *budget, struct budget_row *row, struct budget_low *low)
{
    if (budget->warn_percent == 0 || row->warned || !row->bounded) return false;
    struct amount used = used_of(row), mark;
    char share[16];
    int order;
    snprintf(share, sizeof share, "%d.%02d", budget->warn_percent / 100, budget->warn_percent % 100);
    if (amount_mul(&mark, &row->limit, share, strlen(share), AMOUNT_UP, NULL) < 0) return false;
    if (amount_compare(&used, &mark, &order, NULL) < 0 || order < 0) return false;
    row->warned = true;
    *low = (struct budget_low){.window = row->window, .used = used, .limit = row->limit};
    memcpy(low->budget, budget->name, sizeof low->budget);
    memcpy(low->zone, budget->zone, sizeof low->zone);
    return true;
}

void budget_book(const struct booking *booking, enum spend_bucket bucket, const struct amount *amount,
                 int sign)
{
    struct budget *budget = booking->budget;
    if (bucket == BUCKET_NONE) return;
    budget_roll(budget);
    for (size_t i = 0; i < budget->row_count; i++) {
        struct budget_row *row = &budget->rows[i];
        if (!amount_same_currency(&row->limit, amount)) continue;
        if (row->number != booking->number[row->window]) continue;
        struct amount *sum = bucket == BUCKET_HELD      ? &row->held
                             : bucket == BUCKET_UNKNOWN ? &row->unknown
                                                        : &row->spent;
        spend_sum_add(sum, amount, sign);
        struct budget_low low;
        if (sign > 0 && budget_is_low(budget, row, &low)) spend_tell_low(budget->spend, &low);
    }
}

int budget_count(struct budget *budget, const struct amount *amount, int64_t then_ms, bool unknown,
                 struct err *err)
{
    if (amount_sign(amount) < 0)
        return err_set(err, ERR_INVALID, "what a budget is to count cannot be negative");
    struct booking booking = {.budget = budget};
    budget_roll(budget);
    for (size_t i = 0; i < budget->row_count; i++) {
        enum budget_window window = budget->rows[i].window;
        booking.number[window] = budget_window_number(budget, window, then_ms);
    }
    budget_book(&booking, unknown ? BUCKET_UNKNOWN : BUCKET_SPENT, amount, 1);
    return 0;
}
