/* journal_sqlite_process.c - the processes of a journal, and burying the dead. */
#include <stdio.h>
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

/* Also after it was taken for dead, and as its beat. */
int sqlite_process_enter(struct sqlite_call *call)
{
    const struct journal_process *self = &call->engine->self;
    sqlite_more_text(call, "my_kind", self->kind);
    sqlite_more_text(call, "my_host", self->host);
    sqlite_more_text(call, "my_boot", self->boot);
    sqlite_more_integer(call, "my_pid", self->pid);
    sqlite_more_integer(call, "my_start", self->start);
    return sqlite_run(
        call,
        "INSERT INTO processes(process, kind, host, boot, pid, start, begun_at, beat_at)"
        " VALUES (:me, :my_kind, :my_host, :my_boot, :my_pid, :my_start, :now, :now) ON CONFLICT(process)"
        " DO UPDATE SET beat_at = :now, ended_at = NULL, clean = NULL",
        NULL);
}

static bool is_alive(const struct sqlite_call *call, const struct record *row)
{
    struct journal_process process = {.pid = record_integer(row, "pid"),
                                      .start = record_integer(row, "start"),
                                      .beat_at = record_integer(row, "beat_at")};
    snprintf(process.id, sizeof process.id, "%s", record_text(row, "process"));
    snprintf(process.host, sizeof process.host, "%s", record_text(row, "host"));
    snprintf(process.boot, sizeof process.boot, "%s", record_text(row, "boot"));
    return journal_process_alive(&process, &call->engine->self, call->now_ms);
}

/* ---- burying ------------------------------------------------------------------------------------------ */

static int bury_permits(struct sqlite_call *call, const char *process)
{
    struct record_list permits = {NULL, 0};
    sqlite_more_text(call, "buried", process);
    int rc =
        sqlite_rows(call, "SELECT * FROM permits WHERE process = :buried AND ended_at IS NULL", &permits);
    for (size_t i = 0; rc == 0 && i < permits.count; i++) {
        const struct record *permit = permits.items[i];
        struct journal_burial b =
            journal_permit_bury(record_text(permit, "state"), record_text(permit, "job") != NULL);
        struct sqlite_change change = {
            .state = b.state, .bucket = b.bucket, .derived = b.derived || record_integer(permit, "derived")};
        if (b.state) rc = sqlite_permit_change(call, permit, &change);
    }
    record_list_deinit(&permits);
    return rc;
}

static int bury(struct sqlite_call *call, const char *process, bool clean)
{
    if (bury_permits(call, process) < 0) return -1;
    sqlite_more_text(call, "buried", process);
    sqlite_more_integer(call, "clean", clean);
    if (sqlite_run(call,
                   "UPDATE jobs INDEXED BY jobs_owner SET process = NULL, fence = fence + 1 WHERE process = "
                   ":buried AND active = 1",
                   NULL) < 0 ||
        sqlite_run(call, "UPDATE locks SET process = NULL WHERE process = :buried AND process IS NOT NULL",
                   NULL) < 0 ||
        sqlite_run(call,
                   "UPDATE hooks SET outcome = 'interrupted', ended_at = :now"
                   " WHERE process = :buried AND outcome IS NULL",
                   NULL) < 0)
        return -1;
    return sqlite_run(
        call,
        "UPDATE processes SET ended_at = :now, clean = :clean WHERE process = :buried AND ended_at IS NULL",
        NULL);
}

static int read_present(struct sqlite_call *call, struct record_list *rows)
{
    return sqlite_rows(call, "SELECT * FROM processes WHERE ended_at IS NULL ORDER BY number", rows);
}

int sqlite_process_any_dead(struct sqlite_call *call, bool *dead)
{
    struct record_list rows = {NULL, 0};
    int rc = read_present(call, &rows);
    *dead = false;
    for (size_t i = 0; i < rows.count; i++) *dead = *dead || !is_alive(call, rows.items[i]);
    record_list_deinit(&rows);
    return rc;
}

int sqlite_process_bury_dead(struct sqlite_call *call)
{
    struct record_list rows = {NULL, 0};
    int rc = read_present(call, &rows);
    for (size_t i = 0; rc == 0 && i < rows.count; i++)
        if (!is_alive(call, rows.items[i])) rc = bury(call, record_text(rows.items[i], "process"), false);
    record_list_deinit(&rows);
    return rc;
}

int sqlite_process_alive(struct sqlite_call *call, const char *process, bool *alive)
{
    struct record *row;
    *alive = false;
    if (!process) return 0;
    sqlite_more_text(call, "asked", process);
    if (sqlite_row(call, "SELECT * FROM processes WHERE process = :asked AND ended_at IS NULL", &row) < 0)
        return -1;
    if (!row) return 0;
    *alive = is_alive(call, row);
    int rc = *alive ? 0 : bury(call, record_text(row, "process"), false);
    record_free(row);
    return rc;
}

/* ---- verbs -------------------------------------------------------------------------------------------- */

int sqlite_process_list(struct sqlite_call *call)
{
    struct record_list rows = {NULL, 0};
    int rc = read_present(call, &rows);
    for (size_t i = 0; i < rows.count; i++) {
        const struct record *row = rows.items[i];
        struct record *out = record_list_add(call->out);
        static const char *const texts[] = {"process", "kind", "host"};
        static const char *const integers[] = {"pid", "begun_at", "beat_at"};
        for (size_t k = 0; k < 3; k++) record_set_text(out, texts[k], record_text(row, texts[k]));
        for (size_t k = 0; k < 3; k++) record_set_integer(out, integers[k], record_integer(row, integers[k]));
        record_set_integer(out, "mine", strcmp(record_text(row, "process"), call->engine->self.id) == 0);
        record_set_integer(out, "alive", is_alive(call, row));
    }
    record_list_deinit(&rows);
    return rc;
}

int sqlite_process_last(struct sqlite_call *call)
{
    return sqlite_rows(call,
                       "SELECT process, begun_at, beat_at, ended_at, clean FROM processes"
                       " WHERE kind = :kind AND process <> :me ORDER BY number DESC LIMIT 1",
                       call->out);
}

int sqlite_process_leave(struct sqlite_call *call)
{
    return bury(call, call->engine->self.id, true);
}
