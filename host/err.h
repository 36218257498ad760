/* err.h - what went wrong, in the words scripts will see.
 *
 * Functions of floors 0 to 2 that can fail return 0 or -1 and fill a `struct err` of the caller's.  It
 * holds no pointers: copy it freely.  bindings turn it into the Lua error object (host/luax.h).
 */
#ifndef PERIGEE_ERR_H
#define PERIGEE_ERR_H

#include <stdbool.h>

/* The kinds scripts match on; err_kind_name gives the spelling. */
enum err_kind {
    ERR_NETWORK = 1, /* resolve, connect, send or receive failed */
    ERR_TIMEOUT,     /* a limit of ours passed; the other side may still act */
    ERR_TLS,         /* certificate or handshake refused */
    ERR_HTTP,        /* an HTTP status that is an error in itself */
    ERR_AUTH,        /* credentials missing or refused */
    ERR_API,         /* the service answered, and said no */
    ERR_PARSE,       /* the reply could not be understood */
    ERR_INVALID,     /* the caller's input; nothing was sent */
    ERR_DENIED,      /* a gate or budget said no; nothing was sent */
    ERR_FUNDS,       /* the account cannot pay */
    ERR_JOB_FAILED,  /* the remote job itself failed */
    ERR_UNAVAILABLE, /* not offered here, or not now */
    ERR_LIMIT,       /* a size, depth or count limit of ours */
    ERR_CANCELLED,   /* the task was told to stop */
    ERR_CLOSED       /* the thing waited on was closed */
};

/* Whether the remote side may have executed the request. */
enum outcome {
    OUTCOME_NONE,   /* certainly not executed */
    OUTCOME_UNKNOWN /* may have been executed: never resend blindly */
};

struct err {
    enum err_kind kind;
    enum outcome outcome;
    bool retryable;    /* the same call can be sent again without risk */
    char code[48];     /* a stable short word: "not_found", "ECONNREFUSED", "first_byte"; may be "" */
    char message[512]; /* a sentence for people, no secrets, no trailing full stop */
};

/* Fills e (which may be NULL): outcome none, not retryable, no code.  Returns -1, so that
 * `return err_set(e, ERR_LIMIT, "…")` ends a function.  A message that is too long is cut. */
int err_set(struct err *e, enum err_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Sets e->code (e may be NULL); returns -1. */
int err_set_code(struct err *e, const char *code);

/* The spelling scripts see: "network", "timeout", … */
const char *err_kind_name(enum err_kind kind);

/* "none" or "unknown". */
const char *outcome_name(enum outcome outcome);

#endif
