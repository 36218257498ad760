/* journal_sqlite_file.c - the file: made, checked, measured, copied; and its errors in words. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/files.h"
#include "host/journal.h"
#include "host/journal_rules.h"
#include "host/journal_sqlite.h"
#include "host/mem.h"

/* ---- errors ------------------------------------------------------------------------------------------- */

struct trouble {
    const char *code, *words, *advice;
};

static const struct trouble trouble_full = {"journal_full",
                                            "the disk is full, or a limit on its use is reached",
                                            "make room; nothing was recorded, and the next call tries again"};
static const struct trouble trouble_readonly = {
    "journal_readonly", "it may only be read",
    "make the state directory writable for this user, or name another one with --state"};
static const struct trouble trouble_locked = {
    "journal_locked", "another program has kept it locked",
    "end the program that holds it (a shell of sqlite3, a backup); the next call tries again"};
static const struct trouble trouble_corrupt = {"journal_corrupt", "it is damaged",
                                               "`perigee journal verify` says where; put a backup in its "
                                               "place, with journal.db-wal and -shm taken away"};
static const struct trouble trouble_open = {"journal_open", "it cannot be opened",
                                            "look at the state directory, or name another one with --state"};
static const struct trouble trouble_io = {"journal_io", "the disk reports an error",
                                          "look at the system's log; the next call opens it anew"};

static const struct trouble trouble_moved = {
    "journal_io", "it was removed or replaced while it was open",
    "nothing of this call was recorded; the next call opens what is there now"};

static const struct trouble *of_errno(int error)
{
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) return &trouble_full;
    if (error == EROFS || error == EACCES || error == EPERM) return &trouble_readonly;
    return NULL;
}

static const struct trouble *of_result(int rc, int error)
{
    const struct trouble *known = of_errno(error);
    switch (rc & 0xff) {
    case SQLITE_FULL: return &trouble_full;
    case SQLITE_READONLY: return rc == SQLITE_READONLY_DBMOVED ? &trouble_io : &trouble_readonly;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return &trouble_locked;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return &trouble_corrupt;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM: return known ? known : &trouble_open;
    default: return known ? known : &trouble_io;
    }
}

static int fail(struct sqlite_engine *engine, struct err *err, const struct trouble *trouble,
                const char *detail)
{
    err_set(err, ERR_UNAVAILABLE, "the journal %s cannot be used: %s (%s); %s",
            engine->path ? engine->path : engine->directory, trouble->words, detail, trouble->advice);
    if (err) err->retryable = true;
    return err_set_code(err, trouble->code);
}

/* What the system said.  SQLite does not keep it when a COMMIT fails; then its last word is still there. */
static int system_error(struct sqlite_engine *engine)
{
    sqlite3_vfs *vfs = NULL;
    int error = sqlite3_system_errno(engine->db);
    if (error) return error;
    sqlite3_file_control(engine->db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
    return vfs && vfs->xGetLastError ? vfs->xGetLastError(vfs, 0, NULL) : 0;
}

int sqlite_fail(struct sqlite_engine *engine, struct err *err)
{
    int rc = sqlite3_extended_errcode(engine->db);
    const char *words = sqlite3_errmsg(engine->db);
    if ((rc & 0xff) == SQLITE_TOOBIG)
        return journal_invalid(err, "too_big", "a field is too long for the journal: %s", words);
    if ((rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_ERROR || (rc & 0xff) == SQLITE_MISMATCH)
        return journal_invalid(err, "constraint", "the journal refused this: %s", words);
    bool system = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
    int error = system ? system_error(engine) : 0;
    return fail(engine, err, of_result(rc, error), error ? strerror(error) : words);
}

int sqlite_fail_errno(struct sqlite_engine *engine, struct err *err, int error)
{
    const struct trouble *known = of_errno(error);
    return fail(engine, err, known ? known : &trouble_open, strerror(error));
}

/* ---- directory and file ------------------------------------------------------------------------------- */

/* Every part that is missing, with mode 0700. */
static int make_directory(const char *directory)
{
    char *path = mem_strdup(directory);
    int rc = 0;
    for (char *at = path; *at && rc == 0;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char cut = *at;
        *at = '\0';
        rc = mkdir(path, 0700) == 0 || errno == EEXIST || errno == EISDIR ? 0 : -1;
        /* What is there already may stand in a directory that can only be read. */
        struct stat st;
        if (rc < 0 && stat(path, &st) == 0) rc = 0;
        *at = cut;
    }
    mem_free(path);
    return rc;
}

static int refuse(struct err *err, const char *path, const char *what)
{
    err_set(err, ERR_UNAVAILABLE, "the journal %s is not used: %s", path, what);
    return err_set_code(err, "journal_open");
}

/* To root a file is also right that belongs to the user whose directory it is, as that of a service does;
 * SQLite makes the files beside it that user's. */
static bool is_right_owner(const struct stat *file, const struct stat *folder)
{
    uid_t me = geteuid();
    return file->st_uid == me || (me == 0 && file->st_uid == folder->st_uid);
}

/* The file must be ours alone: whoever else can write it decides what this program pays for. */
static int check_file(struct sqlite_engine *engine, int fd, const struct stat *folder, struct err *err)
{
    const char *path = engine->path;
    struct stat st;
    if (fstat(fd, &st) != 0) return refuse(err, path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return refuse(err, path, "it is a symbolic link; name its directory with --state");
    if (!S_ISREG(st.st_mode)) return refuse(err, path, "it is no regular file");
    if (!is_right_owner(&st, folder)) {
        char what[120];
        snprintf(what, sizeof what, "it belongs to user %u, and this is user %u; run perigee as its owner",
                 (unsigned)st.st_uid, (unsigned)geteuid());
        return refuse(err, path, what);
    }
    if (st.st_nlink > 1) return refuse(err, path, "it has a second name (a hard link); remove the other one");
    engine->device = st.st_dev;
    engine->inode = st.st_ino;
    if ((st.st_mode & 077) == 0) return 0;
    /* The descriptor stands for the file itself, whatever the name leads to by now. */
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return chmod(self, 0600) == 0 ? 0
                                  : refuse(err, path, "others can read it, and its mode cannot be changed");
}

/* Opened with O_PATH: closing another descriptor of the file would drop the locks of SQLite's. */
static int open_or_make(int folder, const struct stat *st)
{
    for (int tries = 0; tries < 3; tries++) {
        int fd = openat(folder, JOURNAL_FILE, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT) return fd;
        int made = openat(folder, JOURNAL_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (made < 0 && errno != EEXIST) return -1;
        if (made < 0) continue;
        if (geteuid() == 0 && fchown(made, st->st_uid, st->st_gid) != 0) {
            close(made);
            return -1;
        }
        close(made); /* new and empty: nobody can hold a lock on it yet */
    }
    return -1;
}

int sqlite_file_prepare(struct sqlite_engine *engine, struct err *err)
{
    mem_free(engine->path);
    engine->path = NULL;
    struct stat st;
    char real[PATH_MAX];
    if (make_directory(engine->directory) != 0 || !realpath(engine->directory, real))
        return sqlite_fail_errno(engine, err, errno);
    int folder = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fstat(folder, &st) != 0) {
        if (folder >= 0) close(folder);
        return sqlite_fail_errno(engine, err, errno);
    }
    struct buf path = {0};
    buf_printf(&path, "%s/%s", strcmp(real, "/") == 0 ? "" : real, JOURNAL_FILE);
    engine->path = buf_take(&path, NULL);
    int rc = -1, fd = -1;
    if (st.st_mode & S_IWOTH)
        rc =
            refuse(err, engine->path, "everybody may write to its directory; chmod o-w, or name another one");
    else if ((fd = open_or_make(folder, &st)) < 0)
        rc = sqlite_fail_errno(engine, err, errno);
    else
        rc = check_file(engine, fd, &st, err);
    if (fd >= 0) close(fd);
    close(folder);
    return rc;
}

/* SQLite would go on writing into a file that has lost its name, and all of it would be gone at the end. */
int sqlite_file_check(struct sqlite_engine *engine, struct err *err)
{
    struct stat st;
    if (!engine->path ||
        (stat(engine->path, &st) == 0 && st.st_dev == engine->device && st.st_ino == engine->inode))
        return 0;
    return fail(engine, err, &trouble_moved, "its name is gone, or another file's");
}

int64_t sqlite_file_bytes(struct sqlite_engine *engine)
{
    struct stat st;
    int64_t bytes = 0;
    if (!engine->path) return 0;
    if (stat(engine->path, &st) == 0) bytes += st.st_size;
    struct buf log = {0};
    buf_printf(&log, "%s-wal", engine->path);
    if (stat(buf_str(&log), &st) == 0) bytes += st.st_size;
    buf_deinit(&log);
    return bytes;
}

/* ---- copies ------------------------------------------------------------------------------------------- */

static int copy_into(struct sqlite_engine *engine, const char *path, struct err *err)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(engine->db, "VACUUM INTO ?", -1, &stmt, NULL) != SQLITE_OK)
        return sqlite_fail(engine, err);
    sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt) == SQLITE_DONE ? 0 : sqlite_fail(engine, err);
    sqlite3_finalize(stmt);
    return rc;
}

static int refuse_copy(struct err *err, const char *path, int error)
{
    if (error == EEXIST)
        return journal_invalid(err, "exists", "%s is there already; a backup overwrites nothing", path);
    err_set(err, ERR_UNAVAILABLE, "the backup %s cannot be written: %s", path, strerror(error));
    return err_set_code(err, of_errno(error) == &trouble_full ? "journal_full" : "journal_io");
}

int sqlite_file_backup(struct sqlite_engine *engine, const char *path, int64_t *bytes, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return refuse_copy(err, path, errno);
    struct stat st;
    int rc = copy_into(engine, path, err);
    if (rc == 0 && (fsync(fd) != 0 || fstat(fd, &st) != 0 || files_sync_folder(path) != 0))
        rc = refuse_copy(err, path, errno);
    close(fd);
    if (rc < 0)
        unlink(path);
    else
        *bytes = st.st_size;
    return rc;
}
