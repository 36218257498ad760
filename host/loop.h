/* loop.h - the one libuv loop of the process.
 *
 * Owns the uv_loop_t.  Everything here is for the loop thread, except loop_uv's use with uv_async_send.
 * Ending proves itself: loop_free closes what is left, and says by name what should have been closed.
 */
#ifndef PERIGEE_LOOP_H
#define PERIGEE_LOOP_H

#include <stddef.h>
#include <uv.h>

struct loop;

/* Never NULL: a loop that cannot be made ends the process. */
struct loop *loop_new(void);

/* The libuv loop, for engines that make handles. */
uv_loop_t *loop_uv(struct loop *loop);

/* Runs until nothing keeps the loop alive or loop_stop is called.  Must not be re-entered (aborts). */
void loop_run(struct loop *loop);

/* One turn without blocking; for tests and for pumping close callbacks. */
void loop_turn(struct loop *loop);

/* Makes loop_run return after the current turn. */
void loop_stop(struct loop *loop);

/* Turns until the end of every child process is known (their handles close then), for 2 s at most. */
void loop_reap(struct loop *loop);

/* Handles that exist (closing ones excepted): the leak checks of the specs compare it. */
size_t loop_handle_count(struct loop *loop);

/* Closes leftover handles (each is logged as a bug), pumps up to 2 s, closes the loop and frees it.
 * Returns the number of leftovers; a debug build aborts when there are any. */
size_t loop_free(struct loop *loop);

#endif
