/* The schema of the journal: one of each released version is read, older ones are migrated after a backup,
 * newer ones refused. */
#include "journal_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/journal_sqlite.h"

static char place[128], file[160];

static void fresh_place(void)
{
    snprintf(place, sizeof place, "%s", fresh_directory());
    snprintf(file, sizeof file, "%s/" JOURNAL_FILE, place);
}

static void put_value(const char *value)
{
    ask("store.set", "space", "s", "name", "n", "value", value, NULL);
}

static int mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

static int64_t number_in(const char *path, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    int64_t number = -1;
    if (sqlite3_open(path, &db) == SQLITE_OK && sqlite3_prepare_v2(db, text, -1, &stmt, NULL) == SQLITE_OK) {
        if (sqlite3_step(stmt) == SQLITE_ROW) number = sqlite3_column_int64(stmt, 0);
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    return number;
}

static void load_fixture(const char *path)
{
    char *text = mem_alloc(200000);
    sqlite3 *db;
    FILE *in = fopen(path, "r");
    CHECK(in != NULL && fread(text, 1, 199999, in) > 1000);
    if (in) fclose(in);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    CHECK_INT(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    mem_free(text);
}

static void test_a_journal_of_version_1_is_read(void)
{
    fresh_place();
    load_fixture("tests/fixtures/journal/version_1.sql");
    open_journal(place);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    ASK("job.get", "id", "j-running", NULL);
    CHECK_STR(text_of(0, "state"), "running");
    CHECK_STR(text_of(0, "remote_id"), "remote-1");
    CHECK_STR(sums_of("team day 20000 CCD"), "2 0 1.25");
    ASK("attempt.list", "job", "j-running", NULL);
    CHECK_INT(rows.count, 1);
    ASK("decision.list", "job", "j-running", NULL);
    CHECK_STR(text_of(0, "text"), "within the budget");
    ASK("store.get", "space", "s", "name", "cursor", NULL);
    CHECK_STR(text_of(0, "value"), "17");
    close_journal();
}

static const char step_2[] = "ALTER TABLE jobs ADD COLUMN colour TEXT; UPDATE jobs SET colour = 'grey'";
static const char step_3_fails[] = "DELETE FROM jobs; CREATE TABLE jobs(x)";

/* Opens the file with steps of the test's own; -1: not migrated. */
static int migrate(const struct sqlite_step *steps, size_t count, struct err *err)
{
    struct sqlite_engine engine = {.directory = place, .path = file, .busy_limit_ms = 50};
    CHECK_INT(sqlite3_open(file, &engine.db), SQLITE_OK);
    int rc = sqlite_schema_update(&engine, steps, count, err);
    sqlite3_close(engine.db);
    return rc;
}

static void test_an_older_journal_is_backed_up_and_migrated(void)
{
    size_t count;
    struct sqlite_step steps[3] = {*sqlite_schema_steps(&count), {2, {step_2}}, {3, {step_3_fails}}};
    struct err err = {.kind = 0};
    char backup[200];
    fresh_place();
    snprintf(backup, sizeof backup, "%s.v1-backup", file);
    load_fixture("tests/fixtures/journal/version_1.sql");
    CHECK_INT(migrate(steps, 2, &err), 0);
    CHECK_INT(number_in(file, "PRAGMA user_version"), 2);
    CHECK_INT(number_in(file, "SELECT count(*) FROM jobs WHERE colour = 'grey'"), 2);
    CHECK_INT(number_in(backup, "PRAGMA user_version"), 1);
    CHECK_INT(number_in(backup, "SELECT count(*) FROM jobs"), 2);
    CHECK_INT(mode_of(backup), 0600);

    /* One that fails leaves the file as it was, whatever it had done by then. */
    CHECK_INT(migrate(steps, 3, &err), -1);
    CHECK_INT(number_in(file, "PRAGMA user_version"), 2);
    CHECK_INT(number_in(file, "SELECT count(*) FROM jobs"), 2);
}

static void test_a_newer_journal_is_refused_with_the_version_to_install(void)
{
    size_t count;
    struct sqlite_step steps[2] = {*sqlite_schema_steps(&count), {2, {step_2}}};
    struct err err = {.kind = 0};
    sqlite3 *db;
    fresh_place();
    load_fixture("tests/fixtures/journal/version_1.sql");
    CHECK_INT(migrate(steps, 2, &err), 0);
    CHECK_INT(sqlite3_open(file, &db), SQLITE_OK);
    sqlite3_exec(db, "UPDATE meta SET value = '7.8.9' WHERE name = 'program'", NULL, NULL, NULL);
    sqlite3_close(db);
    open_journal(place);
    put_value("v");
    CHECK_STR(failure.code, "journal_newer");
    CHECK(strstr(failure.message, "install perigee 7.8.9 or a later one") != NULL);
    close_journal();
    CHECK_INT(number_in(file, "PRAGMA user_version"), 2);
}

int main(void)
{
    test_a_journal_of_version_1_is_read();
    test_an_older_journal_is_backed_up_and_migrated();
    test_a_newer_journal_is_refused_with_the_version_to_install();
    HARNESS_END();
}
