/* ops.h - the operations engine: a service is a table, and one engine serves every table.
 *
 * A table (bindings/deai.c, bindings/sxwl.c) names each operation's method, path, effect, fields and reply.
 * The engine checks a Lua table against the fields, writes the exact JSON the contract asks for, sends it
 * through a transport, decides what the answer means, and decodes it.  One call is one exchange; whatever
 * takes several (login, retries, locks, polling) is Lua, scripts/lib/service.lua and the clients.
 *
 *   ops_check   Lua table -> exact types, or `invalid` naming the field      ops_check.c
 *   ops_encode  exact types -> JSON text or query string                     ops_encode.c
 *   ops_judge   answer -> what it means (struct err)                         ops_judge.c
 *   ops_reply   JSON text -> Lua table                                       ops_reply.c
 *   ops_send    all of it, as an op                                          ops.c
 *
 * An operation whose effect is OPS_CREATE leaves only with a permit of the spend kernel.
 */
#ifndef PERIGEE_OPS_H
#define PERIGEE_OPS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"
#include "host/transport.h"

/* ---- the table ---------------------------------------------------------------------------------------- */

enum ops_effect {
    OPS_READ = 1, /* changes nothing: may be repeated */
    OPS_LOGIN,    /* trades credentials for a token: may be repeated, is sent without one */
    OPS_DRAFT,    /* replaces state that a later create picks up: a late duplicate does harm */
    OPS_UPLOAD,   /* stores bytes: not repeated blindly */
    OPS_CREATE,   /* costs money: needs a permit, never repeated */
    OPS_STOP      /* ends something that costs money */
};

enum ops_type {
    OPS_STRING = 1,
    OPS_INTEGER,  /* JSON integer; takes 5, 5.0 and "5" */
    OPS_NUMBER,   /* JSON number; takes "0.9" too */
    OPS_DIGITS,   /* JSON string of decimal digits; takes 10000 and "10000" */
    OPS_ENUM,     /* JSON string, one of `choices`; takes 1 for "1" */
    OPS_PATH,     /* JSON string: a path on the service, never a file here */
    OPS_URL,      /* JSON string: absolute http or https */
    OPS_MAP,      /* JSON object of strings; takes numbers and booleans as values */
    OPS_FILE,     /* the local file of a multipart upload; not part of the JSON */
    OPS_FILE_NAME /* what the upload says the file is called; not part of the JSON */
};

struct ops_field {
    const char *name; /* the service's own spelling; NULL ends the list */
    enum ops_type type;
    bool required;
    bool secret;                /* its values are registered with host/redact */
    const char *required_if;    /* name of an earlier field … */
    const char *required_value; /* … whose exact value makes this one required */
    const char *const *choices; /* OPS_ENUM; ends with NULL */
    double above, below;        /* OPS_NUMBER: strictly between, if they differ */
    int64_t least, most;        /* OPS_INTEGER, OPS_DIGITS; both 0 = any */
    size_t max_len;             /* bytes of a string; 0 = OPS_STRING_MAX */
    const char *forbid;         /* a string that must not occur … */
    const char *forbid_why;     /* … and the reason, for the message */
    const char *fallback;       /* sent if absent, read like a value of the caller's; NULL = left out */
    const char *mark;           /* where the field is known from: "D", "S", "I" */
    const char *doc;
};

enum { OPS_STRING_MAX = 64 * 1024, OPS_MAP_MAX = 1000 };

enum ops_reply_type {
    OPS_REPLY_STRING = 1, /* a string */
    OPS_REPLY_ID,         /* a string; a JSON number becomes one, digit by digit */
    OPS_REPLY_INTEGER,
    OPS_REPLY_NUMBER,
    OPS_REPLY_BASE_UNITS, /* JSON integer or digits in 1e-18: an amount in `currency` */
    OPS_REPLY_MONEY,      /* decimal string: an amount in `currency` */
    OPS_REPLY_ROWS,       /* an array; the rows' fields follow, named "data[].jobID" */
    OPS_REPLY_OBJECT,     /* an object; its fields follow, named "data.tx_hash" */
    OPS_REPLY_ANY
};

struct ops_reply_field {
    const char *name; /* "jobID", "data[].jobID", "[].gpuProd"; NULL ends the list */
    enum ops_reply_type type;
    bool required; /* a reply without it is not understood: outcome unknown for a create */
    const char *currency;
    const char *doc;
};

struct ops_def {
    const char *name; /* NULL ends the list */
    const char *method;
    const char *path;
    enum ops_effect effect;
    bool idempotent; /* OPS_STOP that may be repeated */
    const struct ops_field *fields;
    const char *const *options; /* our own options beside the fields; ends with NULL */
    const struct ops_reply_field *reply;
    const char *missing; /* a 200 without this field says that the thing asked for is unknown */
    const char *doc;
};

/* Several operations under one name (train, infer, run): its fields are those of its parts. */
struct ops_compound {
    const char *name;
    const char *const *parts; /* names of operations */
    const char *const *options;
    const char *doc;
};

/* How an error answer is read; the first rule that fits decides.  Zero and NULL fit anything. */
struct ops_rule {
    int status;           /* HTTP status; 0 = any */
    int64_t body_code;    /* envelope code; 0 = any */
    const char *contains; /* in the message or body, case ignored */
    enum err_kind kind;
    const char *code;
    bool transient; /* may go away by itself: a read, or a refused create, can be sent again */
    const char *hint;
};

enum ops_envelope {
    OPS_ENVELOPE_CODE = 1, /* {"code":200,"msg":…}: success is code 200 in the body */
    OPS_ENVELOPE_PLAIN     /* success is the HTTP status */
};

struct ops_service {
    const char *name;  /* "deai" */
    const char *title; /* "Distributed AI" */
    const char *base_url;
    const char *auth_header; /* "token", "Authorization" */
    const char *auth_prefix; /* "", "Bearer " */
    enum ops_envelope envelope;
    const struct ops_rule *rules; /* ends with kind 0 */
    const struct ops_def *defs;
    const struct ops_compound *compounds;
};

/* The operation of that name, or NULL. */
const struct ops_def *ops_find(const struct ops_service *service, const char *name);
const struct ops_compound *ops_find_compound(const struct ops_service *service, const char *name);

const char *ops_effect_name(enum ops_effect effect);
const char *ops_type_name(enum ops_type type);

/* ---- check and encode --------------------------------------------------------------------------------- */

enum ops_check_flags {
    OPS_PARTIAL = 1,    /* required fields may still be missing (compound calls) */
    OPS_LOCAL_FILES = 2 /* a path may be a local file that is going to be uploaded (deai.file) */
};

/* The metatable of the value that marks a local file where a path of the service is expected. */
#define OPS_FILE_CLASS "perigee.deai.file"

/* The metatable of a value that is used but never shown: a string field takes one, and sends its text. */
#define OPS_SECRET_CLASS "perigee.secret"

/* [-0, +1, e] pushes a table with the exact types, defaults filled in.  Raises `invalid` naming the field:
 * unknown (with the nearest name), missing, wrong type, out of bounds.  who: "deai.create_job". */
void ops_check(lua_State *L, int index, const char *who, const struct ops_def *def, unsigned flags);

/* Appends the JSON object of a table that ops_check made, in the order of the table of fields. */
void ops_encode(lua_State *L, int index, const struct ops_def *def, struct buf *out);

/* Appends "?a=1&b=2" likewise; nothing if no field is set. */
void ops_encode_query(lua_State *L, int index, const struct ops_def *def, struct buf *out);

/* ---- judge and decode --------------------------------------------------------------------------------- */

/* What came back, as far as it is known. */
struct ops_answer {
    int status; /* 0: no HTTP reply */
    const char *headers;
    const char *body;
    size_t body_len;
    const struct err *transport; /* the transport's error, or NULL */
    bool envelope;               /* the body is an object with an integer code … */
    int64_t body_code;           /* … which is this */
    const char *message;         /* the service's own words, or NULL */
    bool understood;             /* a success, and the reply has all it must have */
    bool unknown_thing;          /* a success that says: no such thing (def->missing) */
};

/* Decides by the table of outcomes.  Returns 0 for a success; else -1 with err filled: kind, outcome,
 * retryable, code, message. */
int ops_judge(const struct ops_service *service, const struct ops_def *def, const struct ops_answer *answer,
              struct err *err);

/* Seconds of a Retry-After header (a number or a date, then counted from wall_ms); 0 if there is none. */
uint32_t ops_retry_after(const char *headers, int64_t wall_ms);

/* Seconds since 1970 of the Date header; -1 if there is none. */
int64_t ops_server_date(const char *headers);

/* [-0, +1, e] decodes a reply body: a Lua value whose listed fields have the types of the table; nil if it
 * is not JSON.  Fills the envelope part of the answer.  answer->message points into the value pushed. */
void ops_decode(lua_State *L, const struct ops_service *service, const struct ops_def *def,
                struct ops_answer *answer);

/* ---- send --------------------------------------------------------------------------------------------- */

/* A client's connection: where to, with which token.  Memory of its userdata. */
struct ops_conn {
    const struct ops_service *service;
    struct transport *transport; /* not owned */
    int transport_ref;           /* what keeps it alive, or LUA_NOREF */
    char *base_url;              /* no trailing slash */
    char *token;                 /* NULL: none */
};

/* [-0, +0, m] the transport of connections that name none; it must outlive the VM's tasks. */
void ops_use_transport(lua_State *L, struct transport *transport);

/* [-0, +0, m] the one given; else the network of the scheduler. */
struct transport *ops_default_transport(lua_State *L);

#define OPS_CONN_CLASS     "perigee.ops.conn"
#define OPS_PROGRESS_CLASS "perigee.ops.progress"

/* What an upload reports while it runs: userdata of a script, filled from the loop. */
struct ops_progress {
    struct http_progress now;
};

struct ops_call_options {
    uint64_t timeout_ms; /* 0 = the effect's default */
    int attempt;         /* for the error object; from 1 */
    int permit_index;    /* stack index of the permit userdata; 0 = none */
    int progress_index;  /* stack index of the progress userdata; 0 = none */
    int conn_index;      /* stack index of the conn's userdata, which must outlive the call */
};

/* Waits: `return ops_send(…)`.  fields: stack index of a table for ops_check.  In the end returns the
 * decoded reply and a table {status, elapsed, date}, or raises an error object with the fields of
 * design.md: service, operation, status, body, url, elapsed, attempt, retry_after. */
int ops_send(lua_State *L, struct ops_conn *conn, const struct ops_def *def, int fields,
             const struct ops_call_options *options);

/* What a VM has asked of services so far; kept in its registry. */
struct ops_stats {
    uint64_t calls, failed, retries;
    uint64_t slowest_ms;
    char slowest[64]; /* "deai.create_job" */
};

/* [-0, +0, m] */
struct ops_stats *ops_stats(lua_State *L);

#endif
