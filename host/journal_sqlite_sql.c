/* journal_sqlite_sql.c - statements: prepared once, bound by name, read into records. Sums of money. */
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"
#include "host/mem.h"

/* ---- functions of ours -------------------------------------------------------------------------------- */

/* amount_currency("0.05 CCD") -> "CCD"; NULL of NULL. */
static void sql_amount_currency(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    const char *text = (const char *)sqlite3_value_text(args[0]);
    const char *blank = text ? strchr(text, ' ') : NULL;
    if (blank) sqlite3_result_text(ctx, blank + 1, -1, SQLITE_TRANSIENT);
}

static void result_amount(sqlite3_context *ctx, const struct amount *amount)
{
    char text[AMOUNT_TEXT_SIZE];
    size_t length = amount_format(amount, text);
    sqlite3_result_text(ctx, text, (int)length, SQLITE_TRANSIENT);
}

/* amount_plus(a, b) -> their sum; NULL counts as nothing. */
static void sql_amount_plus(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    const char *a = (const char *)sqlite3_value_text(args[0]), *b = (const char *)sqlite3_value_text(args[1]);
    struct amount sum;
    if (!a || !b) {
        sqlite3_result_value(ctx, args[a ? 0 : 1]);
    } else if (amount_parse(&sum, a, strlen(a), NULL, NULL) < 0 || !journal_sum_add(&sum, b, 1)) {
        sqlite3_result_error(ctx, "amounts cannot be added", -1);
    } else {
        result_amount(ctx, &sum);
    }
}

/* amount_less(a, b) -> what is left of a; NULL counts as nothing. */
static void sql_amount_less(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    const char *a = (const char *)sqlite3_value_text(args[0]), *b = (const char *)sqlite3_value_text(args[1]);
    struct amount sum;
    if (!b) {
        sqlite3_result_value(ctx, args[0]);
    } else if (!a || amount_parse(&sum, a, strlen(a), NULL, NULL) < 0 || !journal_sum_add(&sum, b, -1)) {
        sqlite3_result_error(ctx, "amounts cannot be subtracted", -1);
    } else {
        result_amount(ctx, &sum);
    }
}

struct total {
    bool begun, wrong;
    struct amount sum;
};

/* amount_total(currency, amount): the exact sum; nothing of that currency if there are only NULLs. */
static void sql_amount_step(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    struct total *t = sqlite3_aggregate_context(ctx, sizeof *t);
    const char *currency = (const char *)sqlite3_value_text(args[0]);
    if (!t || !currency) return;
    if (!t->begun) {
        t->begun = true;
        t->wrong = amount_zero(&t->sum, currency, NULL) < 0;
    }
    const char *text = (const char *)sqlite3_value_text(args[1]);
    if (!t->wrong) t->wrong = !journal_sum_add(&t->sum, text, 1);
}

static void sql_amount_total(sqlite3_context *ctx)
{
    const struct total *t = sqlite3_aggregate_context(ctx, 0);
    if (!t || !t->begun) return;
    if (t->wrong) {
        sqlite3_result_error(ctx, "an amount cannot be read", -1);
        return;
    }
    result_amount(ctx, &t->sum);
}

int sqlite_functions(struct sqlite_engine *engine, struct err *err)
{
    static const struct {
        const char *name;
        int args;
        void (*function)(sqlite3_context *, int, sqlite3_value **);
        void (*step)(sqlite3_context *, int, sqlite3_value **);
        void (*final)(sqlite3_context *);
    } functions[] = {
        {"amount_currency", 1, sql_amount_currency, NULL, NULL},
        {"amount_plus", 2, sql_amount_plus, NULL, NULL},
        {"amount_less", 2, sql_amount_less, NULL, NULL},
        {"amount_total", 2, NULL, sql_amount_step, sql_amount_total},
    };
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (sqlite3_create_function_v2(engine->db, functions[i].name, functions[i].args, flags, NULL,
                                       functions[i].function, functions[i].step, functions[i].final,
                                       NULL) != SQLITE_OK)
            return sqlite_fail(engine, err);
    return 0;
}

/* ---- prepared statements ------------------------------------------------------------------------------ */

static uint32_t hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

void sqlite_forget_statements(struct sqlite_engine *engine)
{
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        sqlite3_finalize(engine->statements[i].stmt);
        mem_free(engine->statements[i].text);
        engine->statements[i] = (struct sqlite_statement){NULL, NULL};
    }
}

/* The place of the text, or the free one where it is to go.  A table that is full is emptied. */
static struct sqlite_statement *find_statement(struct sqlite_engine *engine, const char *text)
{
    uint32_t at = hash(text);
    for (uint32_t i = 0; i < STATEMENTS_MAX; i++) {
        struct sqlite_statement *s = &engine->statements[(at + i) & (STATEMENTS_MAX - 1)];
        if (!s->text || strcmp(s->text, text) == 0) return s;
    }
    sqlite_forget_statements(engine);
    return &engine->statements[at & (STATEMENTS_MAX - 1)];
}

static sqlite3_stmt *prepare(struct sqlite_engine *engine, const char *text, struct err *err)
{
    struct sqlite_statement *s = find_statement(engine, text);
    if (s->text) return s->stmt;
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v3(engine->db, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK) {
        sqlite_fail(engine, err);
        return NULL;
    }
    *s = (struct sqlite_statement){mem_strdup(text), stmt};
    return stmt;
}

static int bind_field(sqlite3_stmt *stmt, int index, const struct record *from, const char *name)
{
    if (record_type(from, name) == RECORD_INTEGER)
        return sqlite3_bind_int64(stmt, index, record_integer(from, name));
    size_t n;
    const char *bytes = record_bytes(from, name, &n);
    if (!bytes) return sqlite3_bind_null(stmt, index);
    return sqlite3_bind_text64(stmt, index, bytes, n, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_all(const struct sqlite_call *call, sqlite3_stmt *stmt)
{
    int rc = SQLITE_OK;
    for (int i = 1; rc == SQLITE_OK && i <= sqlite3_bind_parameter_count(stmt); i++) {
        const char *name = sqlite3_bind_parameter_name(stmt, i) + 1;
        if (strcmp(name, "now") == 0)
            rc = sqlite3_bind_int64(stmt, i, call->now_ms);
        else if (strcmp(name, "me") == 0)
            rc = sqlite3_bind_text(stmt, i, call->engine->self.id, -1, SQLITE_STATIC);
        else if (call->more && record_type(call->more, name) != RECORD_NONE)
            rc = bind_field(stmt, i, call->more, name);
        else
            rc = bind_field(stmt, i, call->in, name);
    }
    return rc;
}

static void add_columns(sqlite3_stmt *stmt, struct record *row)
{
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        const char *name = sqlite3_column_name(stmt, i);
        int type = sqlite3_column_type(stmt, i);
        if (type == SQLITE_NULL) continue;
        if (type == SQLITE_INTEGER) {
            record_set_integer(row, name, sqlite3_column_int64(stmt, i));
            continue;
        }
        const char *text = (const char *)sqlite3_column_text(stmt, i);
        record_set_bytes(row, name, text ? text : "", (size_t)sqlite3_column_bytes(stmt, i));
    }
}

/* Steps to the end; out NULL: rows are not looked at. limit: of the rows. */
static int step_all(struct sqlite_call *call, sqlite3_stmt *stmt, struct record_list *out, size_t limit)
{
    int rc = bind_all(call, stmt);
    size_t count = 0;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW) break;
        if (out) add_columns(stmt, record_list_add(out));
        if (++count == limit) rc = SQLITE_DONE;
        if (rc == SQLITE_DONE) break;
    }
    int failed = rc == SQLITE_DONE ? 0 : sqlite_fail(call->engine, call->err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return failed;
}

int sqlite_run(struct sqlite_call *call, const char *text, int64_t *changed)
{
    sqlite3_stmt *stmt = prepare(call->engine, text, call->err);
    if (!stmt || step_all(call, stmt, NULL, SIZE_MAX) < 0) return -1;
    if (changed) *changed = sqlite3_changes64(call->engine->db);
    return 0;
}

int sqlite_rows(struct sqlite_call *call, const char *text, struct record_list *out)
{
    sqlite3_stmt *stmt = prepare(call->engine, text, call->err);
    return stmt ? step_all(call, stmt, out, SIZE_MAX) : -1;
}

int sqlite_row(struct sqlite_call *call, const char *text, struct record **out)
{
    struct record_list rows = {NULL, 0};
    sqlite3_stmt *stmt = prepare(call->engine, text, call->err);
    *out = NULL;
    if (!stmt || step_all(call, stmt, &rows, 1) < 0) {
        record_list_deinit(&rows);
        return -1;
    }
    if (rows.count > 0) {
        *out = rows.items[0];
        rows.count = 0;
    }
    record_list_deinit(&rows);
    return 0;
}

int sqlite_exec(struct sqlite_engine *engine, const char *text, struct err *err)
{
    if (sqlite3_exec(engine->db, text, NULL, NULL, NULL) == SQLITE_OK) return 0;
    return sqlite_fail(engine, err);
}

int sqlite_number(struct sqlite_engine *engine, const char *text, int64_t *out, struct err *err)
{
    sqlite3_stmt *stmt;
    *out = 0;
    if (sqlite3_prepare_v2(engine->db, text, -1, &stmt, NULL) != SQLITE_OK) return sqlite_fail(engine, err);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(stmt, 0);
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_fail(engine, err);
    sqlite3_finalize(stmt);
    return failed;
}

/* ---- further parameters ------------------------------------------------------------------------------- */

static struct record *more(struct sqlite_call *call)
{
    if (!call->more) call->more = record_new();
    return call->more;
}

void sqlite_more_text(struct sqlite_call *call, const char *name, const char *text)
{
    record_set_text(more(call), name, text);
}

void sqlite_more_integer(struct sqlite_call *call, const char *name, int64_t value)
{
    record_set_integer(more(call), name, value);
}

void sqlite_more_field(struct sqlite_call *call, const char *name, const struct record *from,
                       const char *field)
{
    size_t n;
    const char *bytes = record_bytes(from, field, &n);
    if (record_type(from, field) == RECORD_INTEGER)
        record_set_integer(more(call), name, record_integer(from, field));
    else if (bytes)
        record_set_bytes(more(call), name, bytes, n);
    else
        record_set_text(more(call), name, NULL);
}
