/* journal_table.c - rows in an array in the order of adding, and chained hash tables over some of their
 * columns. */
#include "host/journal_table.h"

#include <string.h>

#include "host/mem.h"

enum { FIRST_BUCKETS = 16 };

/* ---- hashing ------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) hash = (hash ^ p[i]) * 0x100000001b3u; /* FNV-1a */
    return hash;
}

static uint64_t mix_cell(uint64_t hash, const struct cell *cell)
{
    hash = mix(hash, &cell->number, sizeof cell->number);
    return cell->text ? mix(hash, cell->text, (size_t)cell->number) : hash;
}

static bool same(const struct cell *a, const struct cell *b)
{
    if (a->type != b->type || a->number != b->number) return false;
    return a->type != RECORD_TEXT || memcmp(a->text, b->text, (size_t)a->number) == 0;
}

static size_t bucket_of_row(const struct table *table, int index, const struct row *row)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const int *c = table->schema->indexes[index]; *c >= 0; c++) hash = mix_cell(hash, &row->cells[*c]);
    return (size_t)(hash ^ hash >> 32) & (table->bucket_count - 1);
}

static size_t bucket_of_key(const struct table *table, int index, const struct cell *key)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const int *c = table->schema->indexes[index]; *c >= 0; c++) hash = mix_cell(hash, key++);
    return (size_t)(hash ^ hash >> 32) & (table->bucket_count - 1);
}

static bool is_indexed(const struct table *table, int index, const struct row *row)
{
    return row_has(row, table->schema->indexes[index][0]);
}

static void link_row(struct table *table, int index, struct row *row)
{
    if (!is_indexed(table, index, row)) return;
    struct row **bucket = &table->buckets[index][bucket_of_row(table, index, row)];
    row->before[index] = NULL;
    row->next[index] = *bucket;
    if (*bucket) (*bucket)->before[index] = row;
    *bucket = row;
}

static void unlink_row(struct table *table, int index, struct row *row)
{
    if (!is_indexed(table, index, row)) return;
    struct row *before = row->before[index], *next = row->next[index];
    if (next) next->before[index] = before;
    if (before)
        before->next[index] = next;
    else
        table->buckets[index][bucket_of_row(table, index, row)] = next;
}

static void rehash(struct table *table, size_t bucket_count)
{
    table->bucket_count = bucket_count;
    for (int i = 0; i < table->schema->index_count; i++) {
        mem_free(table->buckets[i]);
        table->buckets[i] = mem_alloc_array(bucket_count, sizeof *table->buckets[i]);
        struct row *row;
        for (size_t at = 0; (row = table_each(table, &at));) link_row(table, i, row);
    }
}

/* ---- tables ------------------------------------------------------------------------------------------- */

static int64_t row_bytes(const struct table *table, const struct row *row)
{
    size_t bytes = sizeof *row + table->columns * sizeof *row->cells;
    for (size_t i = 0; i < table->columns; i++)
        if (row->cells[i].text) bytes += (size_t)row->cells[i].number + 1;
    return (int64_t)bytes;
}

void table_init(struct table *table, const struct table_schema *schema)
{
    *table = (struct table){.schema = schema};
    while (schema->columns[table->columns]) table->columns++;
    rehash(table, FIRST_BUCKETS);
}

static void free_row(struct table *table, struct row *row)
{
    table->bytes -= row_bytes(table, row);
    for (size_t i = 0; i < table->columns; i++) mem_free(row->cells[i].text);
    mem_free(row);
}

void table_deinit(struct table *table)
{
    struct row *row;
    for (size_t at = 0; (row = table_each(table, &at));) free_row(table, row);
    for (int i = 0; i < TABLE_INDEXES; i++) mem_free(table->buckets[i]);
    mem_free(table->rows);
    *table = (struct table){0};
}

/* Closes the gaps that removed rows left. */
static void compact(struct table *table)
{
    size_t to = 0;
    for (size_t from = 0; from < table->slots; from++) {
        if (!table->rows[from]) continue;
        table->rows[from]->slot = to;
        table->rows[to++] = table->rows[from];
    }
    table->slots = to;
}

static void set_cell(struct cell *cell, const struct record *from, const char *name)
{
    enum record_type type = record_type(from, name);
    if (type != RECORD_TEXT && type != RECORD_INTEGER) return;
    mem_free(cell->text);
    *cell = (struct cell){.type = type};
    if (type == RECORD_INTEGER) {
        cell->number = record_integer(from, name);
        return;
    }
    size_t n;
    const char *bytes = record_bytes(from, name, &n);
    cell->text = mem_strndup(bytes, n);
    cell->number = (int64_t)n;
}

struct row *table_add(struct table *table, const struct record *from)
{
    if (table->slots == table->room) {
        if (table->count < table->slots / 2) compact(table);
        if (table->slots == table->room) {
            table->room = table->room ? 2 * table->room : 16;
            table->rows = mem_realloc(table->rows, table->room * sizeof *table->rows);
        }
    }
    struct row *row = mem_alloc(sizeof *row + table->columns * sizeof *row->cells);
    for (size_t i = 0; from && i < table->columns; i++)
        set_cell(&row->cells[i], from, table->schema->columns[i]);
    row->serial = ++table->serial;
    row->slot = table->slots;
    table->rows[table->slots++] = row;
    table->count++;
    table->bytes += row_bytes(table, row);
    if (table->count > table->bucket_count) {
        rehash(table, 2 * table->bucket_count);
    } else {
        for (int i = 0; i < table->schema->index_count; i++) link_row(table, i, row);
    }
    return row;
}

void table_remove(struct table *table, struct row *row)
{
    for (int i = 0; i < table->schema->index_count; i++) unlink_row(table, i, row);
    table->rows[row->slot] = NULL;
    table->count--;
    free_row(table, row);
}

/* ---- cells -------------------------------------------------------------------------------------------- */

const char *row_text(const struct row *row, int column)
{
    return row->cells[column].text;
}

int64_t row_integer(const struct row *row, int column)
{
    return row->cells[column].type == RECORD_INTEGER ? row->cells[column].number : 0;
}

bool row_has(const struct row *row, int column)
{
    return row->cells[column].type != RECORD_NONE;
}

bool row_is(const struct row *row, int column, const char *text)
{
    const char *have = row->cells[column].text;
    return have && text ? strcmp(have, text) == 0 : have == text;
}

static void relink(struct table *table, struct row *row, int column, bool link)
{
    for (int i = 0; i < table->schema->index_count; i++)
        for (const int *c = table->schema->indexes[i]; *c >= 0; c++)
            if (*c == column) (link ? link_row : unlink_row)(table, i, row);
}

static void replace(struct table *table, struct row *row, int column, struct cell cell)
{
    struct cell *old = &row->cells[column];
    relink(table, row, column, false);
    table->bytes += (cell.text ? cell.number + 1 : 0) - (old->text ? old->number + 1 : 0);
    mem_free(old->text);
    *old = cell;
    relink(table, row, column, true);
}

void table_set_bytes(struct table *table, struct row *row, int column, const char *bytes, size_t n)
{
    replace(table, row, column,
            (struct cell){.text = mem_strndup(bytes, n), .number = (int64_t)n, .type = RECORD_TEXT});
}

void table_set_text(struct table *table, struct row *row, int column, const char *text)
{
    if (text)
        table_set_bytes(table, row, column, text, strlen(text));
    else
        table_clear(table, row, column);
}

void table_set_integer(struct table *table, struct row *row, int column, int64_t value)
{
    replace(table, row, column, (struct cell){.number = value, .type = RECORD_INTEGER});
}

void table_clear(struct table *table, struct row *row, int column)
{
    replace(table, row, column, (struct cell){.type = RECORD_NONE});
}

void table_update(struct table *table, struct row *row, const struct record *from)
{
    for (size_t i = 0; i < table->columns; i++) {
        struct cell cell = {.type = RECORD_NONE};
        set_cell(&cell, from, table->schema->columns[i]);
        if (cell.type != RECORD_NONE) replace(table, row, (int)i, cell);
    }
}

void table_put(const struct table *table, const struct row *row, struct record *to)
{
    for (size_t i = 0; i < table->columns; i++) {
        const struct cell *cell = &row->cells[i];
        if (cell->type == RECORD_TEXT)
            record_set_bytes(to, table->schema->columns[i], cell->text, (size_t)cell->number);
        else if (cell->type == RECORD_INTEGER)
            record_set_integer(to, table->schema->columns[i], cell->number);
    }
}

void table_put_json(const struct table *table, const struct row *row, struct buf *out)
{
    const char *before = "{";
    for (size_t i = 0; i < table->columns; i++) {
        const struct cell *cell = &row->cells[i];
        if (cell->type == RECORD_NONE) continue;
        buf_printf(out, "%s\"%s\":", before, table->schema->columns[i]);
        before = ",";
        if (cell->type == RECORD_TEXT)
            buf_put_json_string(out, cell->text, (size_t)cell->number);
        else
            buf_printf(out, "%lld", (long long)cell->number);
    }
    buf_puts(out, *before == '{' ? "{}" : "}");
}

/* ---- finding ------------------------------------------------------------------------------------------ */

static bool fits(const struct table *table, int index, const struct row *row, const struct cell *key)
{
    for (const int *c = table->schema->indexes[index]; *c >= 0; c++)
        if (!same(&row->cells[*c], key++)) return false;
    return true;
}

struct row *table_find(const struct table *table, int index, const struct cell *key)
{
    struct row *row = table->buckets[index][bucket_of_key(table, index, key)];
    while (row && !fits(table, index, row, key)) row = row->next[index];
    return row;
}

struct row *table_next(const struct table *table, int index, const struct row *row)
{
    struct row *next = row->next[index];
    for (; next; next = next->next[index]) {
        bool equal = true;
        for (const int *c = table->schema->indexes[index]; *c >= 0 && equal; c++)
            equal = same(&row->cells[*c], &next->cells[*c]);
        if (equal) break;
    }
    return next;
}

static struct cell text_cell(const char *text)
{
    return (struct cell){.text = (char *)text, .number = (int64_t)strlen(text), .type = RECORD_TEXT};
}

struct row *table_find_text(const struct table *table, int index, const char *text)
{
    if (!text) return NULL;
    struct cell key = text_cell(text);
    return table_find(table, index, &key);
}

struct row *table_find_texts(const struct table *table, int index, const char *first, const char *second)
{
    if (!first || !second) return NULL;
    struct cell key[] = {text_cell(first), text_cell(second)};
    return table_find(table, index, key);
}

struct row *table_each(const struct table *table, size_t *at)
{
    while (*at < table->slots) {
        struct row *row = table->rows[(*at)++];
        if (row) return row;
    }
    return NULL;
}

struct row *table_each_back(const struct table *table, size_t *at)
{
    while (*at > 0) {
        struct row *row = table->rows[--*at];
        if (row) return row;
    }
    return NULL;
}
