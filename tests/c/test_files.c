/* test_files.c - each verb of host/files: what it does, what it refuses, and what it leaves behind. */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/files.h"
#include "host/mem.h"

static struct loop *loop;
static char folder[] = "/tmp/perigee-test-files-XXXXXX";

struct answer {
    int calls;
    struct file_result result;
};

static void on_done(void *ctx, struct file_result *result)
{
    struct answer *a = ctx;
    a->calls++;
    a->result = *result;
    memset(&result->bytes, 0, sizeof result->bytes);
    result->file = NULL;
}

/* Runs one job to its end.  The answer is the caller's until the next call. */
static struct file_result *run(struct file_request request)
{
    static struct answer a;
    buf_deinit(&a.result.bytes);
    a = (struct answer){0};
    files_start(loop, &request, on_done, &a);
    CHECK_INT(a.calls, 0);
    loop_run(loop);
    CHECK_INT(a.calls, 1);
    return &a.result;
}

/* A path in the test's folder; four live at a time. */
static const char *in(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static struct file_result *put(const char *path, const char *text, int mode)
{
    return run((struct file_request){
        .verb = FILE_WRITE, .path = path, .bytes = text, .n = strlen(text), .mode = mode});
}

static struct file_result *get(const char *path, size_t cap)
{
    return run((struct file_request){.verb = FILE_READ, .path = path, .cap = cap});
}

static struct file_result *look(const char *path)
{
    return run((struct file_request){.verb = FILE_STAT, .path = path});
}

static void test_write_and_read(void)
{
    umask(022);
    CHECK(!put(in("a"), "one", -1)->failed);
    CHECK_STR(buf_str(&get(in("a"), 100)->bytes), "one");
    CHECK_INT(look(in("a"))->stat.mode, 0644);
    CHECK(!put(in("a"), "", 0600)->failed);
    CHECK_INT(get(in("a"), 100)->bytes.len, 0);
    CHECK_INT(look(in("a"))->stat.mode, 0600);
    CHECK(!put(in("a"), "three", -1)->failed); /* keeps what it had */
    CHECK_INT(look(in("a"))->stat.mode, 0600);
    CHECK_INT(look(in("a"))->stat.size, 5);

    CHECK(!get(in("a"), 5)->failed);
    struct file_result *r = get(in("a"), 4);
    CHECK(r->failed && r->err.kind == ERR_LIMIT);
    r = get(in("missing"), 4);
    CHECK(r->failed && r->err.kind == ERR_UNAVAILABLE);
    CHECK_STR(r->err.code, "ENOENT");
    CHECK_STR(get(folder, 4)->err.code, "EISDIR");
    CHECK_STR(put(in("no/such/folder"), "x", -1)->err.code, "ENOENT");
    CHECK_STR(put(folder, "x", -1)->err.code, "EISDIR");
    CHECK_STR(put("/dev/null", "x", -1)->err.code, "EINVAL"); /* a rename would replace the device */

    size_t n = 3 << 20;
    char *big = mem_alloc(n);
    for (size_t i = 0; i < n; i++) big[i] = (char)(i * 13 >> 2);
    run((struct file_request){.verb = FILE_WRITE, .path = in("big"), .bytes = big, .n = n, .mode = -1});
    r = get(in("big"), n);
    CHECK(r->bytes.len == n && memcmp(r->bytes.data, big, n) == 0);
    mem_free(big);
}

static void test_write_goes_through_links(void)
{
    put(in("real"), "old", -1);
    CHECK(symlink("real", in("link")) == 0);
    CHECK(!put(in("link"), "new", -1)->failed);
    CHECK_STR(buf_str(&get(in("real"), 10)->bytes), "new");
    CHECK_INT(run((struct file_request){.verb = FILE_STAT, .path = in("link"), .no_follow = true})->stat.type,
              'l');
    CHECK(symlink("nowhere", in("dangling")) == 0);
    CHECK_STR(put(in("dangling"), "x", -1)->err.code, "ENOENT");
}

static void test_a_failed_write_changes_nothing(void)
{
    put(in("kept"), "old", -1);
    struct file_result *r = put("/dev/full/x", "new", -1);
    CHECK(r->failed);
    /* The name is free but the folder is not writable: nothing is left behind. */
    if (geteuid() != 0) {
        chmod(folder, 0500);
        CHECK(put(in("kept"), "new", -1)->failed);
        chmod(folder, 0700);
    }
    CHECK(strlen(buf_str(&get(in("kept"), 10)->bytes)) == 3);
    r = run((struct file_request){.verb = FILE_LIST, .path = folder});
    const char *end = r->bytes.data + r->bytes.len;
    for (const char *name = r->bytes.data; name < end; name += strlen(name) + 1) CHECK(name[0] != '.');
}

static void test_append(void)
{
    struct file_request request = {
        .verb = FILE_APPEND, .path = in("log"), .bytes = "a\n", .n = 2, .mode = -1};
    CHECK(!run(request)->failed);
    request.sync = true;
    CHECK(!run(request)->failed);
    CHECK_STR(buf_str(&get(in("log"), 100)->bytes), "a\na\n");
    request.path = "/dev/full";
    CHECK_STR(run(request)->err.code, "ENOSPC");
}

static void test_names(void)
{
    CHECK(!look(in("tree"))->found);
    CHECK(!look(in("a/below-a-file"))->found);
    struct file_request make = {.verb = FILE_MKDIR, .path = in("tree/b/c/"), .mode = -1};
    CHECK(!run(make)->found);
    CHECK(run(make)->found);
    CHECK_STR(run((struct file_request){.verb = FILE_MKDIR, .path = in("a/x"), .mode = -1})->err.code,
              "ENOTDIR");
    CHECK_INT(look(in("tree/b"))->stat.type, 'd');
    put(in("tree/z"), "", -1);
    put(in("tree/B"), "", -1);
    struct file_result *r = run((struct file_request){.verb = FILE_LIST, .path = in("tree")});
    CHECK(r->bytes.len == 6 && memcmp(r->bytes.data, "B\0b\0z\0", 6) == 0);
    CHECK(run((struct file_request){.verb = FILE_LIST, .path = in("a")})->failed);

    CHECK(!run((struct file_request){.verb = FILE_RENAME, .path = in("tree/z"), .to = in("tree/B")})->failed);
    CHECK(!look(in("tree/z"))->found);
    CHECK(run((struct file_request){.verb = FILE_RENAME, .path = in("tree/z"), .to = in("q")})->failed);

    CHECK(symlink(in("real"), in("tree/b/link")) == 0);
    struct file_request remove = {.verb = FILE_REMOVE, .path = in("tree")};
    CHECK(run(remove)->failed); /* not empty */
    remove.recursive = true;
    CHECK(run(remove)->found);
    CHECK(!run(remove)->found);
    CHECK(!look(in("tree"))->found);
    CHECK(look(in("real"))->found); /* the link went, not what it points to */
    CHECK(run((struct file_request){.verb = FILE_REMOVE, .path = in("big")})->found);
}

static void test_sha256(void)
{
    char hex[65];
    files_sha256("", 0, hex);
    CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    files_sha256("abc", 3, hex);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char *million = mem_alloc(1000001);
    memset(million, 'a', 1000000);
    put(in("million"), million, -1);
    mem_free(million);
    CHECK_STR(buf_str(&run((struct file_request){.verb = FILE_SHA256, .path = in("million")})->bytes),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    CHECK(run((struct file_request){.verb = FILE_SHA256, .path = in("missing")})->failed);
}

static void test_reading_on(void)
{
    put(in("lines"), "0123456789", -1);
    struct file *file = run((struct file_request){.verb = FILE_OPEN, .path = in("lines")})->file;
    struct file_request next = {.verb = FILE_READ_NEXT, .file = file, .cap = 6};
    CHECK_STR(buf_str(&run(next)->bytes), "012345");
    CHECK_STR(buf_str(&run(next)->bytes), "6789");
    CHECK_INT(run(next)->bytes.len, 0);
    struct answer a = {0};
    files_start(loop, &next, on_done, &a);
    file_release(file); /* closed while a thread may be reading */
    loop_run(loop);
    CHECK(a.calls == 1 && !a.result.failed);
    buf_deinit(&a.result.bytes);
}

static void test_forgotten_jobs_end_quietly(void)
{
    struct answer a = {0};
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "forgotten-%d", i);
        struct file_request request = {
            .verb = FILE_WRITE, .path = in(name), .bytes = "whole", .n = 5, .mode = -1};
        struct file_job *job = files_start(loop, &request, on_done, &a);
        files_forget(job);
    }
    loop_run(loop);
    CHECK_INT(a.calls, 0);
    for (int i = 0; i < 50; i++) { /* each is there whole or not at all */
        char name[32];
        snprintf(name, sizeof name, "forgotten-%d", i);
        struct file_result *r = get(in(name), 100);
        CHECK(r->failed || r->bytes.len == 5);
    }
}

int main(void)
{
    if (mkdtemp(folder) == NULL) return 1;
    loop = loop_new();
    test_write_and_read();
    test_write_goes_through_links();
    test_a_failed_write_changes_nothing();
    test_append();
    test_names();
    test_sha256();
    test_reading_on();
    test_forgotten_jobs_end_quietly();
    CHECK(run((struct file_request){.verb = FILE_REMOVE, .path = folder, .recursive = true})->found);
    look(folder);
    buf_deinit(&get("/dev/null", 1)->bytes);
    CHECK_INT(loop_free(loop), 0);
    HARNESS_END();
}
