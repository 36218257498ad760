/* log.h - structured log lines: a level, an event word, fields.
 *
 * The event log of design.md is this log at debug level in JSON: one line for each task, op, call and
 * decision event, with times from the clock, so that one seed gives the same bytes twice.  No pointers,
 * ports or secrets belong in a field; redaction is applied to each line all the same.
 * Loop thread only; one logger for the process.
 */
#ifndef PERIGEE_LOG_H
#define PERIGEE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/err.h"
#include "host/list.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_value { LOG_STRING, LOG_INTEGER, LOG_NUMBER, LOG_BOOLEAN };

struct log_field {
    const char *key;
    enum log_value type;
    const char *string; /* LOG_STRING; NULL leaves the field out */
    size_t len;         /* of string; 0 means NUL-terminated */
    int64_t integer;    /* LOG_INTEGER, LOG_BOOLEAN */
    double number;      /* LOG_NUMBER */
};

#define LOG_STR(k, v)                                                                                        \
    {                                                                                                        \
        .key = (k), .type = LOG_STRING, .string = (v)                                                        \
    }
#define LOG_INT(k, v)                                                                                        \
    {                                                                                                        \
        .key = (k), .type = LOG_INTEGER, .integer = (v)                                                      \
    }
#define LOG_NUM(k, v)                                                                                        \
    {                                                                                                        \
        .key = (k), .type = LOG_NUMBER, .number = (v)                                                        \
    }
#define LOG_BOOL(k, v)                                                                                       \
    {                                                                                                        \
        .key = (k), .type = LOG_BOOLEAN, .integer = (v)                                                      \
    }

/* Where finished lines go (with their line end); default: standard error. */
typedef void (*log_sink_fn)(void *ctx, enum log_level level, const char *line, size_t n);

/* Wall time in milliseconds since 1970; default: the system's.  The program passes the clock's. */
typedef int64_t (*log_time_fn)(void *ctx);

void log_set_sink(log_sink_fn sink, void *ctx);
void log_set_time(log_time_fn now, void *ctx);
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);

/* A word that stands in every JSON line as "run": which of many processes wrote it.  NULL or "": none. */
void log_set_run(const char *run);

/* Lines go to the end of this file, which is made with mode 0600, and no more to the sink, but for those that
 * cannot be written (a full disk).  -1 with err (unavailable, code) if it cannot be opened. */
int log_open_file(const char *path, struct err *err);

/* Opens the file anew under its name, after somebody has moved it away.  If that fails the old one stays, and
 * gets a line that says so.  Without a file nothing happens. */
void log_reopen_file(void);

/* Back to the sink. */
void log_close_file(void);

/* Keeps the last lines of this level and above, whatever is shown; 0: none.  Another number than before drops
 * those that were kept. */
void log_keep(enum log_level level, size_t lines);

/* How many lines were kept since then, those that have gone meanwhile included. */
uint64_t log_kept_count(void);

/* The kept line of that number (the first is 1), without its line end, and its level; NULL if it is gone or
 * yet to come. Good until the next line. */
const char *log_kept(uint64_t number, enum log_level *level);

/* What is shown now, and its name. */
enum log_level log_level(void);
const char *log_level_name(enum log_level level);

/* Somebody who sees the lines as they are written, as far as they are of this level or above it.  The
 * caller's memory; `line` (with its line end) is valid during the call, which may neither log nor wait. */
struct log_tap {
    struct list_node link;
    enum log_level level;
    void (*line)(void *ctx, const char *line, size_t n);
    void *ctx;
};

void log_tap_add(struct log_tap *tap);
void log_tap_remove(struct log_tap *tap);

/* True if a line of this level would be written or kept: ask before building costly fields. */
bool log_enabled(enum log_level level);

/* 0, or -1 if the name is not one of debug info warn error off. */
int log_level_parse(const char *name, enum log_level *level);

/* Writes one line.  event: a short dotted word ("task.end", "http.retry"). */
void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n);

/* log_write(LOG_LEVEL_WARN, "tls.off", LOG_STR("host", host)); */
#define log_write(level, event, ...)                                                                         \
    do {                                                                                                     \
        if (log_enabled(level)) {                                                                            \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                            \
            log_event((level), (event), log_fields_, sizeof log_fields_ / sizeof log_fields_[0]);            \
        }                                                                                                    \
    } while (0)

#endif
