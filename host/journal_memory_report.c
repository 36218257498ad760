/* journal_memory_report.c - what was spent on what, and the upkeep of the records in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/journal_memory.h"
#include "host/mem.h"

enum {
    TOTAL_DAY,
    TOTAL_SERVICE,
    TOTAL_OPERATION,
    TOTAL_POLICY,
    TOTAL_CURRENCY,
    TOTAL_SPENT,
    TOTAL_DERIVED,
    TOTAL_PRESUMED,
    TOTAL_PERMITS
};

/* What is left of permits that went: for ever. */
const struct table_schema memory_totals = {
    .name = "totals",
    .columns = {"day", "service", "operation", "policy", "currency", "spent", "derived", "presumed",
                "permits"},
    .indexes = {{TOTAL_DAY, -1}},
    .index_count = 1,
};

enum {
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
    .columns = {"group", "currency", "held", "unknown", "spent", "derived", "presumed", "permits"},
    .indexes = {{GROUP_CURRENCY, GROUP_GROUP, -1}},
    .index_count = 1,
};

enum { DAY_SIZE = 16 };

static void day_of(int64_t ms, char out[DAY_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, DAY_SIZE, "%Y-%m-%d", &tm);
}

static struct cell text_cell(const char *text)
{
    if (!text) return (struct cell){.type = RECORD_NONE};
    return (struct cell){.text = (char *)text, .number = (int64_t)strlen(text), .type = RECORD_TEXT};
}

static void add_sum(struct table *table, struct row *row, int column, const char *currency,
                    const char *amount)
{
    struct amount sum;
    char text[AMOUNT_TEXT_SIZE];
    amount_zero(&sum, currency, NULL);
    journal_sum_add(&sum, row_text(row, column), 1);
    journal_sum_add(&sum, amount, 1);
    amount_format(&sum, text);
    table_set_text(table, row, column, text);
}

static struct row *group_of(struct table *groups, const char *group, const char *currency)
{
    struct cell key[] = {text_cell(currency), text_cell(group)};
    struct row *row = table_find(groups, 0, key);
    if (row) return row;
    row = table_add(groups, NULL);
    table_set_text(groups, row, GROUP_GROUP, group);
    table_set_text(groups, row, GROUP_CURRENCY, currency);
    for (int column = GROUP_HELD; column <= GROUP_PRESUMED; column++)
        add_sum(groups, row, column, currency, NULL);
    table_set_integer(groups, row, GROUP_PERMITS, 0);
    return row;
}

static void count_permits(struct table *groups, struct row *row, int64_t permits)
{
    table_set_integer(groups, row, GROUP_PERMITS, row_integer(row, GROUP_PERMITS) + permits);
}

static void count_permit(struct table *groups, const char *group, const struct row *permit)
{
    static const int columns[] = {-1, GROUP_HELD, GROUP_UNKNOWN, GROUP_SPENT};
    const char *amount = row_text(permit, PERMIT_AMOUNT);
    const char *currency = strchr(amount, ' ') + 1;
    enum journal_bucket bucket = journal_bucket_parse(row_text(permit, PERMIT_BUCKET));
    struct row *row = group_of(groups, group, currency);
    count_permits(groups, row, 1);
    if (bucket != JOURNAL_NONE) add_sum(groups, row, columns[bucket], currency, amount);
    if (bucket != JOURNAL_SPENT) return;
    if (row_integer(permit, PERMIT_DERIVED)) add_sum(groups, row, GROUP_DERIVED, currency, amount);
    if (row_integer(permit, PERMIT_PRESUMED)) add_sum(groups, row, GROUP_PRESUMED, currency, amount);
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

static void count_tags(struct table *groups, const struct row *permit)
{
    const char *at = row_text(permit, PERMIT_TAGS);
    struct buf tag = {0};
    while (at && next_tag(&at, &tag)) count_permit(groups, buf_str(&tag), permit);
    buf_deinit(&tag);
}

/* ---- spend.report -----------------------------------------------------------------------------------------
 */

struct view {
    const char *by;
    int permit_column, total_column; /* -1: not a column */
};

static const struct view *find_view(const char *by)
{
    static const struct view views[] = {{"total", -1, -1},
                                        {"policy", PERMIT_POLICY, TOTAL_POLICY},
                                        {"job", PERMIT_JOB, -1},
                                        {"tag", -1, -1},
                                        {"day", -1, TOTAL_DAY},
                                        {"service", PERMIT_SERVICE, TOTAL_SERVICE},
                                        {"operation", PERMIT_OPERATION, TOTAL_OPERATION}};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        if (strcmp(views[i].by, by) == 0) return &views[i];
    return &views[0];
}

static void report_permits(const struct memory *m, const struct view *view, int64_t since, int64_t until,
                           struct table *groups)
{
    const struct row *permit;
    for (size_t at = 0; (permit = table_each(&m->permits, &at));) {
        int64_t when = row_integer(permit, PERMIT_RESERVED_AT);
        char day[DAY_SIZE];
        if (!row_has(permit, PERMIT_AMOUNT) || when < since || when >= until) continue;
        if (strcmp(view->by, "tag") == 0) {
            count_tags(groups, permit);
        } else if (strcmp(view->by, "day") == 0) {
            day_of(when, day);
            count_permit(groups, day, permit);
        } else {
            count_permit(groups, view->permit_column >= 0 ? row_text(permit, view->permit_column) : NULL,
                         permit);
        }
    }
}

/* Days count that lie in the time asked for as a whole or in part. */
static void report_totals(const struct memory *m, const struct view *view, int64_t since, int64_t until,
                          struct table *groups)
{
    char first[DAY_SIZE], last[DAY_SIZE];
    const struct row *total;
    day_of(since, first);
    day_of(until - 1, last);
    if (strcmp(view->by, "tag") == 0) return;
    for (size_t at = 0; (total = table_each(&m->totals, &at));) {
        const char *day = row_text(total, TOTAL_DAY), *currency = row_text(total, TOTAL_CURRENCY);
        if (strcmp(day, first) < 0 || strcmp(day, last) > 0) continue;
        struct row *row =
            group_of(groups, view->total_column >= 0 ? row_text(total, view->total_column) : NULL, currency);
        add_sum(groups, row, GROUP_SPENT, currency, row_text(total, TOTAL_SPENT));
        add_sum(groups, row, GROUP_DERIVED, currency, row_text(total, TOTAL_DERIVED));
        add_sum(groups, row, GROUP_PRESUMED, currency, row_text(total, TOTAL_PRESUMED));
        count_permits(groups, row, row_integer(total, TOTAL_PERMITS));
    }
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

int memory_spend_report(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const int64_t last_ms = (int64_t)253402300800 * 1000; /* the year 10000 */
    const struct view *view = find_view(record_text(in, "by"));
    int64_t since = record_integer(in, "since"), until = record_integer(in, "until");
    struct table groups;
    const struct row *row;
    if (until <= 0 || until > last_ms) until = last_ms;
    table_init(&groups, &group_schema);
    report_totals(m, view, since, until, &groups);
    report_permits(m, view, since, until, &groups);
    for (size_t at = 0; (row = table_each(&groups, &at));) table_put(&groups, row, record_list_add(out));
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_group);
    table_deinit(&groups);
    return 0;
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
    const struct row *row;
    for (size_t at = 0; (row = table_each(&m->ratios, &at));)
        table_put(&m->ratios, row, record_list_add(out));
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_model);
    return 0;
}

/* ---- upkeep -----------------------------------------------------------------------------------------------
 */

enum { TABLE_COUNT = 12 };

static struct table *table_number(struct memory *m, int number, const struct table_schema **schema)
{
    struct {
        struct table *table;
        const struct table_schema *schema;
    } all[TABLE_COUNT] = {
        {&m->permits, &memory_permits},   {&m->bookings, &memory_bookings},   {&m->lines, &memory_lines},
        {&m->totals, &memory_totals},     {&m->ratios, &memory_ratios},       {&m->jobs, &memory_jobs},
        {&m->attempts, &memory_attempts}, {&m->decisions, &memory_decisions}, {&m->values, &memory_values},
        {&m->locks, &memory_locks},       {&m->messages, &memory_messages},   {&m->hooks, &memory_hooks}};
    *schema = all[number].schema;
    return all[number].table;
}

void memory_tables_init(struct memory *m)
{
    const struct table_schema *schema;
    for (int i = 0; i < TABLE_COUNT; i++) {
        struct table *table = table_number(m, i, &schema);
        table_init(table, schema);
    }
}

void memory_tables_deinit(struct memory *m)
{
    const struct table_schema *schema;
    for (int i = 0; i < TABLE_COUNT; i++) table_deinit(table_number(m, i, &schema));
}

int64_t memory_bytes(struct memory *m)
{
    const struct table_schema *schema;
    int64_t bytes = 0;
    for (int i = 0; i < TABLE_COUNT; i++) bytes += table_number(m, i, &schema)->bytes;
    return bytes;
}

/* What permits hold is what the lines say. */
int memory_verify(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)err;
    struct row *line;
    for (size_t at = 0; (line = table_each(&m->lines, &at));) {
        struct amount said, held;
        memory_line_held(m, line, &said, &held);
        int order;
        if (amount_compare(&said, &held, &order, NULL) == 0 && order == 0) continue;
        char text[AMOUNT_TEXT_SIZE], other[AMOUNT_TEXT_SIZE], problem[320];
        amount_format(&said, text);
        amount_format(&held, other);
        snprintf(problem, sizeof problem,
                 "line %s of budget %.80s says that %s is held, and its permits hold %s", row_text(line, 1),
                 row_text(line, 0), text, other);
        record_set_text(record_list_add(out), "problem", problem);
    }
    return 0;
}

static void export_table(const struct table *table, int64_t after, int64_t limit, struct record_list *out)
{
    const struct row *row;
    struct buf line = {0};
    for (size_t at = 0; (int64_t)out->count < limit && (row = table_each(table, &at));) {
        if ((int64_t)row->serial <= after) continue;
        char key[24];
        struct record *record = record_list_add(out);
        buf_clear(&line);
        table_put_json(table, row, &line);
        snprintf(key, sizeof key, "%llu", (unsigned long long)row->serial);
        record_set_text(record, "table", table->schema->name);
        record_set_text(record, "key", key);
        record_set_bytes(record, "line", buf_str(&line), line.len);
    }
    buf_deinit(&line);
}

int memory_export(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const char *wanted = record_text(in, "table"), *after = record_text(in, "after");
    const struct table_schema *schema;
    bool found = !wanted;
    for (int i = 0; i < TABLE_COUNT; i++) {
        const struct table *table = table_number(m, i, &schema);
        if (!wanted) record_set_text(record_list_add(out), "table", schema->name);
        if (!wanted || strcmp(wanted, schema->name) != 0) continue;
        export_table(table, after ? strtoll(after, NULL, 10) : 0, journal_limit(in, INT64_MAX), out);
        found = true;
    }
    return found ? 0 : journal_invalid(err, "table", "journal.export: there is no table \"%s\"", wanted);
}

int memory_backup(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)m, (void)in, (void)out;
    return journal_invalid(err, "memory",
                           "journal.backup: this journal is in memory and has no file to copy");
}

/* ---- compacting -------------------------------------------------------------------------------------------
 */

static void add_to_totals(struct memory *m, const struct row *permit)
{
    static const int parts[][2] = {
        {TOTAL_SERVICE, PERMIT_SERVICE}, {TOTAL_OPERATION, PERMIT_OPERATION}, {TOTAL_POLICY, PERMIT_POLICY}};
    const char *amount = row_text(permit, PERMIT_AMOUNT);
    char day[DAY_SIZE];
    if (!amount) return;
    const char *currency = strchr(amount, ' ') + 1;
    day_of(row_integer(permit, PERMIT_RESERVED_AT), day);
    struct row *total = table_find_text(&m->totals, 0, day);
    for (; total; total = table_next(&m->totals, 0, total)) {
        bool same = row_is(total, TOTAL_CURRENCY, currency);
        for (int i = 0; i < 3; i++) same = same && row_is(total, parts[i][0], row_text(permit, parts[i][1]));
        if (same) break;
    }
    if (!total) {
        total = table_add(&m->totals, NULL);
        table_set_text(&m->totals, total, TOTAL_DAY, day);
        table_set_text(&m->totals, total, TOTAL_CURRENCY, currency);
        for (int i = 0; i < 3; i++)
            table_set_text(&m->totals, total, parts[i][0], row_text(permit, parts[i][1]));
    }
    bool spent = row_is(permit, PERMIT_BUCKET, "spent");
    add_sum(&m->totals, total, TOTAL_SPENT, currency, spent ? amount : NULL);
    add_sum(&m->totals, total, TOTAL_DERIVED, currency,
            spent && row_integer(permit, PERMIT_DERIVED) ? amount : NULL);
    add_sum(&m->totals, total, TOTAL_PRESUMED, currency,
            spent && row_integer(permit, PERMIT_PRESUMED) ? amount : NULL);
    table_set_integer(&m->totals, total, TOTAL_PERMITS, row_integer(total, TOTAL_PERMITS) + 1);
}

static int64_t remove_all(struct table *table, int index, const char *key)
{
    struct row *row;
    int64_t count = 0;
    while ((row = table_find_text(table, index, key))) {
        table_remove(table, row);
        count++;
    }
    return count;
}

static int64_t compact_permits(struct memory *m, int64_t before)
{
    struct row *permit;
    int64_t count = 0;
    for (size_t at = 0; (permit = table_each(&m->permits, &at));) {
        bool ended = row_is(permit, PERMIT_STATE, "settled") || row_is(permit, PERMIT_STATE, "released");
        if (!ended || row_integer(permit, PERMIT_ENDED_AT) >= before) continue;
        add_to_totals(m, permit);
        remove_all(&m->bookings, 0, row_text(permit, PERMIT_INTENT_ID));
        table_remove(&m->permits, permit);
        count++;
    }
    return count;
}

static void compact_jobs(struct memory *m, int64_t before, struct record *counts)
{
    struct row *job;
    int64_t jobs = 0, decisions = 0;
    for (size_t at = 0; (job = table_each(&m->jobs, &at));) {
        if (journal_job_active(row_text(job, JOB_STATE)) || row_integer(job, JOB_ENDED_AT) >= before)
            continue;
        decisions += remove_all(&m->decisions, 0, row_text(job, JOB_ID));
        remove_all(&m->attempts, 1, row_text(job, JOB_ID));
        table_remove(&m->jobs, job);
        jobs++;
    }
    record_set_integer(counts, "jobs", jobs);
    record_set_integer(counts, "decisions", decisions);
}

int memory_compact(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    int64_t days =
        record_type(in, "keep_days") == RECORD_NONE ? JOURNAL_KEEP_DAYS : record_integer(in, "keep_days");
    int64_t before = m->now - days * JOURNAL_DAY_MS;
    struct record *counts = record_list_add(out);
    compact_jobs(m, before, counts);
    record_set_integer(counts, "permits", compact_permits(m, before));
    memory_compact_rest(m);
    record_set_integer(counts, "bytes", memory_bytes(m));
    return 0;
}
