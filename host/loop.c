/* loop.c - running and ending the libuv loop. */
#include "host/loop.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/log.h"
#include "host/mem.h"

enum { CLOSE_LIMIT_MS = 2000 };

struct loop {
    uv_loop_t uv;
    bool running;
};

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof *loop);
    int rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        fprintf(stderr, "perigee: cannot make an event loop: %s\n", uv_strerror(rc));
        exit(70);
    }
    uv_loop_configure(&loop->uv, UV_METRICS_IDLE_TIME); /* read by host/curlmux_limit.c */
    return loop;
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

static void run(struct loop *loop, uv_run_mode mode)
{
    if (loop->running) {
        fputs("perigee: the event loop was entered twice\n", stderr);
        abort();
    }
    loop->running = true;
    uv_run(&loop->uv, mode);
    loop->running = false;
}

void loop_run(struct loop *loop)
{
    run(loop, UV_RUN_DEFAULT);
}

void loop_turn(struct loop *loop)
{
    run(loop, UV_RUN_NOWAIT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void count_handle_cb(uv_handle_t *handle, void *arg)
{
    size_t *count = arg;
    if (!uv_is_closing(handle)) ++*count;
}

size_t loop_handle_count(struct loop *loop)
{
    size_t count = 0;
    uv_walk(&loop->uv, count_handle_cb, &count);
    return count;
}

static void find_child_cb(uv_handle_t *handle, void *arg)
{
    bool *found = arg;
    if (handle->type == UV_PROCESS && !uv_is_closing(handle)) *found = true;
}

void loop_reap(struct loop *loop)
{
    uint64_t give_up = uv_hrtime() + (uint64_t)CLOSE_LIMIT_MS * 1000000;
    for (;;) {
        bool found = false;
        uv_walk(&loop->uv, find_child_cb, &found);
        if (!found || uv_hrtime() >= give_up) return;
        loop_turn(loop);
        uv_sleep(1);
    }
}

static void close_leftover_cb(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (uv_is_closing(handle)) return;
    log_write(LOG_LEVEL_ERROR, "loop.handle_left_open", LOG_STR("type", uv_handle_type_name(handle->type)));
    uv_close(handle, NULL);
}

size_t loop_free(struct loop *loop)
{
    size_t leftovers = loop_handle_count(loop);
    uv_walk(&loop->uv, close_leftover_cb, NULL);
    uint64_t give_up = uv_hrtime() + (uint64_t)CLOSE_LIMIT_MS * 1000000;
    int rc;
    while ((rc = uv_loop_close(&loop->uv)) == UV_EBUSY && uv_hrtime() < give_up) {
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        uv_sleep(uv_loop_alive(&loop->uv) ? 1 : 0);
    }
    if (rc != 0) {
        log_write(LOG_LEVEL_ERROR, "loop.would_not_close", LOG_STR("error", uv_strerror(rc)));
        leftovers++;
    } else {
        mem_free(loop);
    }
    assert(leftovers == 0);
    return leftovers;
}
