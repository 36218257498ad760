/* test_history.c - the file of what was typed: whole lines, several writers, files that are not trusted.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "host/history.h"

static char folder[] = "/tmp/perigee-history-XXXXXX";
static char path[128], other[128];

static void put(const char *where, const char *text)
{
    FILE *file = fopen(where, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

/* The file as history_read gives it; valid until the next call. */
static const char *read_back(void)
{
    static struct buf text;
    struct err err = {0};
    buf_clear(&text);
    CHECK_INT(history_read(path, &text, &err), 0);
    return buf_str(&text);
}

static void test_adds_and_reads(void)
{
    struct err err = {0};
    struct stat st;
    CHECK_STR(read_back(), "");
    CHECK_INT(history_append(path, "one\n", 4, &err), 0);
    CHECK_INT(history_append(path, "two\nthree\n", 10, &err), 0);
    CHECK_STR(read_back(), "one\ntwo\nthree\n");
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);

    CHECK_INT(chmod(path, 0666), 0);
    CHECK_STR(read_back(), "one\ntwo\nthree\n");
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
}

static void test_ends_a_line_that_was_cut_short(void)
{
    struct err err = {0};
    put(path, "one\nha");
    CHECK_STR(read_back(), "one\n"); /* it may be being written */
    CHECK_INT(history_append(path, "two\n", 4, &err), 0);
    CHECK_STR(read_back(), "one\nha\ntwo\n");
}

static void test_leaves_out_what_is_no_text(void)
{
    put(path, "one\ttab\nesc\033[31m\n\xe4\xb8\xad\xe6\x96\x87\nc1 \xc2\x9b\n\xc2\xa0\nbad \xff\ncr\r\ndel "
              "\x7f\n\nlast\n");
    CHECK_STR(read_back(), "one\ttab\n\xe4\xb8\xad\xe6\x96\x87\n\xc2\xa0\n\nlast\n");
}

static void test_rewrites(void)
{
    struct err err = {0};
    struct stat before, after;
    put(path, "1\n2\n3\n2\n4\n5\n");
    CHECK_INT(stat(path, &before), 0);
    CHECK_INT(history_rewrite(path, 6, "9\n", 2, &err), 0);
    CHECK_INT(stat(path, &after), 0);
    CHECK(before.st_ino == after.st_ino); /* nothing to do, nothing done */
    CHECK_INT(history_rewrite(path, 6, "2\n5\n", 4, &err), 0);
    CHECK_STR(read_back(), "1\n3\n4\n");
    CHECK_INT(history_rewrite(path, 2, "", 0, &err), 0);
    CHECK_STR(read_back(), "3\n4\n");
    CHECK_INT(stat(path, &after), 0);
    CHECK_INT(after.st_mode & 0777, 0600);
    CHECK_INT(history_rewrite(path, 0, "", 0, &err), 0);
    CHECK_STR(read_back(), "");
    CHECK_INT(unlink(path), 0);
    CHECK_INT(history_rewrite(path, 1, "", 0, &err), 0);
    CHECK(access(path, F_OK) != 0);
}

static void refused(const char *code)
{
    struct err err = {0};
    struct buf text;
    buf_init(&text);
    CHECK_INT(history_read(path, &text, &err), -1);
    CHECK_STR(err.code, code);
    err = (struct err){0};
    CHECK_INT(history_append(path, "x\n", 2, &err), -1);
    CHECK_STR(err.code, code);
    err = (struct err){0};
    CHECK_INT(history_rewrite(path, 0, "", 0, &err), -1);
    CHECK_STR(err.code, code);
    buf_deinit(&text);
}

static void test_refuses_what_is_no_file_of_ours_alone(void)
{
    struct stat st;
    put(other, "precious\n");
    CHECK_INT(symlink(other, path), 0);
    refused("unsafe");
    CHECK_INT(unlink(path), 0);
    CHECK_INT(link(other, path), 0);
    refused("unsafe");
    CHECK_INT(unlink(path), 0);
    CHECK_INT(stat(other, &st), 0);
    CHECK_INT(st.st_size, 9);
    CHECK_INT(mkfifo(path, 0600), 0);
    refused("unsafe");
    CHECK_INT(unlink(path), 0);
    CHECK_INT(mkdir(path, 0700), 0);
    struct err err = {0};
    CHECK_INT(history_append(path, "x\n", 2, &err), -1);
    CHECK_INT(rmdir(path), 0);
    if (geteuid() == 0) {
        put(path, "of somebody\n");
        CHECK_INT(chown(path, 12345, 12345), 0);
        refused("unsafe");
        CHECK_INT(unlink(path), 0);
    }
}

static void test_says_that_a_folder_is_missing(void)
{
    struct err err = {0};
    CHECK_INT(history_append("/tmp/perigee-history-nowhere/x", "x\n", 2, &err), -1);
    CHECK_STR(err.code, "ENOENT");
}

static void test_waits_for_a_lock_only_so_long(void)
{
    struct err err = {0};
    put(path, "one\n");
    int fd = open(path, O_RDWR);
    CHECK_INT(flock(fd, LOCK_EX), 0);
    CHECK_INT(history_append(path, "two\n", 4, &err), -1);
    CHECK_STR(err.code, "locked");
    CHECK_STR(read_back(), "one\n");
    close(fd);
    CHECK_INT(history_append(path, "two\n", 4, &err), 0);
    CHECK_STR(read_back(), "one\ntwo\n");
}

/* A disk that is full in the middle of a line: a limit on the file's size does the same. */
static void test_writes_all_or_nothing(void)
{
    struct err err = {0};
    struct rlimit all, some = {.rlim_cur = 8, .rlim_max = RLIM_INFINITY};
    put(path, "one\n");
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &all), 0);
    some.rlim_max = all.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &some), 0);
    int rc = history_append(path, "a long line\n", 12, &err);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &all), 0);
    CHECK_INT(rc, -1);
    CHECK_STR(read_back(), "one\n");
    CHECK_INT(unlink(path), 0);
}

enum { WRITERS = 4, LINES = 600 };

/* Four programs add lines while a fifth rewrites the file again and again. */
static void test_loses_no_line_of_several_writers(void)
{
    pid_t pids[WRITERS + 1];
    struct err err = {0};
    for (int w = 0; w <= WRITERS; w++) {
        pids[w] = fork();
        if (pids[w] != 0) continue;
        int failures = 0;
        for (int i = 0; i < (w == WRITERS ? 3 * LINES : LINES); i++) {
            char line[32];
            int n = snprintf(line, sizeof line, w == WRITERS ? "drop\n" : "%d-%d\n", w, i);
            int rc;
            do rc = history_append(path, line, (size_t)n, &err);
            while (rc != 0 && strcmp(err.code, "locked") == 0);
            if (rc == 0 && w == WRITERS) {
                do rc = history_rewrite(path, 100000, "drop\n", 5, &err);
                while (rc != 0 && strcmp(err.code, "locked") == 0);
            }
            failures += rc != 0;
        }
        _exit(failures == 0 ? 0 : 1);
    }
    for (int w = 0; w <= WRITERS; w++) {
        int status = -1;
        waitpid(pids[w], &status, 0);
        CHECK_INT(status, 0);
    }
    const char *text = read_back();
    int lines = 0, missing = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) lines++;
    CHECK_INT(lines, WRITERS * LINES);
    for (int w = 0; w < WRITERS; w++)
        for (int i = 0; i < LINES; i++) {
            char line[32];
            snprintf(line, sizeof line, "%d-%d\n", w, i);
            missing += strstr(text, line) == NULL;
        }
    CHECK_INT(missing, 0);
    CHECK_INT(unlink(path), 0);
}

static void test_reads_the_end_of_a_very_long_file(void)
{
    static char line[1024];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    FILE *file = fopen(path, "w");
    for (int i = 0; i < HISTORY_READ_MAX / (int)sizeof line + 10; i++) fwrite(line, 1, sizeof line, file);
    fputs("last\n", file);
    fclose(file);
    struct buf text;
    struct err err = {0};
    buf_init(&text);
    CHECK_INT(history_read(path, &text, &err), 0);
    CHECK(text.len <= HISTORY_READ_MAX);
    CHECK(text.len > HISTORY_READ_MAX - 2 * sizeof line);
    CHECK(memcmp(text.data + text.len - 6, "\nlast\n", 6) == 0);
    CHECK_INT(text.data[sizeof line - 1], '\n');
    buf_deinit(&text);
    CHECK_INT(unlink(path), 0);
}

int main(void)
{
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/repl_history", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    test_adds_and_reads();
    test_ends_a_line_that_was_cut_short();
    test_leaves_out_what_is_no_text();
    test_rewrites();
    test_refuses_what_is_no_file_of_ours_alone();
    test_says_that_a_folder_is_missing();
    test_waits_for_a_lock_only_so_long();
    test_writes_all_or_nothing();
    test_loses_no_line_of_several_writers();
    test_reads_the_end_of_a_very_long_file();
    CHECK_INT(unlink(other), 0);
    CHECK_INT(rmdir(folder), 0);
    HARNESS_END();
}
