/* journal_memory_report.c - what was spent on what, in memory: permits that are there, and totals of those
 * that went. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/journal_memory.h"

/* What is left of permits that went: for ever. */
enum {
    DAILY_DAY,
    DAILY_SERVICE,
    DAILY_OPERATION,
    DAILY_POLICY,
    DAILY_TAGS,
    DAILY_CURRENCY,
    DAILY_SPENT,
    DAILY_DERIVED,
    DAILY_PRESUMED,
    DAILY_PERMITS
};

const struct table_schema memory_daily = {
    .name = "daily",
    .columns = {"day", "service", "operation", "policy", "tags", "currency", "spent", "derived", "presumed",
                "permits"},
    .indexes = {{DAILY_DAY, -1}},
    .index_count = 1,
};

enum { RATIO_SERVICE, RATIO_MODEL, RATIO_CURRENCY, RATIO_COUNT, RATIO_ESTIMATE, RATIO_ACTUAL };

const struct table_schema memory_ratios = {
    .name = "ratios",
    .columns = {"service", "model", "currency", "count", "estimate", "actual"},
    .indexes = {{RATIO_SERVICE, RATIO_MODEL, RATIO_CURRENCY, -1}},
    .index_count = 1,
};

enum {
    GROUP_NAMED, /* "+" or "-": a row that has nothing in the first column of an index is not in it */
    GROUP_GROUP,
    GROUP_CURRENCY,
    GROUP_HELD,
    GROUP_UNKNOWN,
    GROUP_SPENT,
    GROUP_DERIVED,
    GROUP_PRESUMED,
    GROUP_PERMITS
};

static const struct table_schema group_schema = {
    .name = "groups",
    .columns = {"named", "group", "currency", "held", "unknown", "spent", "derived", "presumed", "permits"},
    .indexes = {{GROUP_NAMED, GROUP_GROUP, GROUP_CURRENCY, -1}},
    .index_count = 1,
};

/* A permit, or the totals of several that went; NULL is nothing. */
struct entry {
    int64_t at;
    const char *job, *policy, *tags, *service, *operation, *currency;
    const char *sums[GROUP_PRESUMED + 1]; /* by group column */
    int64_t permits;
};

static struct cell text_cell(const char *text)
{
    if (!text) return (struct cell){.type = RECORD_NONE};
    return (struct cell){.text = (char *)text, .number = (int64_t)strlen(text), .type = RECORD_TEXT};
}

/* The currency of an amount's text, which is its end. */
static const char *currency_of(const char *amount)
{
    const char *blank = amount ? strchr(amount, ' ') : NULL;
    return blank ? blank + 1 : NULL;
}

static void add_sum(struct table *table, struct row *row, int column, const char *currency,
                    const char *amount)
{
    struct amount sum;
    char text[AMOUNT_TEXT_SIZE];
    if (!currency) return;
    amount_zero(&sum, currency, NULL);
    journal_sum_add(&sum, row_text(row, column), 1);
    journal_sum_add(&sum, amount, 1);
    amount_format(&sum, text);
    table_set_text(table, row, column, text);
}

static void add_count(struct table *table, struct row *row, int column, int64_t count)
{
    table_set_integer(table, row, column, row_integer(row, column) + count);
}

static struct entry permit_entry(const struct row *permit)
{
    const char *amount = row_text(permit, PERMIT_AMOUNT), *price = row_text(permit, PERMIT_PRICE);
    struct entry entry = {.at = row_integer(permit, PERMIT_RESERVED_AT),
                          .job = row_text(permit, PERMIT_JOB),
                          .policy = row_text(permit, PERMIT_POLICY),
                          .tags = row_text(permit, PERMIT_TAGS),
                          .service = row_text(permit, PERMIT_SERVICE),
                          .operation = row_text(permit, PERMIT_OPERATION),
                          .currency = currency_of(amount ? amount : price),
                          .permits = 1};
    switch (journal_bucket_parse(row_text(permit, PERMIT_BUCKET))) {
    case JOURNAL_NONE: break;
    case JOURNAL_HELD: entry.sums[GROUP_HELD] = amount; break;
    case JOURNAL_UNKNOWN: entry.sums[GROUP_UNKNOWN] = amount; break;
    case JOURNAL_SPENT:
        entry.sums[GROUP_SPENT] = amount;
        if (row_integer(permit, PERMIT_DERIVED)) entry.sums[GROUP_DERIVED] = amount;
        if (row_integer(permit, PERMIT_PRESUMED)) entry.sums[GROUP_PRESUMED] = amount;
        break;
    }
    return entry;
}

static struct entry daily_entry(const struct row *daily)
{
    return (struct entry){.at = row_integer(daily, DAILY_DAY) * JOURNAL_DAY_MS,
                          .policy = row_text(daily, DAILY_POLICY),
                          .tags = row_text(daily, DAILY_TAGS),
                          .service = row_text(daily, DAILY_SERVICE),
                          .operation = row_text(daily, DAILY_OPERATION),
                          .currency = row_text(daily, DAILY_CURRENCY),
                          .sums = {[GROUP_SPENT] = row_text(daily, DAILY_SPENT),
                                   [GROUP_DERIVED] = row_text(daily, DAILY_DERIVED),
                                   [GROUP_PRESUMED] = row_text(daily, DAILY_PRESUMED)},
                          .permits = row_integer(daily, DAILY_PERMITS)};
}

/* ---- the tags of a permit: a JSON list of texts ----------------------------------------------------------
 */

static void put_escape(const char **at, struct buf *tag)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    char c = *(*at)++;
    const char *name = c ? strchr(names, c) : NULL;
    if (name) {
        buf_putc(tag, bytes[name - names]);
    } else if (c != 'u') {
        buf_putc(tag, c);
    } else { /* the printer of ours escapes control bytes only */
        char digits[5] = {0};
        memcpy(digits, *at, strnlen(*at, 4));
        *at += strlen(digits);
        buf_putc(tag, (char)strtoul(digits, NULL, 16));
    }
}

/* The next text of the list, or false at its end. */
static bool next_tag(const char **at, struct buf *tag)
{
    const char *start = strchr(*at, '"');
    buf_clear(tag);
    if (!start) return false;
    for (*at = start + 1; **at && **at != '"';) {
        char c = *(*at)++;
        if (c == '\\' && **at)
            put_escape(at, tag);
        else
            buf_putc(tag, c);
    }
    if (**at) ++*at;
    return true;
}

/* ---- spend.report ----------------------------------------------------------------------------------------
 */

static struct row *group_of(struct table *groups, const char *group, const char *currency)
{
    struct cell key[] = {text_cell(group ? "+" : "-"), text_cell(group), text_cell(currency)};
    struct row *row = table_find(groups, 0, key);
    if (row) return row;
    row = table_add(groups, NULL);
    table_set_text(groups, row, GROUP_NAMED, key[0].text);
    table_set_text(groups, row, GROUP_GROUP, group);
    table_set_text(groups, row, GROUP_CURRENCY, currency);
    return row;
}

static void count_entry(struct table *groups, const char *group, const struct entry *entry)
{
    struct row *row = group_of(groups, group, entry->currency);
    for (int column = GROUP_HELD; column <= GROUP_PRESUMED; column++)
        add_sum(groups, row, column, entry->currency, entry->sums[column]);
    add_count(groups, row, GROUP_PERMITS, entry->permits);
}

/* In each of its tags. */
static void count_tags(struct table *groups, const struct entry *entry)
{
    const char *at = entry->tags;
    struct buf tag = {0};
    while (at && next_tag(&at, &tag)) count_entry(groups, buf_str(&tag), entry);
    buf_deinit(&tag);
}

static void count_day(struct table *groups, const struct entry *entry)
{
    char day[16];
    time_t seconds = (time_t)(entry->at / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y-%m-%d", &tm);
    count_entry(groups, day, entry);
}

/* What has no price has nothing to report. */
static void count_by(struct table *groups, const char *by, const struct entry *entry)
{
    if (!entry->currency) return;
    if (strcmp(by, "tag") == 0)
        count_tags(groups, entry);
    else if (strcmp(by, "day") == 0)
        count_day(groups, entry);
    else
        count_entry(groups,
                    strcmp(by, "policy") == 0      ? entry->policy
                    : strcmp(by, "job") == 0       ? entry->job
                    : strcmp(by, "service") == 0   ? entry->service
                    : strcmp(by, "operation") == 0 ? entry->operation
                                                   : NULL,
                    entry);
}

static int compare_texts(const struct record *a, const struct record *b, const char *field)
{
    const char *left = record_text(a, field), *right = record_text(b, field);
    return strcmp(left ? left : "", right ? right : "");
}

static int by_group(const void *a, const void *b)
{
    const struct record *left = *(struct record *const *)a, *right = *(struct record *const *)b;
    int order = compare_texts(left, right, "group");
    return order ? order : compare_texts(left, right, "currency");
}

static void put_groups(struct table *groups, struct record_list *out)
{
    struct row *row;
    for (size_t at = 0; (row = table_each(groups, &at));) {
        table_clear(groups, row, GROUP_NAMED);
        table_put(groups, row, record_list_add(out));
    }
}

int memory_spend_report(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const char *by = record_text(in, "by");
    bool ends = record_type(in, "until") != RECORD_NONE;
    int64_t since = record_integer(in, "since"), until = ends ? record_integer(in, "until") : INT64_MAX;
    struct table groups;
    const struct row *row;
    table_init(&groups, &group_schema);
    for (size_t at = 0; (row = table_each(&m->permits, &at));) {
        struct entry entry = permit_entry(row);
        if (row_is(row, PERMIT_STATE, "released") || entry.at < since || entry.at >= until) continue;
        count_by(&groups, by, &entry);
    }
    for (size_t at = 0; (row = table_each(&m->daily, &at));) {
        struct entry entry = daily_entry(row);
        if (entry.at >= since && entry.at < until) count_by(&groups, by, &entry);
    }
    put_groups(&groups, out);
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_group);
    table_deinit(&groups);
    return 0;
}

/* ---- ratio.list ------------------------------------------------------------------------------------------
 */

/* What was charged beside what was estimated: of reported charges alone. */
static bool is_reported(const struct row *permit)
{
    const char *price = currency_of(row_text(permit, PERMIT_PRICE));
    const char *amount = currency_of(row_text(permit, PERMIT_AMOUNT));
    return row_is(permit, PERMIT_STATE, "settled") && row_is(permit, PERMIT_BUCKET, "spent") &&
           !row_integer(permit, PERMIT_DERIVED) && price && amount && strcmp(price, amount) == 0;
}

static void add_ratio(struct table *ratios, const char *service, const char *model, const char *estimate,
                      const char *actual, int64_t count)
{
    const char *currency = currency_of(actual);
    struct cell key[] = {text_cell(service), text_cell(model), text_cell(currency)};
    struct row *row = table_find(ratios, 0, key);
    if (!row) {
        row = table_add(ratios, NULL);
        table_set_text(ratios, row, RATIO_SERVICE, service);
        table_set_text(ratios, row, RATIO_MODEL, model);
        table_set_text(ratios, row, RATIO_CURRENCY, currency);
    }
    add_count(ratios, row, RATIO_COUNT, count);
    add_sum(ratios, row, RATIO_ESTIMATE, currency, estimate);
    add_sum(ratios, row, RATIO_ACTUAL, currency, actual);
}

static void add_permit_ratio(struct table *ratios, const struct row *permit)
{
    if (is_reported(permit))
        add_ratio(ratios, row_text(permit, PERMIT_SERVICE), row_text(permit, PERMIT_MODEL),
                  row_text(permit, PERMIT_PRICE), row_text(permit, PERMIT_AMOUNT), 1);
}

static int by_model(const void *a, const void *b)
{
    const struct record *left = *(struct record *const *)a, *right = *(struct record *const *)b;
    int order = compare_texts(left, right, "service");
    if (!order) order = compare_texts(left, right, "model");
    return order ? order : compare_texts(left, right, "currency");
}

int memory_ratio_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)err;
    struct table ratios;
    const struct row *row;
    table_init(&ratios, &memory_ratios);
    for (size_t at = 0; (row = table_each(&m->permits, &at));) add_permit_ratio(&ratios, row);
    for (size_t at = 0; (row = table_each(&m->ratios, &at));)
        add_ratio(&ratios, row_text(row, RATIO_SERVICE), row_text(row, RATIO_MODEL),
                  row_text(row, RATIO_ESTIMATE), row_text(row, RATIO_ACTUAL), row_integer(row, RATIO_COUNT));
    for (size_t at = 0; (row = table_each(&ratios, &at));) table_put(&ratios, row, record_list_add(out));
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_model);
    table_deinit(&ratios);
    return 0;
}

/* ---- permits that go --------------------------------------------------------------------------------------
 */

static struct row *daily_of(struct memory *m, const struct entry *entry)
{
    struct cell day = {.number = entry->at / JOURNAL_DAY_MS, .type = RECORD_INTEGER};
    struct row *row = table_find(&m->daily, 0, &day);
    for (; row; row = table_next(&m->daily, 0, row))
        if (row_is(row, DAILY_SERVICE, entry->service) && row_is(row, DAILY_OPERATION, entry->operation) &&
            row_is(row, DAILY_POLICY, entry->policy) && row_is(row, DAILY_TAGS, entry->tags) &&
            row_is(row, DAILY_CURRENCY, entry->currency))
            return row;
    row = table_add(&m->daily, NULL);
    table_set_integer(&m->daily, row, DAILY_DAY, day.number);
    table_set_text(&m->daily, row, DAILY_SERVICE, entry->service);
    table_set_text(&m->daily, row, DAILY_OPERATION, entry->operation);
    table_set_text(&m->daily, row, DAILY_POLICY, entry->policy);
    table_set_text(&m->daily, row, DAILY_TAGS, entry->tags);
    table_set_text(&m->daily, row, DAILY_CURRENCY, entry->currency);
    return row;
}

void memory_fold_permit(struct memory *m, const struct row *permit)
{
    if (row_is(permit, PERMIT_STATE, "released")) return;
    struct entry entry = permit_entry(permit);
    struct row *row = daily_of(m, &entry);
    add_sum(&m->daily, row, DAILY_SPENT, entry.currency, entry.sums[GROUP_SPENT]);
    add_sum(&m->daily, row, DAILY_DERIVED, entry.currency, entry.sums[GROUP_DERIVED]);
    add_sum(&m->daily, row, DAILY_PRESUMED, entry.currency, entry.sums[GROUP_PRESUMED]);
    add_count(&m->daily, row, DAILY_PERMITS, 1);
    add_permit_ratio(&m->ratios, permit);
}
