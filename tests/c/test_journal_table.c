/* test_journal_table.c - rows in memory: indexes stay right while rows come, change and go. */
#include "host/journal_table.h"

#include <stdio.h>

#include "host/mem.h"
#include "tests/c/harness.h"

enum { NAME, GROUP, NUMBER };

static const struct table_schema schema = {
    .name = "things",
    .columns = {"name", "group", "number"},
    .indexes = {{NAME, -1}, {GROUP, NUMBER, -1}, {GROUP, -1}},
    .index_count = 3,
};

static struct row *add(struct table *table, const char *name, const char *group, int64_t number)
{
    struct record *record = record_new();
    record_set_text(record, "name", name);
    record_set_text(record, "group", group);
    record_set_integer(record, "number", number);
    record_set_text(record, "other", "no column");
    struct row *row = table_add(table, record);
    record_free(record);
    return row;
}

static size_t count_group(const struct table *table, const char *group)
{
    size_t count = 0;
    uint64_t last = UINT64_MAX;
    for (struct row *row = table_find_text(table, 2, group); row; row = table_next(table, 2, row)) {
        CHECK(row->serial < last); /* the newest comes first */
        last = row->serial;
        count++;
    }
    return count;
}

static void test_many(void)
{
    struct table table;
    char name[16];
    table_init(&table, &schema);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        add(&table, name, i % 2 ? "odd" : NULL, i);
    }
    CHECK_INT(table.count, 5000);
    CHECK_INT(count_group(&table, "odd"), 2500);
    for (int i = 0; i < 5000; i += 5) {
        snprintf(name, sizeof name, "n%d", i);
        table_remove(&table, table_find_text(&table, 0, name));
    }
    CHECK_INT(table.count, 4000);
    CHECK_INT(count_group(&table, "odd"), 2000);
    CHECK(table_find_text(&table, 0, "n5") == NULL);
    CHECK_INT(row_integer(table_find_text(&table, 0, "n4999"), NUMBER), 4999);
    char odd[] = "odd";
    struct cell key[] = {{.text = odd, .number = 3, .type = RECORD_TEXT},
                         {.number = 7, .type = RECORD_INTEGER}};
    CHECK_STR(row_text(table_find(&table, 1, key), NAME), "n7");
    table_deinit(&table);
}

static void test_changes(void)
{
    struct table table;
    table_init(&table, &schema);
    struct row *row = add(&table, "a", "x", 1);
    int64_t bytes = table.bytes;
    table_set_text(&table, row, GROUP, "longer");
    CHECK_INT(table.bytes, bytes + 5);
    CHECK_INT(count_group(&table, "x"), 0);
    CHECK_INT(count_group(&table, "longer"), 1);
    table_clear(&table, row, GROUP);
    CHECK_INT(count_group(&table, "longer"), 0);
    CHECK(!row_has(row, GROUP) && row_is(row, GROUP, NULL) && row_is(row, NAME, "a"));
    struct buf line = {0};
    table_put_json(&table, row, &line);
    CHECK_STR(buf_str(&line), "{\"name\":\"a\",\"number\":1}");
    buf_deinit(&line);
    table_remove(&table, row);
    CHECK_INT(table.bytes, 0);
    table_deinit(&table);
}

/* Adding and removing for ever needs no more room than what is there at once. */
static void test_churn(void)
{
    struct table table;
    table_init(&table, &schema);
    for (int i = 0; i < 10000; i++) {
        table_remove(&table, add(&table, "same", "x", i));
        if (i % 1000 == 0) add(&table, "kept", "y", i);
    }
    CHECK_INT(table.count, 10);
    CHECK(table.room <= 64);
    size_t seen = 0, at = 0;
    for (const struct row *row; (row = table_each(&table, &at));)
        CHECK_INT(row_integer(row, NUMBER), 1000 * seen++);
    for (at = table.slots; table_each_back(&table, &at);) seen--;
    CHECK_INT(seen, 0);
    table_deinit(&table);
}

int main(void)
{
    test_many();
    test_changes();
    test_churn();
    HARNESS_END();
}
