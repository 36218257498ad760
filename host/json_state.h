/* json_state.h - what json.c and json_encode.c share in one VM; nobody else includes it.
 *
 * The state is a userdata in the registry: the marker prefix, the parser (a private instance of lua-cjson,
 * whose settings no script can reach) and scratch memory that an error raised by Lua cannot leak.
 */
#ifndef PERIGEE_JSON_STATE_H
#define PERIGEE_JSON_STATE_H

#include "host/buf.h"
#include "host/json.h"
#include "host/jsonscan.h"

#define JSON_ARRAY_CLASS  "perigee.json.array"
#define JSON_NUMBER_CLASS "perigee.json.number"

enum { JSON_SCRATCH_KEPT = 256 << 10 };

struct json_state {
    char prefix[JSONSCAN_PREFIX_LEN];
    struct buf text; /* rewritten text of a decode; output of an encode */
    struct buf keys; /* a stack of struct json_key, for sorting */
};

/* [-0, +1, m] pushes the state of this VM, made on first use. */
struct json_state *json_state_push(lua_State *L);

/* [-0, +1, m] pushes lua-cjson's decode; the state is at index. */
void json_state_push_decode(lua_State *L, int index);

/* Empties a scratch buffer, giving back what is larger than JSON_SCRATCH_KEPT. */
void json_state_trim(struct buf *b);

#endif
