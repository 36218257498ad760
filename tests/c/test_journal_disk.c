/* The file of the journal: whose it is, what is wrong with it, what a bad disk does. */
#include "journal_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "host/journal_sqlite.h"

static char place[128], file[160];

static void fresh_place(void)
{
    snprintf(place, sizeof place, "%s", fresh_directory());
    snprintf(file, sizeof file, "%s/" JOURNAL_FILE, place);
}

/* ---- a disk that fails: SQLite's own way to files, with a fault in it ------------------------------------
 */

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static atomic_int fault_rc, fault_errno; /* of every write, truncation and sync; 0: none */
static atomic_int open_errno;            /* of every open */
static atomic_int locks_refused;         /* how many of the next locks for writing somebody else has */
static sqlite3_vfs *real_vfs;

#define REAL(file) (((struct shim_file *)(file))->real)
#define PASS(name, params, args)                                                                             \
    static int shim_##name params                                                                            \
    {                                                                                                        \
        return REAL(f)->pMethods->name args;                                                                 \
    }
#define FAIL(name, params, args)                                                                             \
    static int shim_##name params                                                                            \
    {                                                                                                        \
        int rc = atomic_load(&fault_rc);                                                                     \
        return rc ? rc : REAL(f)->pMethods->name args;                                                       \
    }
PASS(xClose, (sqlite3_file * f), (REAL(f)))
PASS(xRead, (sqlite3_file * f, void *p, int n, sqlite3_int64 at), (REAL(f), p, n, at))
FAIL(xWrite, (sqlite3_file * f, const void *p, int n, sqlite3_int64 at), (REAL(f), p, n, at))
FAIL(xTruncate, (sqlite3_file * f, sqlite3_int64 size), (REAL(f), size))
FAIL(xSync, (sqlite3_file * f, int flags), (REAL(f), flags))
PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *size), (REAL(f), size))
PASS(xUnlock, (sqlite3_file * f, int lock), (REAL(f), lock))
PASS(xCheckReservedLock, (sqlite3_file * f, int *out), (REAL(f), out))
PASS(xFileControl, (sqlite3_file * f, int op, void *arg), (REAL(f), op, arg))
PASS(xSectorSize, (sqlite3_file * f), (REAL(f)))
PASS(xDeviceCharacteristics, (sqlite3_file * f), (REAL(f)))
PASS(xShmMap, (sqlite3_file * f, int page, int size, int extend, void volatile **out),
     (REAL(f), page, size, extend, out))
PASS(xShmLock, (sqlite3_file * f, int offset, int n, int flags), (REAL(f), offset, n, flags))
PASS(xShmUnmap, (sqlite3_file * f, int remove), (REAL(f), remove))

static int shim_xLock(sqlite3_file *f, int lock)
{
    if (lock >= SQLITE_LOCK_RESERVED && atomic_load(&locks_refused) > 0) {
        atomic_fetch_sub(&locks_refused, 1);
        return SQLITE_BUSY;
    }
    return REAL(f)->pMethods->xLock(REAL(f), lock);
}

static void shim_xShmBarrier(sqlite3_file *f)
{
    REAL(f)->pMethods->xShmBarrier(REAL(f));
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_xClose,
    .xRead = shim_xRead,
    .xWrite = shim_xWrite,
    .xTruncate = shim_xTruncate,
    .xSync = shim_xSync,
    .xFileSize = shim_xFileSize,
    .xLock = shim_xLock,
    .xUnlock = shim_xUnlock,
    .xCheckReservedLock = shim_xCheckReservedLock,
    .xFileControl = shim_xFileControl,
    .xSectorSize = shim_xSectorSize,
    .xDeviceCharacteristics = shim_xDeviceCharacteristics,
    .xShmMap = shim_xShmMap,
    .xShmLock = shim_xShmLock,
    .xShmBarrier = shim_xShmBarrier,
    .xShmUnmap = shim_xShmUnmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)vfs;
    struct shim_file *shim = (struct shim_file *)f;
    shim->base.pMethods = NULL;
    if (atomic_load(&open_errno)) return SQLITE_CANTOPEN;
    shim->real = (sqlite3_file *)(shim + 1);
    int rc = real_vfs->xOpen(real_vfs, name, shim->real, flags, out);
    if (shim->real->pMethods) shim->base.pMethods = &shim_methods;
    return rc;
}

static int shim_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    if (atomic_load(&open_errno)) return atomic_load(&open_errno);
    return atomic_load(&fault_errno) ? atomic_load(&fault_errno) : real_vfs->xGetLastError(real_vfs, n, out);
}

static void install_shim(void)
{
    static sqlite3_vfs shim;
    real_vfs = sqlite3_vfs_find(NULL);
    shim = *real_vfs;
    shim.zName = "shim";
    shim.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
    shim.xOpen = shim_open;
    shim.xGetLastError = shim_last_error;
    sqlite3_vfs_register(&shim, 1);
}

static void break_disk(int rc, int error)
{
    atomic_store(&fault_rc, rc);
    atomic_store(&fault_errno, error);
}

static void put_value(const char *value)
{
    ask("store.set", "space", "s", "name", "n", "value", value, NULL);
}

static void test_a_disk_that_cannot_be_written(void)
{
    static const struct {
        int rc, error;
        const char *code, *words;
    } faults[] = {
        {SQLITE_FULL, 0, "journal_full", "make room"},
        {SQLITE_IOERR_WRITE, ENOSPC, "journal_full", "make room"},
        {SQLITE_IOERR_WRITE, EFBIG, "journal_full", "make room"},
        {SQLITE_IOERR_WRITE, EROFS, "journal_readonly", "--state"},
        {SQLITE_READONLY, 0, "journal_readonly", "--state"},
        {SQLITE_IOERR_WRITE, EIO, "journal_io", "system's log"},
        {SQLITE_CORRUPT, 0, "journal_corrupt", "perigee journal verify"},
    };
    fresh_place();
    open_journal(place);
    put_value("before");
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct journal_status status;
        break_disk(faults[i].rc, faults[i].error);
        put_value("lost");
        CHECK_INT(failure.kind, ERR_UNAVAILABLE);
        CHECK_STR(failure.code, faults[i].code);
        CHECK(strstr(failure.message, faults[i].words) != NULL);
        CHECK(strstr(failure.message, file) != NULL);
        journal_status(journal, &status);
        CHECK(!status.ok && status.answered_ms > 0);
        CHECK_STR(status.err.code, faults[i].code);
        break_disk(0, 0);
        ASK("store.get", "space", "s", "name", "n", NULL);
        CHECK_STR(text_of(0, "value"), i ? "again" : "before");
        put_value("again");
        CHECK_INT(failure.kind, 0);
        journal_status(journal, &status);
        CHECK(status.ok && status.open);
    }
    close_journal();
}

static void test_a_full_disk_can_still_be_read(void)
{
    fresh_place();
    open_journal(place);
    put_value("v");
    break_disk(SQLITE_FULL, 0);
    put_value("lost");
    CHECK_STR(failure.code, "journal_full");
    ASK("store.get", "space", "s", "name", "n", NULL);
    CHECK_STR(text_of(0, "value"), "v");
    break_disk(0, 0);
    close_journal();
}

static void test_a_disk_that_is_full_from_the_start_can_be_read(void)
{
    struct journal_status status;
    fresh_place();
    open_journal(place);
    put_value("v");
    close_journal();
    break_disk(SQLITE_FULL, 0);
    open_journal(place);
    ASK("store.get", "space", "s", "name", "n", NULL);
    CHECK_STR(text_of(0, "value"), "v");
    journal_status(journal, &status);
    CHECK(status.open && !status.ok);
    CHECK_STR(status.err.code, "journal_full");
    put_value("lost");
    CHECK_STR(failure.code, "journal_full");
    break_disk(0, 0);
    put_value("w");
    CHECK_INT(failure.kind, 0);
    ASK("process.list", NULL);
    CHECK_INT(number_of(rows.count - 1, "mine"), 1);
    close_journal();
}

static void test_a_journal_that_cannot_be_opened_is_tried_again(void)
{
    fresh_place();
    open_journal(place);
    atomic_store(&open_errno, EROFS);
    put_value("lost");
    CHECK_STR(failure.code, "journal_readonly");
    CHECK_STR(journal_process_id(journal)[0] ? "known" : "", "known");
    atomic_store(&open_errno, EMFILE);
    put_value("lost");
    CHECK_STR(failure.code, "journal_open");
    atomic_store(&open_errno, 0);
    put_value("v");
    CHECK_INT(failure.kind, 0);
    close_journal();
}

/* A limit on the size of files is an answer too, not the signal that ends the process. */
static void fill_up(void *arg)
{
    (void)arg;
    struct rlimit limit = {400000, 400000};
    char *big = mem_alloc(50001);
    memset(big, 'x', 50000);
    open_journal(place);
    put_value("v");
    setrlimit(RLIMIT_FSIZE, &limit);
    int full = 0;
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        if (ask("store.set", "space", "s", "name", name, "value", big, NULL) < 0)
            full += strcmp(failure.code, "journal_full") == 0;
    }
    CHECK(full > 5);
    ASK("store.get", "space", "s", "name", "n", NULL);
    CHECK_STR(text_of(0, "value"), "v");
    mem_free(big);
    close_journal();
}

static void test_a_limit_of_the_system_is_an_answer(void)
{
    fresh_place();
    CHECK_INT(in_child(fill_up, NULL), 0);
    open_journal(place);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    close_journal();
}

/* ---- whose file it is ------------------------------------------------------------------------------------
 */

static int mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

static void test_the_file_is_for_its_owner_alone(void)
{
    char deep[160], path[200];
    fresh_place();
    mode_t before = umask(0);
    snprintf(deep, sizeof deep, "%s/a/b", place);
    open_journal(deep);
    put_value("v");
    CHECK_INT(mode_of(deep), 0700);
    static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", deep, names[i]);
        CHECK_INT(mode_of(path), 0600);
    }
    snprintf(path, sizeof path, "%s/copy.db", place);
    ASK("journal.backup", "path", path, NULL);
    CHECK(number_of(0, "bytes") > 10000);
    CHECK_INT(mode_of(path), 0600);
    REFUSED("exists", "journal.backup", "path", path, NULL);
    REFUSED("journal_io", "journal.backup", "path", "/nowhere/copy.db", NULL);
    close_journal();
    umask(before);
    snprintf(path, sizeof path, "%s/journal.db", deep);
    chmod(path, 0644);
    open_journal(deep);
    put_value("v");
    CHECK_INT(mode_of(path), 0600);
    close_journal();
}

static void refuses(const char *words)
{
    open_journal(place);
    put_value("v");
    CHECK_STR(failure.code, "journal_open");
    CHECK(strstr(failure.message, words) != NULL);
    close_journal();
}

static void test_another_file_in_its_place_is_refused(void)
{
    char other[160];
    fresh_place();
    snprintf(other, sizeof other, "%s/other", place);
    CHECK_INT(symlink(other, file), 0);
    refuses("symbolic link");
    CHECK_INT(access(other, F_OK), -1); /* nothing was made through it */
    unlink(file);
    CHECK_INT(mkdir(file, 0700), 0);
    refuses("no regular file");
    rmdir(file);
    close(open(other, O_CREAT | O_WRONLY, 0600));
    CHECK_INT(link(other, file), 0);
    refuses("second name");
    unlink(other);
    if (geteuid() == 0) {
        CHECK_INT(chown(file, 12345, 12345), 0);
        refuses("belongs to user 12345");
        CHECK_INT(chown(file, 0, 0), 0);
    }
    chmod(place, 0777);
    refuses("everybody");
}

static int owner_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int)st.st_uid : -1;
}

/* A service has a user of its own; whoever looks after it is root. */
static void test_root_works_on_the_journal_of_a_service(void)
{
    static const char *const names[] = {"", "-wal", "-shm"};
    char path[200];
    if (geteuid() != 0) return;
    for (int there = 0; there < 2; there++) {
        if (!there) fresh_place();
        CHECK_INT(chown(place, 12345, 12345), 0);
        open_journal(place);
        put_value("v");
        CHECK_INT(failure.kind, 0);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            snprintf(path, sizeof path, "%s%s", file, names[i]);
            CHECK_INT(owner_of(path), 12345);
        }
        close_journal();
    }
}

/* ---- what is wrong with it -------------------------------------------------------------------------------
 */

static void overwrite(off_t at, size_t n)
{
    char *junk = mem_alloc(n);
    memset(junk, 0x5a, n);
    int fd = open(file, O_WRONLY);
    CHECK(pwrite(fd, junk, n, at) == (ssize_t)n);
    close(fd);
    mem_free(junk);
}

static void test_a_file_that_is_no_journal(void)
{
    fresh_place();
    int fd = open(file, O_CREAT | O_WRONLY, 0600);
    CHECK(write(fd, "these are the notes of somebody else, and no database at all", 60) == 60);
    close(fd);
    overwrite(60, 8000);
    open_journal(place);
    put_value("v");
    CHECK_STR(failure.code, "journal_corrupt");
    CHECK(strstr(failure.message, "backup") != NULL);
    unlink(file); /* as its owner may, to begin anew; no restart is needed */
    put_value("v");
    CHECK_INT(failure.kind, 0);
    close_journal();
}

static void test_a_file_that_loses_its_name_is_noticed(void)
{
    char aside[200];
    fresh_place();
    snprintf(aside, sizeof aside, "%s.aside", file);
    open_journal(place);
    put_value("v");
    CHECK_INT(rename(file, aside), 0);
    put_value("lost");
    CHECK_STR(failure.code, "journal_io");
    CHECK(strstr(failure.message, "removed or replaced") != NULL);
    CHECK_INT(rename(aside, file), 0); /* as a backup that is put back */
    ASK("store.get", "space", "s", "name", "n", NULL);
    CHECK_STR(text_of(0, "value"), "v");
    put_value("again");
    CHECK_INT(failure.kind, 0);
    close_journal();
}

static void fill_and_die(void *arg)
{
    open_journal(place);
    for (unsigned n = 0; n < 300; n++) {
        char id[16];
        snprintf(id, sizeof id, "j%u", n);
        SUBMIT(id, id, "k", "options", "{\"some\":\"text that takes room, so that there are pages enough\"}",
               NULL);
    }
    if (arg) kill(getpid(), SIGKILL);
    close_journal();
}

static void test_damage_is_found(void)
{
    fresh_place();
    CHECK_INT(in_child(fill_and_die, NULL), 0);
    overwrite(20 * 4096, 3 * 4096);
    open_journal(place); /* the end was clean: not all pages are read at the start */
    ASK("journal.verify", NULL);
    CHECK(rows.count > 0);
    close_journal();

    fresh_place();
    CHECK_INT(in_child(fill_and_die, (void *)(uintptr_t) "die"), 128 + SIGKILL);
    sqlite3 *db; /* puts the log into the file, so that the damage is not hidden by it */
    CHECK_INT(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    overwrite(20 * 4096, 3 * 4096);
    open_journal(place); /* after a sudden end they are */
    put_value("v");
    CHECK_STR(failure.code, "journal_corrupt");
    close_journal();
}

static void test_sums_that_do_not_agree_are_found(void)
{
    fresh_place();
    open_journal(place);
    RESERVE(1, "2 CCD", "line", "team day 5 CCD", NULL);
    SUBMIT("j1", "n", "k", NULL);
    close_journal();
    sqlite3 *db;
    CHECK_INT(sqlite3_open(file, &db), SQLITE_OK);
    sqlite3_exec(db,
                 "UPDATE lines SET spent = '3 CCD'; UPDATE jobs SET active = 0; PRAGMA foreign_keys = OFF;"
                 "INSERT INTO decisions(job, at, kind, text) VALUES ('none', 0, 'a', 'b')",
                 NULL, NULL, NULL);
    sqlite3_close(db);
    open_journal(place);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 3);
    CHECK(strstr(text_of(0, "problem"), "decisions") != NULL);
    CHECK(strstr(text_of(1, "problem"), "team") != NULL);
    CHECK(strstr(text_of(2, "problem"), "job j1") != NULL);
    close_journal();
}

static void test_compact_goes_in_pieces(void)
{
    fresh_place();
    open_journal(place);
    put_value("v");
    close_journal();
    sqlite3 *db;
    CHECK_INT(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db,
                           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100)"
                           "INSERT INTO jobs(id, name, key, service, kind, state, active, spec, hash, fence,"
                           " created_at, changed_at, ended_at) SELECT 'j' || i, i, '', 's', 'k', 'failed', 0,"
                           " '{}', 'h', 1, 1, 1, 1 FROM n",
                           NULL, NULL, NULL),
              SQLITE_OK);
    sqlite3_close(db);
    open_journal(place);
    ASK("journal.compact", NULL);
    CHECK_INT(number_of(0, "jobs"), 2000);
    CHECK_INT(number_of(0, "more"), 1);
    ASK("journal.compact", NULL);
    CHECK_INT(number_of(0, "jobs"), 100);
    CHECK(!has(0, "more"));
    close_journal();
}

/* ---- locked ----------------------------------------------------------------------------------------------
 */

static void test_a_lock_of_somebody_else_is_waited_for_and_then_named(void)
{
    fresh_place();
    open_journal(place);
    put_value("v");
    close_journal();
    struct journal_process self;
    journal_process_self(&self, "run", NULL);
    struct journal_engine *engine = journal_sqlite_new(place, &self);
    ((struct sqlite_engine *)engine)->busy_limit_ms = 50;
    struct err err = {.kind = 0};
    CHECK_INT(engine->type->open(engine, 1000, &err), 0);
    sqlite3 *db;
    CHECK_INT(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    CHECK_INT(engine->type->begin(engine, true, &err), -1);
    CHECK_STR(err.code, "journal_locked");
    CHECK(strstr(err.message, "sqlite3") != NULL);
    CHECK_INT(engine->type->begin(engine, false, &err), 0); /* reading goes on */
    CHECK_INT(engine->type->commit(engine, &err), 0);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    CHECK_INT(engine->type->begin(engine, true, &err), 0);
    CHECK_INT(engine->type->commit(engine, &err), 0);
    engine->type->close(engine);
    engine->type->free(engine);
    sqlite3_close(db);
}

/* SQLite asks its busy handler about every other lock, but not about this one. */
static void test_a_new_file_that_another_process_makes_a_journal_of_is_waited_for(void)
{
    fresh_place();
    struct journal_process self;
    journal_process_self(&self, "run", NULL);
    struct journal_engine *engine = journal_sqlite_new(place, &self);
    struct err err = {.kind = 0};
    atomic_store(&locks_refused, 3);
    CHECK_INT(engine->type->open(engine, 1000, &err), 0);
    CHECK_INT(atomic_load(&locks_refused), 0);
    engine->type->close(engine);
    engine->type->free(engine);
    fresh_place();
    engine = journal_sqlite_new(place, &self);
    ((struct sqlite_engine *)engine)->busy_limit_ms = 5;
    atomic_store(&locks_refused, INT_MAX);
    CHECK_INT(engine->type->open(engine, 1000, &err), -1);
    CHECK_STR(err.code, "journal_locked");
    atomic_store(&locks_refused, 0);
    engine->type->free(engine);
}

int main(void)
{
    install_shim();
    test_a_disk_that_cannot_be_written();
    test_a_full_disk_can_still_be_read();
    test_a_disk_that_is_full_from_the_start_can_be_read();
    test_a_journal_that_cannot_be_opened_is_tried_again();
    test_a_limit_of_the_system_is_an_answer();
    test_the_file_is_for_its_owner_alone();
    test_another_file_in_its_place_is_refused();
    test_root_works_on_the_journal_of_a_service();
    test_a_file_that_is_no_journal();
    test_a_file_that_loses_its_name_is_noticed();
    test_damage_is_found();
    test_sums_that_do_not_agree_are_found();
    test_compact_goes_in_pieces();
    test_a_lock_of_somebody_else_is_waited_for_and_then_named();
    test_a_new_file_that_another_process_makes_a_journal_of_is_waited_for();
    HARNESS_END();
}
