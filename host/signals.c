/* signals.c - uv_signal watchers for the signals perigee acts on. */
#include "host/signals.h"

#include <signal.h>

#include "host/mem.h"

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
enum { WATCHED = sizeof watched / sizeof watched[0] };

struct signals {
    uv_signal_t handles[WATCHED];
    int open;
    signals_fn fn;
    void *ctx;
};

/* The handler of libuv, and what is called before it; one signal of a process. */
static void (*volatile next_handler)(int);
static void (*volatile also)(void);
static volatile sig_atomic_t undelivered;

static void on_signal_cb(uv_signal_t *handle, int signum)
{
    struct signals *s = handle->data;
    if (undelivered == signum) undelivered = 0;
    if (s->fn) s->fn(s->ctx, signum);
}

static void on_raw_signal(int signum)
{
    undelivered = signum;
    also();
    next_handler(signum);
}

void signals_also_call(int signum, void (*fn)(void))
{
    struct sigaction action;
    if (also != NULL || sigaction(signum, NULL, &action) != 0) return;
    next_handler = action.sa_handler;
    also = fn;
    action.sa_handler = on_raw_signal;
    sigaction(signum, &action, NULL);
}

bool signals_undelivered(void)
{
    return undelivered != 0;
}

static void on_close_cb(uv_handle_t *handle)
{
    struct signals *s = handle->data;
    if (--s->open == 0) mem_free(s);
}

struct signals *signals_start(struct loop *loop, signals_fn fn, void *ctx)
{
    signal(SIGPIPE, SIG_IGN);
    struct signals *s = mem_alloc(sizeof *s);
    s->fn = fn;
    s->ctx = ctx;
    for (int i = 0; i < WATCHED; i++) {
        uv_signal_init(loop_uv(loop), &s->handles[i]);
        s->handles[i].data = s;
        s->open++;
        uv_signal_start(&s->handles[i], on_signal_cb, watched[i]);
        uv_unref((uv_handle_t *)&s->handles[i]);
    }
    return s;
}

void signals_stop(struct signals *s)
{
    if (s == NULL) return;
    s->fn = NULL;
    for (int i = 0; i < WATCHED; i++) uv_close((uv_handle_t *)&s->handles[i], on_close_cb);
}
