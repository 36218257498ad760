/* journal_memory_upkeep.c - the tables of the memory engine as a whole: made, looked over, printed, thinned
 * out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/journal_memory.h"

enum { TABLE_COUNT = 12 };

static struct table *table_number(struct memory *m, int number, const struct table_schema **schema)
{
    struct {
        struct table *table;
        const struct table_schema *schema;
    } all[TABLE_COUNT] = {
        {&m->permits, &memory_permits},   {&m->bookings, &memory_bookings},   {&m->lines, &memory_lines},
        {&m->daily, &memory_daily},       {&m->ratios, &memory_ratios},       {&m->jobs, &memory_jobs},
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

/* Without a table: which there are. */
int memory_export(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const char *wanted = record_text(in, "table"), *after = record_text(in, "after");
    const struct table_schema *schema;
    for (int i = 0; i < TABLE_COUNT; i++) {
        const struct table *table = table_number(m, i, &schema);
        if (!wanted) {
            record_set_text(record_list_add(out), "table", schema->name);
        } else if (strcmp(wanted, schema->name) == 0) {
            export_table(table, after ? strtoll(after, NULL, 10) : 0, journal_limit(in, INT64_MAX), out);
            return 0;
        }
    }
    return wanted ? journal_invalid(err, "table", "the journal has no table \"%s\"", wanted) : 0;
}

int memory_backup(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)m, (void)in, (void)out;
    return journal_invalid(err, "memory",
                           "journal.backup: this journal is in memory and has no file to copy");
}

/* ---- compacting -------------------------------------------------------------------------------------------
 */

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

static void compact_jobs(struct memory *m, int64_t before, struct record *counts)
{
    struct row *job;
    int64_t jobs = 0, decisions = 0;
    for (size_t at = 0; (job = table_each(&m->jobs, &at));) {
        if (!row_has(job, JOB_ENDED_AT) || row_integer(job, JOB_ENDED_AT) >= before) continue;
        decisions += remove_all(&m->decisions, 0, row_text(job, JOB_ID));
        remove_all(&m->attempts, 1, row_text(job, JOB_ID));
        table_remove(&m->jobs, job);
        jobs++;
    }
    record_set_integer(counts, "jobs", jobs);
    record_set_integer(counts, "decisions", decisions);
}

/* A permit stays while its job does, and while its outcome is not known. */
static int64_t compact_permits(struct memory *m, int64_t before)
{
    struct row *permit;
    int64_t count = 0;
    for (size_t at = 0; (permit = table_each(&m->permits, &at));) {
        if (!row_has(permit, PERMIT_ENDED_AT) || row_integer(permit, PERMIT_ENDED_AT) >= before) continue;
        if (table_find_text(&m->jobs, 0, row_text(permit, PERMIT_JOB))) continue;
        memory_fold_permit(m, permit);
        remove_all(&m->bookings, 0, row_text(permit, PERMIT_INTENT_ID));
        table_remove(&m->permits, permit);
        count++;
    }
    return count;
}

int memory_compact(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    int64_t days =
        record_type(in, "keep_days") == RECORD_NONE ? JOURNAL_KEEP_DAYS : record_integer(in, "keep_days");
    if (days < 0 || days > 36500)
        return journal_invalid(err, "field", "journal.compact: field \"keep_days\" must be 0 to 36500");
    int64_t before = m->now - days * JOURNAL_DAY_MS;
    struct record *counts = record_list_add(out);
    compact_jobs(m, before, counts);
    record_set_integer(counts, "permits", compact_permits(m, before));
    memory_compact_rest(m, before);
    memory_compact_lines(m, m->now - journal_line_days(days) * JOURNAL_DAY_MS);
    record_set_integer(counts, "bytes", memory_bytes(m));
    return 0;
}
