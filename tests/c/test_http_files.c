/* test_http_files.c - uploads from files, downloads to files, resuming, progress. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/c/http_case.h"

static char dir[] = "/tmp/perigee-files-XXXXXX";

/* A name in the scratch folder; one of eight rotating buffers. */
static const char *scratch(const char *name)
{
    static char names[8][256];
    static int next;
    char *out = names[next++ % 8];
    snprintf(out, sizeof names[0], "%s/%s", dir, name);
    return out;
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_INT(write(fd, bytes, n), (long long)n);
    close(fd);
}

static const char *read_file(const char *path)
{
    static char bytes[65536];
    int fd = open(path, O_RDONLY);
    if (fd < 0) return "(no file)";
    ssize_t n = read(fd, bytes, sizeof bytes - 1);
    close(fd);
    bytes[n > 0 ? n : 0] = '\0';
    return bytes;
}

static int files_in_scratch(void)
{
    int n = 0;
    DIR *folder = opendir(dir);
    for (struct dirent *e; (e = readdir(folder)) != NULL;) n += e->d_name[0] != '.';
    closedir(folder);
    return n;
}

/* ---- uploads ---------------------------------------------------------------------------------------- */

static void a_file_goes_as_one_part_of_a_form_or_raw(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    write_file(scratch("data.csv"), "a,b\n1,2\n", 8);
    struct http_file_body file = {
        .path = scratch("data.csv"), .part_name = "file", .file_name = "x\"y\r\n.csv"};
    struct http_request r = {.method = "POST", .url = at(peer, "/up"), .file_body = &file, .once = true};
    struct answer a = exchange(&b, &r);
    CHECK_INT(a.status, 200);
    CHECK(strstr(peer->last, "Content-Type: multipart/form-data; boundary=") != NULL);
    CHECK(strstr(peer->last, "\r\nContent-Disposition: form-data; name=\"file\"; "
                             "filename=\"x%22y%0D%0A.csv\"\r\n"
                             "Content-Type: application/octet-stream\r\n\r\na,b\n1,2\n\r\n--") != NULL);
    const char *end = peer->last + strlen(peer->last) - 4;
    CHECK_STR(end, "--\r\n");
    file.part_name = NULL;
    file.media_type = "text/csv";
    a = exchange(&b, &r);
    CHECK(strstr(peer->last, "Content-Type: text/csv\r\n") && strstr(peer->last, "Content-Length: 8\r\n"));
    CHECK(strstr(peer->last, "\r\n\r\na,b\n1,2\n") != NULL);
    CHECK_INT(a.progress.sent, 8);
    CHECK_INT(a.progress.send_total, 8);
    file.path = scratch("missing");
    send_request(&b, &r, &a);
    CHECK(a.exchange == NULL && a.err.kind == ERR_INVALID);
    file.path = scratch("fifo"); /* refused at once: nobody writes to it, and opening it must not wait */
    CHECK_INT(mkfifo(file.path, 0600), 0);
    send_request(&b, &r, &a);
    CHECK(a.exchange == NULL && a.err.kind == ERR_INVALID);
    unlink(file.path);
    file.path = dir;
    send_request(&b, &r, &a);
    CHECK(a.exchange == NULL && a.err.kind == ERR_INVALID);
    write_file(scratch("empty"), "", 0);
    file.path = scratch("empty");
    CHECK_INT(exchange(&b, &r).status, 200);
    CHECK(strstr(peer->last, "Content-Length: 0\r\n") != NULL);
    bench_close(&b);
    peer_stop(peer);
    unlink(scratch("data.csv"));
    unlink(scratch("empty"));
}

/* Reads slowly at first, so that the sender is still busy when the file shrinks. */
static void serve_sink(struct peer *peer, int fd, int connection)
{
    char buf[65536];
    size_t total = 0;
    (void)connection;
    peer_pause_ms(200);
    for (ssize_t n; (n = recv(fd, buf, sizeof buf, 0)) > 0;) total += (size_t)n;
    pthread_mutex_lock(&peer->mutex);
    snprintf(peer->last, sizeof peer->last, "%zu", total);
    pthread_mutex_unlock(&peer->mutex);
}

static void a_file_that_shrinks_while_sent_is_an_error_with_unknown_outcome(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_sink);
    const char *path = scratch("big");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_INT(ftruncate(fd, 64 << 20), 0);
    struct http_file_body file = {.path = path, .part_name = "file"};
    struct answer a;
    send_request(
        &b,
        &(struct http_request){.method = "POST", .url = at(peer, "/up"), .file_body = &file, .once = true},
        &a);
    while (peer->connections == 0) loop_turn(b.loop);
    CHECK_INT(ftruncate(fd, 1000), 0);
    loop_run(b.loop);
    CHECK(a.failed && a.err.outcome == OUTCOME_UNKNOWN && !a.err.retryable);
    CHECK_STR(a.err.code, "file_changed");
    close(fd);
    unlink(path);
    bench_close(&b);
    peer_stop(peer);
}

/* Takes a request of any length and answers; `last` is the number of bytes. */
static void serve_count(struct peer *peer, int fd, int connection)
{
    enum { MIB = 1 << 20 };
    char *buf = malloc(MIB);
    size_t total = 0, want = 0;
    (void)connection;
    while (want == 0 || total < want) {
        ssize_t n = recv(fd, buf, MIB - 1, 0);
        if (n <= 0) break;
        buf[n] = '\0';
        const char *end = want ? NULL : strstr(buf, "\r\n\r\n");
        if (end) want = (size_t)(end + 4 - buf) + strtoul(peer_header(buf, "\r\nContent-Length:"), NULL, 10);
        total += (size_t)n;
    }
    snprintf(peer->last, sizeof peer->last, "%zu of %zu", total, want);
    peer_reply(fd, "200 OK", "", "taken");
    free(buf);
}

/* The most memory this process has had, in kB. */
static long peak_kb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static struct answer upload(struct bench *b, const char *path, off_t size)
{
    struct peer *peer = peer_start(serve_count);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_INT(ftruncate(fd, size), 0); /* takes no room on the disk */
    close(fd);
    struct http_file_body file = {.path = path, .part_name = "file"};
    struct answer a = exchange(
        b,
        &(struct http_request){.method = "POST", .url = at(peer, "/up"), .file_body = &file, .once = true});
    CHECK_INT(a.status, 200);
    unlink(path);
    peer_stop(peer);
    return a;
}

static void a_gigabyte_goes_up_in_constant_memory(void)
{
    struct bench b = bench_open(NULL);
    upload(&b, scratch("small"), 4 << 20);
    long before = peak_kb();
    struct answer a = upload(&b, scratch("big"), (off_t)1 << 30);
    CHECK(a.progress.sent > (uint64_t)1 << 30); /* and the lines around it */
    CHECK_INT(a.progress.send_total, a.progress.sent);
    CHECK(a.progress_calls > 10);
    CHECK(peak_kb() - before < 16 * 1024);
    bench_close(&b);
}

/* ---- downloads -------------------------------------------------------------------------------------- */

static const char whole[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* What the file's server does; changed by the tests between requests. */
static struct {
    const char *etag; /* with the header's name; "" = none */
    bool ranges;
    int stop_after; /* bytes of the body before the connection ends; 0 = all */
    const char *body;
} origin_file;

static void send_file(int fd, const char *request)
{
    const char *body = origin_file.body, *range = peer_header(request, "\r\nRange: bytes=");
    const char *condition = peer_header(request, "\r\nIf-Range: ");
    size_t from = 0, size = strlen(body);
    char head[512];
    bool same = condition && origin_file.etag[0] &&
                strncmp(condition, origin_file.etag + 6, strlen(origin_file.etag + 6)) == 0;
    if (range && origin_file.ranges && same) from = strtoul(range, NULL, 10);
    if (from >= size && from > 0) {
        snprintf(head, sizeof head, "Content-Range: bytes */%zu\r\n", size);
        peer_reply(fd, "416 Range Not Satisfiable", head, "no");
        return;
    }
    if (from > 0)
        snprintf(head, sizeof head,
                 "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: "
                 "%zu\r\n%s\r\n",
                 from, size - 1, size, size - from, origin_file.etag);
    else
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n", size,
                 origin_file.etag);
    peer_send(fd, head);
    char cut[256];
    snprintf(cut, sizeof cut, "%s", body + from);
    if (origin_file.stop_after) cut[origin_file.stop_after] = '\0';
    peer_send(fd, cut);
}

static void serve_file(struct peer *peer, int fd, int connection)
{
    char buf[8192];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        if (strstr(buf, " /missing")) {
            peer_reply(fd, "404 Not Found", "", "no such file");
            continue;
        }
        bool stops = origin_file.stop_after > 0; /* once it has the reply, the test changes it */
        send_file(fd, buf);
        if (stops) return;
    }
}

static struct answer download(struct bench *b, const char *url, const char *path, bool resume)
{
    return exchange(
        b, &(struct http_request){.method = "GET", .url = url, .download_path = path, .resume = resume});
}

static void set_origin(const char *etag, bool ranges, int stop_after, const char *body)
{
    origin_file.etag = etag;
    origin_file.ranges = ranges;
    origin_file.stop_after = stop_after;
    origin_file.body = body;
}

static void a_download_is_there_whole_or_not_at_all(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_file);
    const char *path = scratch("model");
    set_origin("", false, 0, whole);
    struct answer a = download(&b, at(peer, "/f"), path, false);
    CHECK(!a.failed && a.status == 200 && a.body_len == 0);
    CHECK_INT(a.downloaded, 36);
    CHECK_INT(a.progress.received, 36);
    CHECK_INT(a.progress.receive_total, 36);
    CHECK_STR(read_file(path), whole);
    CHECK_INT(files_in_scratch(), 1);
    set_origin("", false, 10, whole);
    a = download(&b, at(peer, "/f"), path, false);
    CHECK(a.failed && a.err.retryable);
    CHECK_STR(a.err.code, "truncated");
    CHECK_STR(read_file(path), whole); /* the old one is untouched */
    CHECK_INT(files_in_scratch(), 1);
    a = download(&b, at(peer, "/missing"), scratch("other"), false);
    CHECK(!a.failed && a.status == 404);
    CHECK_STR(a.body, "no such file");
    CHECK_INT(files_in_scratch(), 1);
    set_origin("", false, 0, whole);
    a = exchange(&b, &(struct http_request){
                         .method = "GET", .url = at(peer, "/f"), .download_path = path, .body_cap = 20});
    CHECK_STR(a.err.code, "body_cap");
    CHECK_INT(files_in_scratch(), 1);
    send_request(&b,
                 &(struct http_request){
                     .method = "GET", .url = at(peer, "/f"), .download_path = scratch("no/such/folder")},
                 &a);
    CHECK(a.exchange == NULL && a.err.kind == ERR_UNAVAILABLE);
    CHECK_STR(a.err.code, "ENOENT");
    unlink(path);
    bench_close(&b);
    peer_stop(peer);
}

struct resume_case {
    const char *name;
    const char *first_etag, *second_etag;
    bool ranges;
    const char *second_body;
    int requests;       /* of the second attempt */
    const char *expect; /* in its first request, or NULL: no range asked for */
};

static void a_broken_download_goes_on_only_if_the_file_is_the_same(void)
{
    static const char other[] = "ZYXWVUTSRQPONMLKJIHG";
    static const struct resume_case cases[] = {
        {"same", "ETag: \"v1\"\r\n", "ETag: \"v1\"\r\n", true, whole, 1, "Range: bytes=10-"},
        {"changed", "ETag: \"v1\"\r\n", "ETag: \"v2\"\r\n", true, other, 1, "If-Range: \"v1\""},
        {"no ranges", "ETag: \"v1\"\r\n", "ETag: \"v1\"\r\n", false, whole, 1, "Range: bytes=10-"},
        {"no validator", "", "", true, whole, 1, NULL},
        {"weak etag", "ETag: W/\"v1\"\r\n", "ETag: W/\"v1\"\r\n", true, whole, 1, NULL},
        {"already whole", "ETag: \"v1\"\r\n", "ETag: \"v1\"\r\n", true, "0123456789", 1, "Range: bytes=10-"},
        {"shrunk", "ETag: \"v1\"\r\n", "ETag: \"v1\"\r\n", true, "012345678", 2, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct resume_case *c = &cases[i];
        struct bench b = bench_open(NULL);
        struct peer *peer = peer_start(serve_file);
        const char *path = scratch("model");
        set_origin(c->first_etag, true, 10, whole);
        CHECK(download(&b, at(peer, "/f?sig=1"), path, true).failed);
        set_origin(c->second_etag, c->ranges, 0, c->second_body);
        int before = peer->requests;
        struct answer a = download(&b, at(peer, "/f?sig=2"), path, true); /* a fresh link is the same file */
        if (a.failed) printf("  %s: %s\n", c->name, a.err.message);
        CHECK(!a.failed && a.status == 200);
        CHECK_STR(read_file(path), c->second_body);
        CHECK_INT(a.downloaded, strlen(c->second_body));
        CHECK_INT(peer->requests - before, c->requests);
        if (c->expect) CHECK(strstr(peer->last, c->expect) != NULL);
        if (c->expect == NULL) CHECK(strstr(peer->last, "Range: bytes") == NULL);
        CHECK_INT(files_in_scratch(), 1);
        unlink(path);
        bench_close(&b);
        peer_stop(peer);
    }
}

static void serve_wrong_part(struct peer *peer, int fd, int connection)
{
    char buf[8192];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        if (strstr(buf, "Range: bytes="))
            peer_reply(fd, "206 Partial Content", "Content-Range: bytes 3-38/36\r\nETag: \"v1\"\r\n", whole);
        else
            peer_reply(fd, "200 OK", "ETag: \"v1\"\r\n", whole);
    }
}

static void a_part_that_does_not_fit_is_not_joined(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_wrong_part);
    const char *path = scratch("model");
    write_file(scratch("model.part"), "0123456789", 10);
    write_file(scratch("model.part.tag"), "\"v1\"", 4);
    struct answer a = download(&b, at(peer, "/f"), path, true);
    CHECK(!a.failed);
    CHECK_STR(read_file(path), whole);
    CHECK_INT(peer->requests, 2);
    CHECK_INT(files_in_scratch(), 1);
    unlink(path);
    bench_close(&b);
    peer_stop(peer);
}

static void two_downloads_of_one_name_never_mix_and_cancelling_cleans_up(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_silent);
    const char *path = scratch("model");
    struct http_request r = {.method = "GET", .url = at(peer, "/f"), .download_path = path, .resume = true};
    struct answer a, second;
    send_request(&b, &r, &a);
    send_request(&b, &r, &second);
    CHECK(second.exchange == NULL && second.err.kind == ERR_INVALID);
    transport_cancel(b.http, a.exchange);
    CHECK_INT(files_in_scratch(), 0);
    send_request(&b, &r, &second);
    CHECK(second.exchange != NULL);
    bench_close(&b);
    CHECK_INT(files_in_scratch(), 0);
    peer_stop(peer);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(dir) == NULL) return 1;
    a_file_goes_as_one_part_of_a_form_or_raw();
    a_file_that_shrinks_while_sent_is_an_error_with_unknown_outcome();
    a_gigabyte_goes_up_in_constant_memory();
    a_download_is_there_whole_or_not_at_all();
    a_broken_download_goes_on_only_if_the_file_is_the_same();
    a_part_that_does_not_fit_is_not_joined();
    two_downloads_of_one_name_never_mix_and_cancelling_cleans_up();
    rmdir(dir);
    HARNESS_END();
}
