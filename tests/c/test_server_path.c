/* test_server_path.c - a server on a path: who may take it, who may talk to it, and when it goes away. */
#include "server_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static char directory[64], path[96];

static int connect_to_path(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

static mode_t mode_of(const char *name)
{
    struct stat s;
    return lstat(name, &s) == 0 ? s.st_mode : 0;
}

static void test_answers_and_leaves_nothing(void)
{
    struct fixture f;
    mode_t old = umask(0);
    fixture_start(&f, &(struct server_config){.path = path});
    umask(old);
    CHECK(S_ISSOCK(mode_of(path)));
    CHECK_INT(mode_of(path) & 07777, 0600);
    CHECK_INT(server_port(f.server), 0);
    int fd = connect_to_path();
    CHECK(fd >= 0);
    client_expect(&f, fd, GET("/"), "hello");
    client_expect(&f, fd, GET("/"), "hello");
    close(fd);
    server_close(f.server, 0);
    CHECK_INT(mode_of(path), 0);
    fixture_end(&f);
}

/* A socket that a dead process left: bound, and nobody listens any more. */
static void leave_stale_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    close(fd);
}

static void test_replaces_what_the_dead_left(void)
{
    struct fixture f;
    leave_stale_socket();
    fixture_start(&f, &(struct server_config){.path = path});
    int fd = connect_to_path();
    client_expect(&f, fd, GET("/"), "hello");
    close(fd);
    fixture_end(&f);
}

static void test_refuses_what_is_in_use(void)
{
    struct fixture f;
    struct err err = {0};
    fixture_start(&f, &(struct server_config){.path = path});
    CHECK(server_start(f.loop, f.timers, &(struct server_config){.path = path}, &fixture_events, &f, &err) ==
          NULL);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    CHECK_STR(err.code, "EADDRINUSE");
    int fd = connect_to_path(); /* the living one was not disturbed */
    client_expect(&f, fd, GET("/"), "hello");
    close(fd);
    fixture_end(&f);

    close(open(path, O_CREAT | O_WRONLY, 0600));
    fixture_start(&f, &(struct server_config){0});
    CHECK(server_start(f.loop, f.timers, &(struct server_config){.path = path}, &fixture_events, &f, &err) ==
          NULL);
    CHECK_STR(err.code, "EEXIST");
    CHECK(S_ISREG(mode_of(path)));
    unlink(path);

    char long_path[200];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    CHECK(server_start(f.loop, f.timers, &(struct server_config){.path = long_path}, &fixture_events, &f,
                       &err) == NULL);
    CHECK_STR(err.code, "path_too_long");
    fixture_end(&f);
}

/* Somebody else took the name meanwhile: closing must not take it from them. */
static void test_leaves_the_socket_of_another(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.path = path});
    unlink(path);
    leave_stale_socket();
    fixture_end(&f);
    CHECK(S_ISSOCK(mode_of(path)));
    unlink(path);
}

/* Modes are the first wall; this is the second, for whoever was let through the first. */
static void test_refuses_another_user(void)
{
    if (geteuid() != 0) {
        printf("# skipped: another user can only be tried by root\n");
        return;
    }
    struct fixture f;
    fixture_start(&f, &(struct server_config){.path = path});
    CHECK(chmod(directory, 0755) == 0 && chmod(path, 0666) == 0);
    pid_t child = fork();
    if (child == 0) {
        char reply[512] = "";
        if (setuid(65534) != 0) _exit(2);
        int fd = connect_to_path();
        if (fd < 0 || write(fd, GET("/"), sizeof GET("/") - 1) < 0) _exit(3);
        if (read(fd, reply, sizeof reply - 1) < 0) _exit(4);
        _exit(strstr(reply, " 403 ") ? 0 : 5);
    }
    int status = -1;
    pid_t ended = 0;
    PUMP_UNTIL(&f, ended || (ended = waitpid(child, &status, WNOHANG)) != 0);
    CHECK_INT(status, 0);
    CHECK_INT(f.requests, 0);
    fixture_end(&f);
    chmod(directory, 0700);
}

int main(void)
{
    snprintf(directory, sizeof directory, "/tmp/perigee-path-XXXXXX");
    if (mkdtemp(directory) == NULL) return 1;
    snprintf(path, sizeof path, "%s/control.sock", directory);
    test_answers_and_leaves_nothing();
    test_replaces_what_the_dead_left();
    test_refuses_what_is_in_use();
    test_leaves_the_socket_of_another();
    test_refuses_another_user();
    CHECK(rmdir(directory) == 0); /* no file was left in it */
    HARNESS_END();
}
