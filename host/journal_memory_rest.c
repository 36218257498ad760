/* journal_memory_rest.c - stored values, locks, messages and hooks, in memory. */
#include <stdlib.h>
#include <string.h>

#include "host/journal_memory.h"

enum { VALUE_SPACE, VALUE_NAME, VALUE_VALUE, VALUE_VERSION, VALUE_CHANGED_AT };

const struct table_schema memory_values = {
    .name = "store",
    .columns = {"space", "name", "value", "version", "changed_at"},
    .indexes = {{VALUE_SPACE, VALUE_NAME, -1}, {VALUE_SPACE, -1}},
    .index_count = 2,
};

enum { LOCK_NAME, LOCK_PROCESS, LOCK_SINCE, LOCK_NOTE };

const struct table_schema memory_locks = {
    .name = "locks",
    .columns = {"name", "process", "since", "note"},
    .indexes = {{LOCK_NAME, -1}},
    .index_count = 1,
};

enum {
    MESSAGE_ID,
    MESSAGE_NOT_BEFORE = 4,
    MESSAGE_TRIES = 6,
    MESSAGE_ERROR,
    MESSAGE_PUT_AT,
    MESSAGE_OUTCOME,
    MESSAGE_ENDED_AT
};

const struct table_schema memory_messages = {
    .name = "outbox",
    .columns = {"id", "event", "target", "body", "not_before", "job", "tries", "error", "put_at", "outcome",
                "ended_at"},
    .indexes = {{MESSAGE_ID, -1}},
    .index_count = 1,
};

enum { HOOK_NUMBER, HOOK_POLICY, HOOK_HOOK, HOOK_BEGUN_AT = 5, HOOK_ENDED_AT, HOOK_OUTCOME, HOOK_ERROR };

const struct table_schema memory_hooks = {
    .name = "hooks",
    .columns = {"number", "policy", "hook", "job", "scheduled_at", "begun_at", "ended_at", "outcome",
                "error"},
    .indexes = {{HOOK_NUMBER, -1}, {HOOK_POLICY, HOOK_HOOK, -1}},
    .index_count = 2,
};

/* ---- stored values ------------------------------------------------------------------------------------ */

static struct row *find_value(const struct memory *m, const struct record *in)
{
    return table_find_texts(&m->values, 0, record_text(in, "space"), record_text(in, "name"));
}

static void put_value(const struct row *value, struct record_list *out)
{
    struct record *row = record_list_add(out);
    const struct cell *cell = &value->cells[VALUE_VALUE];
    record_set_bytes(row, "value", cell->text, (size_t)cell->number);
    record_set_integer(row, "version", row_integer(value, VALUE_VERSION));
    record_set_integer(row, "changed_at", row_integer(value, VALUE_CHANGED_AT));
}

/* The version that the caller saw is the present one, or none was named. */
static int check_version(const char *verb, const struct row *value, const struct record *in, struct err *err)
{
    int64_t present = value ? row_integer(value, VALUE_VERSION) : 0, seen = record_integer(in, "version");
    if (record_type(in, "version") == RECORD_NONE || seen == present) return 0;
    return journal_invalid(err, "conflict", "%s: %s has version %lld by now, not %lld", verb,
                           record_text(in, "name"), (long long)present, (long long)seen);
}

int memory_store_get(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const struct row *value = find_value(m, in);
    if (value) put_value(value, out);
    return 0;
}

int memory_store_set(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    struct row *value = find_value(m, in);
    if (check_version("store.set", value, in, err) < 0) return -1;
    if (value)
        table_update(&m->values, value, in);
    else
        value = table_add(&m->values, in);
    table_set_integer(&m->values, value, VALUE_VERSION, ++m->versions);
    table_set_integer(&m->values, value, VALUE_CHANGED_AT, m->now);
    record_set_integer(record_list_add(out), "version", m->versions);
    return 0;
}

int memory_store_delete(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    struct row *value = find_value(m, in);
    if (check_version("store.delete", value, in, err) < 0) return -1;
    record_set_integer(record_list_add(out), "deleted", value != NULL);
    if (value) table_remove(&m->values, value);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(record_text(*(struct record *const *)a, "name"),
                  record_text(*(struct record *const *)b, "name"));
}

static void cut(struct record_list *list, int64_t limit)
{
    while ((int64_t)list->count > limit) record_free(list->items[--list->count]);
}

int memory_store_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const char *prefix = record_text(in, "prefix"), *after = record_text(in, "after");
    const struct row *value = table_find_text(&m->values, 1, record_text(in, "space"));
    for (; value; value = table_next(&m->values, 1, value)) {
        const char *name = row_text(value, VALUE_NAME);
        if (prefix && strncmp(name, prefix, strlen(prefix)) != 0) continue;
        if (after && strcmp(name, after) <= 0) continue;
        put_value(value, out);
        record_set_text(out->items[out->count - 1], "name", name);
    }
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_name);
    cut(out, journal_limit(in, INT64_MAX));
    return 0;
}

/* ---- locks -------------------------------------------------------------------------------------------- */

static void put_holder(const struct memory *m, const struct row *lock, struct record *row)
{
    record_set_integer(row, "taken", 0);
    record_set_text(row, "process", m->self.id);
    record_set_text(row, "kind", m->self.kind);
    record_set_text(row, "host", m->self.host);
    record_set_integer(row, "pid", m->self.pid);
    record_set_integer(row, "since", row_integer(lock, LOCK_SINCE));
}

int memory_lock_take(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    struct row *lock = table_find_text(&m->locks, 0, record_text(in, "name"));
    struct record *row = record_list_add(out);
    if (lock && row_has(lock, LOCK_PROCESS)) {
        put_holder(m, lock, row);
        return 0;
    }
    if (!lock) lock = table_add(&m->locks, in);
    table_set_text(&m->locks, lock, LOCK_PROCESS, m->self.id);
    table_set_integer(&m->locks, lock, LOCK_SINCE, m->now);
    record_set_integer(row, "taken", 1);
    record_set_text(row, "note", row_text(lock, LOCK_NOTE));
    table_clear(&m->locks, lock, LOCK_NOTE); /* a holder that dies leaves none */
    return 0;
}

/* Without a note nothing is left to remember. */
int memory_lock_free(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out, (void)err;
    struct row *lock = table_find_text(&m->locks, 0, record_text(in, "name"));
    if (!lock || !row_is(lock, LOCK_PROCESS, m->self.id)) return 0;
    if (!record_text(in, "note")) {
        table_remove(&m->locks, lock);
        return 0;
    }
    table_clear(&m->locks, lock, LOCK_PROCESS);
    table_set_integer(&m->locks, lock, LOCK_SINCE, m->now);
    table_set_text(&m->locks, lock, LOCK_NOTE, record_text(in, "note"));
    return 0;
}

/* ---- messages ----------------------------------------------------------------------------------------- */

int memory_outbox_put(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    bool known = table_find_text(&m->messages, 0, record_text(in, "id")) != NULL;
    record_set_integer(record_list_add(out), "created", !known);
    if (known) return 0;
    struct row *message = table_add(&m->messages, in);
    table_set_integer(&m->messages, message, MESSAGE_TRIES, 0);
    if (!row_has(message, MESSAGE_NOT_BEFORE))
        table_set_integer(&m->messages, message, MESSAGE_NOT_BEFORE, m->now);
    table_set_integer(&m->messages, message, MESSAGE_PUT_AT, m->now);
    return 0;
}

int memory_outbox_due(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    int64_t limit = journal_limit(in, INT64_MAX);
    const struct row *message;
    for (size_t at = 0; (int64_t)out->count < limit && (message = table_each(&m->messages, &at));)
        if (!row_has(message, MESSAGE_OUTCOME) && row_integer(message, MESSAGE_NOT_BEFORE) <= m->now)
            table_put(&m->messages, message, record_list_add(out));
    return 0;
}

static struct row *waiting_message(const struct memory *m, const struct record *in, struct err *err)
{
    const char *id = record_text(in, "id");
    struct row *message = table_find_text(&m->messages, 0, id);
    if (message && !row_has(message, MESSAGE_OUTCOME)) return message;
    journal_invalid(err, "not_found", "no message with the id %s waits in the outbox", id);
    return NULL;
}

int memory_outbox_later(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *message = waiting_message(m, in, err);
    if (!message) return -1;
    table_set_integer(&m->messages, message, MESSAGE_TRIES, row_integer(message, MESSAGE_TRIES) + 1);
    table_set_integer(&m->messages, message, MESSAGE_NOT_BEFORE, record_integer(in, "not_before"));
    table_set_text(&m->messages, message, MESSAGE_ERROR, record_text(in, "error"));
    return 0;
}

int memory_outbox_done(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *message = waiting_message(m, in, err);
    if (!message) return -1;
    table_set_text(&m->messages, message, MESSAGE_OUTCOME, record_text(in, "outcome"));
    table_set_integer(&m->messages, message, MESSAGE_ENDED_AT, m->now);
    return 0;
}

int memory_outbox_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    int64_t limit = journal_limit(in, INT64_MAX);
    const struct row *message;
    for (size_t at = m->messages.slots;
         (int64_t)out->count < limit && (message = table_each_back(&m->messages, &at));)
        table_put(&m->messages, message, record_list_add(out));
    return 0;
}

/* ---- hooks -------------------------------------------------------------------------------------------- */

int memory_hook_begin(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    struct row *hook = table_add(&m->hooks, in);
    table_set_integer(&m->hooks, hook, HOOK_NUMBER, (int64_t)hook->serial);
    table_set_integer(&m->hooks, hook, HOOK_BEGUN_AT, m->now);
    record_set_integer(record_list_add(out), "number", (int64_t)hook->serial);
    return 0;
}

static void end_hook(struct memory *m, struct row *hook, const char *outcome, const char *error)
{
    table_set_text(&m->hooks, hook, HOOK_OUTCOME, outcome);
    table_set_text(&m->hooks, hook, HOOK_ERROR, error);
    table_set_integer(&m->hooks, hook, HOOK_ENDED_AT, m->now);
}

int memory_hook_end(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    int64_t number = record_integer(in, "number");
    struct cell key = {.number = number, .type = RECORD_INTEGER};
    struct row *hook = table_find(&m->hooks, 0, &key);
    if (!hook)
        return journal_invalid(err, "not_found", "no run of a hook has the number %lld", (long long)number);
    end_hook(m, hook, record_text(in, "outcome"), record_text(in, "error"));
    return 0;
}

int memory_hook_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const char *policy = record_text(in, "policy"), *name = record_text(in, "hook");
    int64_t limit = journal_limit(in, INT64_MAX);
    const struct row *hook;
    for (size_t at = m->hooks.slots; (int64_t)out->count < limit && (hook = table_each_back(&m->hooks, &at));)
        if ((!policy || row_is(hook, HOOK_POLICY, policy)) && (!name || row_is(hook, HOOK_HOOK, name)))
            table_put(&m->hooks, hook, record_list_add(out));
    return 0;
}

/* One that was skipped, or runs, says nothing about failing. */
static int64_t count_failures(const struct memory *m, const struct row *newest)
{
    int64_t failures = 0;
    const struct row *hook = newest;
    for (; hook; hook = table_next(&m->hooks, 1, hook)) {
        if (row_is(hook, HOOK_OUTCOME, "done")) break;
        if (row_has(hook, HOOK_OUTCOME) && !row_is(hook, HOOK_OUTCOME, "skipped")) failures++;
    }
    return failures;
}

static int by_policy(const void *a, const void *b)
{
    const struct record *left = *(struct record *const *)a, *right = *(struct record *const *)b;
    int order = strcmp(record_text(left, "policy"), record_text(right, "policy"));
    return order ? order : strcmp(record_text(left, "hook"), record_text(right, "hook"));
}

int memory_hook_last(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)err;
    const struct row *hook;
    for (size_t at = m->hooks.slots; (hook = table_each_back(&m->hooks, &at));) {
        const char *policy = row_text(hook, HOOK_POLICY), *name = row_text(hook, HOOK_HOOK);
        if (table_find_texts(&m->hooks, 1, policy, name) != hook) continue; /* there is a newer one */
        struct record *row = record_list_add(out);
        table_put(&m->hooks, hook, row);
        record_set_integer(row, "failures", count_failures(m, hook));
    }
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_policy);
    return 0;
}

/* ---- what goes after a while --------------------------------------------------------------------------- */

void memory_compact_rest(struct memory *m, int64_t before)
{
    int64_t messages_before = m->now - JOURNAL_OUTBOX_KEEP_DAYS * (int64_t)JOURNAL_DAY_MS;
    int64_t hooks_before = m->now - JOURNAL_HOOK_KEEP_DAYS * (int64_t)JOURNAL_DAY_MS;
    struct row *row;
    for (size_t at = 0; (row = table_each(&m->locks, &at));)
        if (!row_has(row, LOCK_PROCESS) && row_integer(row, LOCK_SINCE) < before)
            table_remove(&m->locks, row);
    for (size_t at = 0; (row = table_each(&m->messages, &at));)
        if (row_has(row, MESSAGE_OUTCOME) && row_integer(row, MESSAGE_ENDED_AT) < messages_before)
            table_remove(&m->messages, row);
    for (size_t at = 0; (row = table_each(&m->hooks, &at));) {
        bool newest =
            table_find_texts(&m->hooks, 1, row_text(row, HOOK_POLICY), row_text(row, HOOK_HOOK)) == row;
        if (!newest && row_has(row, HOOK_OUTCOME) && row_integer(row, HOOK_ENDED_AT) < hooks_before)
            table_remove(&m->hooks, row);
    }
}

/* ---- the end of the process ---------------------------------------------------------------------------- */

void memory_leave_rest(struct memory *m)
{
    struct row *row;
    for (size_t at = 0; (row = table_each(&m->locks, &at));) table_clear(&m->locks, row, LOCK_PROCESS);
    for (size_t at = 0; (row = table_each(&m->hooks, &at));)
        if (!row_has(row, HOOK_OUTCOME)) end_hook(m, row, "interrupted", NULL);
}
