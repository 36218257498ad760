/* test_sdnotify.c - messages to the service manager: whole, over paths and abstract names, without waiting.
 */
#include "harness.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/sdnotify.h"

/* A socket as the manager has it; address as NOTIFY_SOCKET names it. */
static int manager(const char *address)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    size_t n = strlen(address);
    memcpy(own.sun_path, address, n);
    if (address[0] == '@') own.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&own, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) == 0);
    return fd;
}

static void test_sends_whole_messages(const char *address)
{
    struct err err = {0};
    char got[256] = "";
    int fd = manager(address);
    struct sdnotify *notify = sdnotify_open(address, &err);
    CHECK_STR(err.message, "");
    static const char text[] = "RELOADING=1\nMONOTONIC_USEC=123456789";
    CHECK_INT(sdnotify_send(notify, text, sizeof text - 1, &err), 0);
    CHECK_INT(sdnotify_send(notify, "READY=1", 7, &err), 0);
    CHECK_INT(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), sizeof text - 1);
    CHECK_STR(got, text);
    CHECK_INT(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 7);
    close(fd);

    CHECK_INT(sdnotify_send(notify, "WATCHDOG=1", 10, &err), -1); /* nobody is there any more */
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    sdnotify_close(notify);
}

/* A manager that does not read must not stop the loop. */
static void test_does_not_wait(const char *address)
{
    struct err err = {0};
    char text[4096];
    memset(text, 'x', sizeof text);
    int fd = manager(address), sent = 0;
    struct sdnotify *notify = sdnotify_open(address, &err);
    while (sent < 100000 && sdnotify_send(notify, text, sizeof text, &err) == 0) sent++;
    CHECK(sent > 0 && sent < 100000);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    sdnotify_close(notify);
    close(fd);
}

static void test_refuses_other_addresses(void)
{
    static const char *const bad[] = {"", "@", "/", "relative", "vsock:2:1234"};
    char long_path[200] = "/";
    memset(long_path + 1, 'x', sizeof long_path - 2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0] + 1; i++) {
        struct err err = {0};
        CHECK(sdnotify_open(i < 5 ? bad[i] : long_path, &err) == NULL);
        CHECK_INT(err.kind, ERR_INVALID);
    }
    sdnotify_close(NULL);
}

int main(void)
{
    char directory[] = "/tmp/perigee-notify-XXXXXX", path[64], name[64];
    if (mkdtemp(directory) == NULL) return 1;
    snprintf(path, sizeof path, "%s/s", directory);
    snprintf(name, sizeof name, "@perigee-test-%ld", (long)getpid());
    test_sends_whole_messages(path);
    test_sends_whole_messages(name);
    unlink(path);
    test_does_not_wait(path);
    test_refuses_other_addresses();
    unlink(path);
    rmdir(directory);
    HARNESS_END();
}
