/* channel.h - a queue of plain data between two VMs: how a supervisor talks to a policy, or a console to
 * the daemon.
 *
 * A channel has two ends, each a userdata "perigee.channel" in its VM: end:send(value) waits while the other
 * side has `capacity` values unread; end:receive() -> true, value, or false once the other end is closed and
 * everything was read.  Values are copied; nothing is shared.  Closing an end (close, <close>, collected, or
 * its VM gone) wakes the other.  Loop thread only.
 */
#ifndef PERIGEE_CHANNEL_H
#define PERIGEE_CHANNEL_H

#include <lua.h>
#include <stddef.h>

/* [-0, +1 on each, m] makes a channel and pushes one end on each stack; a and b may be of one VM. most_bytes:
 * what one message that b sends may have; 0: any. */
void channel_push_ends(lua_State *a, lua_State *b, size_t capacity, size_t most_bytes);

#endif
