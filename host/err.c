/* err.c - filling and naming errors. */
#include "host/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, enum err_kind kind, const char *format, ...)
{
    if (e == NULL) return -1;
    memset(e, 0, sizeof *e);
    e->kind = kind;
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    return -1;
}

int err_set_code(struct err *e, const char *code)
{
    if (e) snprintf(e->code, sizeof e->code, "%s", code);
    return -1;
}

const char *err_kind_name(enum err_kind kind)
{
    switch (kind) {
    case ERR_NETWORK: return "network";
    case ERR_TIMEOUT: return "timeout";
    case ERR_TLS: return "tls";
    case ERR_HTTP: return "http";
    case ERR_AUTH: return "auth";
    case ERR_API: return "api";
    case ERR_PARSE: return "parse";
    case ERR_INVALID: return "invalid";
    case ERR_DENIED: return "denied";
    case ERR_FUNDS: return "funds";
    case ERR_JOB_FAILED: return "job_failed";
    case ERR_UNAVAILABLE: return "unavailable";
    case ERR_LIMIT: return "limit";
    case ERR_CANCELLED: return "cancelled";
    case ERR_CLOSED: return "closed";
    }
    return "error";
}

const char *outcome_name(enum outcome outcome)
{
    return outcome == OUTCOME_UNKNOWN ? "unknown" : "none";
}
