/* record.c - named tuples as an array of fields: they are small, so a search in order is fast enough. */
#include "host/record.h"

#include <string.h>

#include "host/mem.h"

struct field {
    char *name;
    enum record_type type;
    char *bytes; /* RECORD_TEXT; ends with NUL, which is not counted */
    size_t len;
    int64_t integer;
    struct record_list list;
};

struct record {
    struct field *fields;
    size_t count, room;
};

struct record *record_new(void)
{
    return mem_alloc(sizeof(struct record));
}

static void empty_field(struct field *field)
{
    mem_free(field->bytes);
    record_list_deinit(&field->list);
    field->bytes = NULL;
    field->len = 0;
    field->type = RECORD_NONE;
}

void record_free(struct record *record)
{
    if (!record) return;
    for (size_t i = 0; i < record->count; i++) {
        empty_field(&record->fields[i]);
        mem_free(record->fields[i].name);
    }
    mem_free(record->fields);
    mem_free(record);
}

static struct field *find(const struct record *record, const char *name)
{
    for (size_t i = 0; i < record->count; i++)
        if (strcmp(record->fields[i].name, name) == 0) return &record->fields[i];
    return NULL;
}

static const struct field *find_type(const struct record *record, const char *name, enum record_type type)
{
    const struct field *field = find(record, name);
    return field && field->type == type ? field : NULL;
}

/* The field of that name, empty. */
static struct field *take(struct record *record, const char *name)
{
    struct field *field = find(record, name);
    if (field) {
        empty_field(field);
        return field;
    }
    if (record->count == record->room) {
        record->room = record->room ? 2 * record->room : 8;
        record->fields = mem_realloc(record->fields, record->room * sizeof *record->fields);
    }
    field = &record->fields[record->count++];
    *field = (struct field){.name = mem_strdup(name)};
    return field;
}

void record_set_bytes(struct record *record, const char *name, const char *bytes, size_t n)
{
    char *copy = mem_alloc(n + 1); /* first: the bytes may be the field's own */
    memcpy(copy, bytes, n);
    struct field *field = take(record, name);
    field->type = RECORD_TEXT;
    field->bytes = copy;
    field->len = n;
}

void record_set_text(struct record *record, const char *name, const char *text)
{
    if (text)
        record_set_bytes(record, name, text, strlen(text));
    else if (find(record, name))
        empty_field(find(record, name));
}

void record_set_integer(struct record *record, const char *name, int64_t value)
{
    struct field *field = take(record, name);
    field->type = RECORD_INTEGER;
    field->integer = value;
}

struct record *record_append(struct record *record, const char *name)
{
    struct field *field = find(record, name);
    if (!field || field->type != RECORD_LIST) {
        field = take(record, name);
        field->type = RECORD_LIST;
    }
    return record_list_add(&field->list);
}

enum record_type record_type(const struct record *record, const char *name)
{
    const struct field *field = find(record, name);
    return field ? field->type : RECORD_NONE;
}

const char *record_bytes(const struct record *record, const char *name, size_t *n)
{
    const struct field *field = find_type(record, name, RECORD_TEXT);
    *n = field ? field->len : 0;
    return field ? field->bytes : NULL;
}

const char *record_text(const struct record *record, const char *name)
{
    size_t n;
    return record_bytes(record, name, &n);
}

int64_t record_integer(const struct record *record, const char *name)
{
    const struct field *field = find_type(record, name, RECORD_INTEGER);
    return field ? field->integer : 0;
}

const struct record_list *record_rows(const struct record *record, const char *name)
{
    static const struct record_list none = {NULL, 0};
    const struct field *field = find_type(record, name, RECORD_LIST);
    return field ? &field->list : &none;
}

size_t record_size(const struct record *record)
{
    return record->count;
}

const char *record_name(const struct record *record, size_t index)
{
    return record->fields[index].name;
}

static void copy_list(struct record_list *to, const struct record_list *from)
{
    if (from->count == 0) return;
    size_t room = 1;
    while (room <= from->count) room *= 2;
    to->items = mem_alloc_array(room, sizeof *to->items);
    for (size_t i = 0; i < from->count; i++) to->items[to->count++] = record_copy(from->items[i]);
}

struct record *record_copy(const struct record *record)
{
    struct record *copy = record_new();
    for (size_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        struct field *to = take(copy, field->name);
        to->type = field->type;
        to->integer = field->integer;
        copy_list(&to->list, &field->list);
        if (field->type != RECORD_TEXT) continue;
        to->bytes = mem_alloc(field->len + 1);
        memcpy(to->bytes, field->bytes, field->len);
        to->len = field->len;
    }
    return copy;
}

struct record *record_list_add(struct record_list *list)
{
    bool full = (list->count & (list->count - 1)) == 0; /* it has room for a power of two */
    if (full) list->items = mem_realloc(list->items, 2 * (list->count + 1) * sizeof *list->items);
    list->items[list->count] = record_new();
    return list->items[list->count++];
}

void record_list_deinit(struct record_list *list)
{
    for (size_t i = 0; i < list->count; i++) record_free(list->items[i]);
    mem_free(list->items);
    list->items = NULL;
    list->count = 0;
}
