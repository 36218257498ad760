/* record.h - a small named tuple: what goes into a verb of the journal, and what comes back.
 *
 * Values are text, whole numbers, or lists of records; a name that is not there is NULL in the sense of SQL.
 * Truth values are 0 and 1, times milliseconds since 1970, money its text with the currency ("0.05 CCD"),
 * everything that has a shape of its own JSON text.  Copies what it is given.  A record belongs to one thread
 * at a time.  Knows nothing of Lua and nothing of SQL.
 */
#ifndef PERIGEE_RECORD_H
#define PERIGEE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record;

/* A list of records; rows and lists inside of records are these. */
struct record_list {
    struct record **items;
    size_t count;
};

enum record_type { RECORD_NONE, RECORD_TEXT, RECORD_INTEGER, RECORD_LIST };

struct record *record_new(void);
void record_free(struct record *record); /* NULL is allowed */

/* Each replaces what stood under the name.  text NULL takes the name away. */
void record_set_text(struct record *record, const char *name, const char *text);
void record_set_bytes(struct record *record, const char *name, const char *bytes, size_t n);
void record_set_integer(struct record *record, const char *name, int64_t value);

/* A new record at the end of the list of that name, which is made if it is not there. */
struct record *record_append(struct record *record, const char *name);

enum record_type record_type(const struct record *record, const char *name);

/* NULL, 0, an empty list for a name that is not there or has another type. */
const char *record_text(const struct record *record, const char *name);
const char *record_bytes(const struct record *record, const char *name, size_t *n);
int64_t record_integer(const struct record *record, const char *name);
const struct record_list *record_rows(const struct record *record, const char *name);

/* All names in the order in which they were first set; index < record_size. */
size_t record_size(const struct record *record);
const char *record_name(const struct record *record, size_t index);

/* A copy of its own. */
struct record *record_copy(const struct record *record);

/* An empty list may be {NULL, 0}. */
struct record *record_list_add(struct record_list *list);
void record_list_deinit(struct record_list *list);

#endif
