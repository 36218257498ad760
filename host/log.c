/* log.c - one structured line for each event, as text or JSON. */
#include "host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/buf.h"
#include "host/mem.h"
#include "host/redact.h"

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

/* One line of the ring, without its line end. */
struct kept_line {
    char *text;
    enum log_level level;
};

static void write_stderr(void *ctx, enum log_level level, const char *line, size_t n)
{
    (void)ctx, (void)level;
    fwrite(line, 1, n, stderr);
}

static int64_t system_time_ms(void *ctx)
{
    (void)ctx;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct {
    enum log_level level;
    enum log_format format;
    log_sink_fn sink;
    void *sink_ctx;
    log_time_fn now;
    void *now_ctx;
    char run[40];
    int fd; /* of the file; -1: lines go to the sink */
    char *path;
    struct kept_line *kept; /* a ring; NULL: nothing is kept */
    size_t kept_size;
    uint64_t kept_count; /* lines that ever went into it */
    enum log_level keep_level;
    struct list_node taps; /* zero until the first comes */
} logger = {.level = LOG_LEVEL_WARN,
            .sink = write_stderr,
            .now = system_time_ms,
            .fd = -1,
            .keep_level = LOG_LEVEL_OFF};

void log_set_sink(log_sink_fn sink, void *ctx)
{
    logger.sink = sink ? sink : write_stderr;
    logger.sink_ctx = ctx;
}

void log_set_time(log_time_fn now, void *ctx)
{
    logger.now = now ? now : system_time_ms;
    logger.now_ctx = ctx;
}

void log_set_level(enum log_level level)
{
    logger.level = level;
}

void log_set_format(enum log_format format)
{
    logger.format = format;
}

void log_set_run(const char *run)
{
    snprintf(logger.run, sizeof logger.run, "%s", run ? run : "");
}

/* ---- a file ----------------------------------------------------------------------------------------- */

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, S_IRUSR | S_IWUSR);
}

int log_open_file(const char *path, struct err *err)
{
    int fd = open_file(path);
    if (fd < 0) {
        int error = errno;
        err_set(err, ERR_UNAVAILABLE, "the log file %s cannot be opened: %s", path, strerror(error));
        return err_set_code(err, "log_file");
    }
    log_close_file();
    logger.fd = fd;
    logger.path = mem_strdup(path);
    return 0;
}

void log_reopen_file(void)
{
    if (logger.fd < 0) return;
    int fd = open_file(logger.path);
    if (fd < 0) {
        log_write(LOG_LEVEL_ERROR, "log.not_reopened", LOG_STR("path", logger.path),
                  LOG_STR("error", strerror(errno)));
        return;
    }
    close(logger.fd);
    logger.fd = fd;
}

void log_close_file(void)
{
    if (logger.fd >= 0) close(logger.fd);
    mem_free(logger.path);
    logger.fd = -1;
    logger.path = NULL;
}

/* True if the line is in the file, whole. */
static bool write_to_file(const char *line, size_t n)
{
    while (n > 0) {
        ssize_t written = write(logger.fd, line, n);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        line += written;
        n -= (size_t)written;
    }
    return true;
}

/* ---- the last lines --------------------------------------------------------------------------------- */

void log_keep(enum log_level level, size_t lines)
{
    logger.keep_level = lines > 0 ? level : LOG_LEVEL_OFF;
    if (lines == logger.kept_size) return;
    for (size_t i = 0; i < logger.kept_size; i++) mem_free(logger.kept[i].text);
    mem_free(logger.kept);
    logger.kept = lines > 0 ? mem_alloc_array(lines, sizeof *logger.kept) : NULL;
    logger.kept_size = lines;
    logger.kept_count = 0;
}

uint64_t log_kept_count(void)
{
    return logger.kept_count;
}

const char *log_kept(uint64_t number, enum log_level *level)
{
    if (number < 1 || number > logger.kept_count || logger.kept_count - number >= logger.kept_size)
        return NULL;
    const struct kept_line *line = &logger.kept[number % logger.kept_size];
    *level = line->level;
    return line->text;
}

static void keep_line(enum log_level level, const struct buf *line)
{
    logger.kept_count++;
    struct kept_line *place = &logger.kept[logger.kept_count % logger.kept_size];
    mem_free(place->text);
    place->text = mem_dup(buf_str(line), line->len + 1);
    place->level = level;
}

/* ---- lines ------------------------------------------------------------------------------------------ */

static bool is_shown(enum log_level level)
{
    return level >= logger.level && level < LOG_LEVEL_OFF;
}

static bool is_kept(enum log_level level)
{
    return level >= logger.keep_level && level < LOG_LEVEL_OFF;
}

bool log_enabled(enum log_level level)
{
    return is_shown(level) || is_kept(level);
}

enum log_level log_level(void)
{
    return logger.level;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

int log_level_parse(const char *name, enum log_level *level)
{
    for (int i = 0; i <= LOG_LEVEL_OFF; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

static void put_time(struct buf *line, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    buf_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
               tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

/* A text value is quoted when a person could not tell where it ends. */
static void put_text_string(struct buf *line, const char *s, size_t n)
{
    bool plain = n > 0;
    for (size_t i = 0; i < n && plain; i++)
        plain = (unsigned char)s[i] > ' ' && s[i] != '"' && s[i] != '=' && s[i] != '\\' && s[i] != 0x7f;
    if (plain)
        buf_append(line, s, n);
    else
        buf_put_json_string(line, s, n);
}

static void put_value(struct buf *line, const struct log_field *f)
{
    size_t n;
    switch (f->type) {
    case LOG_STRING:
        n = f->len ? f->len : strlen(f->string);
        if (logger.format == LOG_FORMAT_JSON)
            buf_put_json_string(line, f->string, n);
        else
            put_text_string(line, f->string, n);
        break;
    case LOG_INTEGER: buf_printf(line, "%lld", (long long)f->integer); break;
    case LOG_NUMBER: buf_printf(line, "%.6g", f->number); break;
    case LOG_BOOLEAN: buf_puts(line, f->integer ? "true" : "false"); break;
    }
}

void log_tap_add(struct log_tap *tap)
{
    if (logger.taps.next == NULL) list_init(&logger.taps);
    list_append(&logger.taps, &tap->link);
}

void log_tap_remove(struct log_tap *tap)
{
    list_remove(&tap->link);
}

static void tell_taps(enum log_level level, const struct buf *line)
{
    if (logger.taps.next == NULL) return;
    for (struct list_node *n = logger.taps.next; n != &logger.taps; n = n->next) {
        struct log_tap *tap = LIST_ENTRY(n, struct log_tap, link);
        if (level >= tap->level) tap->line(tap->ctx, line->data, line->len);
    }
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    if (!log_enabled(level)) return;
    bool json = logger.format == LOG_FORMAT_JSON;
    struct buf line = {0};
    buf_puts(&line, json ? "{\"time\":\"" : "");
    put_time(&line, logger.now(logger.now_ctx));
    if (json)
        buf_printf(&line, "\",\"level\":\"%s\",\"event\":\"%s\"", level_names[level], event);
    else
        buf_printf(&line, " %-5s %s", level_names[level], event);
    if (json && logger.run[0]) buf_printf(&line, ",\"run\":\"%s\"", logger.run);
    for (size_t i = 0; i < n; i++) {
        if (fields[i].type == LOG_STRING && fields[i].string == NULL) continue;
        buf_printf(&line, json ? ",\"%s\":" : " %s=", fields[i].key);
        put_value(&line, &fields[i]);
    }
    buf_puts(&line, json ? "}" : "");
    redact_buf(&line, 0);
    if (is_kept(level)) keep_line(level, &line);
    buf_putc(&line, '\n');
    if (is_shown(level) && (logger.fd < 0 || !write_to_file(line.data, line.len)))
        logger.sink(logger.sink_ctx, level, line.data, line.len);
    if (is_shown(level)) tell_taps(level, &line);
    buf_deinit(&line);
}
