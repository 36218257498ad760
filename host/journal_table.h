/* journal_table.h - rows in memory with hash indexes: what the memory engine of the journal keeps its records
 * in.
 *
 * A table has columns with names and up to three indexes over some of them; rows stand in the order in which
 * they were added.  A cell is nothing, text, or a whole number.  Tables are small machinery for the journal's
 * own files (host/journal_memory*.c) and know nothing of verbs.  One thread at a time.
 */
#ifndef PERIGEE_JOURNAL_TABLE_H
#define PERIGEE_JOURNAL_TABLE_H

#include "host/buf.h"
#include "host/record.h"

enum { TABLE_COLUMNS = 32, TABLE_INDEXES = 3, TABLE_INDEX_COLUMNS = 4 };

/* Columns of an index, ended by -1.  A row that has nothing in the first of them is not in it. */
struct table_schema {
    const char *name;
    const char *columns[TABLE_COLUMNS + 1]; /* ends with NULL; their order is that of the row's cells */
    int indexes[TABLE_INDEXES][TABLE_INDEX_COLUMNS + 1];
    int index_count;
};

struct cell {
    char *text;     /* NULL unless type is RECORD_TEXT */
    int64_t number; /* the value, or the length of the text */
    enum record_type type;
};

struct row {
    struct row *next[TABLE_INDEXES], *before[TABLE_INDEXES];
    size_t slot;     /* place in table->rows */
    uint64_t serial; /* 1, 2, 3, … in the order of adding, never used again */
    struct cell cells[];
};

struct table {
    const struct table_schema *schema;
    size_t columns;
    struct row **rows; /* in the order of adding; NULL where one was removed */
    size_t count, slots, room;
    uint64_t serial;
    int64_t bytes; /* of rows and texts */
    struct row **buckets[TABLE_INDEXES];
    size_t bucket_count;
};

void table_init(struct table *table, const struct table_schema *schema);
void table_deinit(struct table *table);

/* A new row, its cells taken from the fields of the record that have the names of columns. */
struct row *table_add(struct table *table, const struct record *from);
void table_remove(struct table *table, struct row *row);

/* ---- cells -------------------------------------------------------------------------------------------- */

/* NULL and 0 for a cell that has no value of that type. */
const char *row_text(const struct row *row, int column);
int64_t row_integer(const struct row *row, int column);
bool row_has(const struct row *row, int column);

/* True if the cell has that text (NULL: if it has none). */
bool row_is(const struct row *row, int column, const char *text);

/* text NULL: nothing from now on. */
void table_set_text(struct table *table, struct row *row, int column, const char *text);
void table_set_bytes(struct table *table, struct row *row, int column, const char *bytes, size_t n);
void table_set_integer(struct table *table, struct row *row, int column, int64_t value);
void table_clear(struct table *table, struct row *row, int column);

/* Takes over the fields of the record that have the names of columns; others stay. */
void table_update(struct table *table, struct row *row, const struct record *from);

/* Sets the fields of the record for all cells that have a value. */
void table_put(const struct table *table, const struct row *row, struct record *to);

/* {"column":value,…}, what is nothing left out. */
void table_put_json(const struct table *table, const struct row *row, struct buf *out);

/* ---- finding ------------------------------------------------------------------------------------------ */

/* The row that was added last, and then the others, whose indexed columns have these values (a cell each, in
 * the order of the index); NULL after the last. */
struct row *table_find(const struct table *table, int index, const struct cell *key);
struct row *table_next(const struct table *table, int index, const struct row *row);

/* The same for indexes over one or two texts; NULL text: nothing is found. */
struct row *table_find_text(const struct table *table, int index, const char *text);
struct row *table_find_texts(const struct table *table, int index, const char *first, const char *second);

/* Every row: for (size_t at = 0; (row = table_each(table, &at));), and from the newest:
 * for (size_t at = table->slots; (row = table_each_back(table, &at));).  The row at hand may be removed. */
struct row *table_each(const struct table *table, size_t *at);
struct row *table_each_back(const struct table *table, size_t *at);

#endif
