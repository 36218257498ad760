/* test_loop.c - the end of the loop: nothing may be left open, and what is left is named. */
#include "tests/c/harness.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/loop.h"

static void an_empty_loop_closes(void)
{
    struct loop *loop = loop_new();
    CHECK_INT(loop_handle_count(loop), 0);
    CHECK_INT(loop_free(loop), 0);
}

/* In a process of its own: a debug build ends there. */
static void leave_a_handle_open(int report)
{
    static uv_timer_t timer;
    dup2(report, STDERR_FILENO);
    struct loop *loop = loop_new();
    uv_timer_init(loop_uv(loop), &timer);
    _exit((int)loop_free(loop));
}

static void a_handle_left_open_is_named_and_ends_a_debug_build(void)
{
    int report[2], status;
    char text[1024] = "";
    CHECK_INT(pipe(report), 0);
    pid_t child = fork();
    if (child == 0) leave_a_handle_open(report[1]);
    close(report[1]);
    for (size_t at = 0; at < sizeof text - 1;) {
        ssize_t n = read(report[0], text + at, sizeof text - 1 - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    close(report[0]);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(strstr(text, "loop.handle_left_open") != NULL && strstr(text, "type=timer") != NULL);
#ifdef NDEBUG
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
#else
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#endif
}

static void on_exit_cb(uv_process_t *process, int64_t status, int term_signal)
{
    (void)status, (void)term_signal;
    uv_close((uv_handle_t *)process, NULL);
}

static void reaping_waits_for_the_end_of_killed_children(void)
{
    char name[] = "sleep", time[] = "600", *args[] = {name, time, NULL};
    uv_process_options_t options = {.file = "sleep", .args = args, .exit_cb = on_exit_cb};
    struct loop *loop = loop_new();
    uv_process_t process;
    CHECK_INT(uv_spawn(loop_uv(loop), &process, &options), 0);
    uv_process_kill(&process, SIGKILL);
    loop_reap(loop);
    CHECK_INT(loop_handle_count(loop), 0);
    CHECK_INT(loop_free(loop), 0);
}

int main(void)
{
    an_empty_loop_closes();
    a_handle_left_open_is_named_and_ends_a_debug_build();
    reaping_waits_for_the_end_of_killed_children();
    HARNESS_END();
}
