/* journal_rules.c - states, burying and sums, the same for every engine. */
#include "host/journal_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/mem.h"

int journal_invalid(struct err *err, const char *code, const char *format, ...)
{
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    err_set(err, ERR_INVALID, "%s", message);
    return err_set_code(err, code);
}

int64_t journal_limit(const struct record *in, int64_t fallback)
{
    int64_t limit = record_integer(in, "limit");
    return limit > 0 ? limit : fallback;
}

int64_t journal_line_days(int64_t keep_days)
{
    return keep_days > JOURNAL_LINE_KEEP_DAYS ? keep_days : JOURNAL_LINE_KEEP_DAYS;
}

/* ---- states ------------------------------------------------------------------------------------------- */

struct way {
    const char *from, *to; /* to: names between blanks */
};

/* A job that waits for approval may be denied by its expiry; one that is submitting goes back to planned when
 * its request certainly had no effect and another attempt is due; an unknown one is found (running, or at its
 * end already), given up (failed, stopped) or tried again by its policy (planned). Failed may be retried. */
static const struct way job_ways[] = {
    {"planned", " planned held denied submitting stopped failed expired "},
    {"held", " held planned denied submitting stopped expired failed "},
    {"submitting", " submitting planned held running unknown succeeded failed stopped expired denied "},
    {"running", " running unknown planned held succeeded failed stopped expired "},
    {"unknown", " unknown planned held running succeeded failed stopped expired "},
    {"failed", " planned held running succeeded stopped "},
    {"expired", " planned held running "},
    {"stopped", " planned "},
    {"denied", " planned "},
    {"succeeded", ""},
};

static const struct way permit_ways[] = {
    {"reserved", " released "},
    {"intent", " sent unknown created settled released "},
    {"sent", " sent unknown created settled released "},
    {"unknown", " sent unknown created settled released "},
    {"created", " unknown created settled released "},
    {"settled", " unknown created settled released "},
    {"released", " unknown created settled released "},
};

static bool listed(const struct way *ways, size_t n, const char *from, const char *to)
{
    char word[24];
    int length = snprintf(word, sizeof word, " %s ", to);
    if (length < 0 || (size_t)length >= sizeof word) return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(ways[i].from, from) == 0) return strstr(ways[i].to, word) != NULL;
    return false;
}

bool journal_job_active(const char *state)
{
    return listed(&(const struct way){"", " planned held submitting running unknown "}, 1, "", state);
}

bool journal_job_may_follow(const char *from, const char *to)
{
    return listed(job_ways, sizeof job_ways / sizeof job_ways[0], from, to);
}

bool journal_permit_may_follow(const char *from, const char *to)
{
    return listed(permit_ways, sizeof permit_ways / sizeof permit_ways[0], from, to);
}

const char *journal_permit_time(const char *state)
{
    if (strcmp(state, "sent") == 0) return "sent_at";
    if (strcmp(state, "unknown") == 0 || strcmp(state, "created") == 0) return "answered_at";
    if (strcmp(state, "settled") == 0 || strcmp(state, "released") == 0) return "ended_at";
    return NULL;
}

struct journal_burial journal_permit_bury(const char *state, bool has_job)
{
    if (strcmp(state, "reserved") == 0) return (struct journal_burial){"released", "none", false};
    if (strcmp(state, "intent") == 0 || strcmp(state, "sent") == 0)
        return (struct journal_burial){"unknown", "unknown", false};
    if (strcmp(state, "created") == 0 && !has_job) return (struct journal_burial){"settled", "spent", true};
    return (struct journal_burial){NULL, NULL, false};
}

/* ---- sums --------------------------------------------------------------------------------------------- */

enum journal_bucket journal_bucket_parse(const char *name)
{
    static const char *const names[] = {"none", "held", "unknown", "spent"};
    for (int i = 0; name && i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (enum journal_bucket)i;
    return JOURNAL_NONE;
}

bool journal_sum_add(struct amount *sum, const char *text, int sign)
{
    if (!text) return true;
    struct amount change;
    if (amount_parse(&change, text, strlen(text), NULL, NULL) < 0) return false;
    if (!amount_same_currency(sum, &change)) return false;
    if (sign < 0) amount_negate(&change, &change);
    if (amount_add(sum, sum, &change, NULL) == 0) return true;
    sum->low = sign < 0 ? 1 : UINT64_MAX;
    sum->high = sign < 0 ? INT64_MIN : INT64_MAX;
    return true;
}

const char *const journal_bucket_names[4] = {"", "held", "unknown", "spent"};

struct record *journal_line_row(struct record_list *out, const struct record *line,
                                const struct amount sums[4])
{
    static const char *const texts[] = {"budget", "window", "currency", "limit"};
    struct record *row = record_list_add(out);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        record_set_text(row, texts[i], record_text(line, texts[i]));
    record_set_integer(row, "number", record_integer(line, "number"));
    for (int bucket = JOURNAL_HELD; bucket <= JOURNAL_SPENT; bucket++) {
        char text[AMOUNT_TEXT_SIZE];
        amount_format(&sums[bucket], text);
        record_set_text(row, journal_bucket_names[bucket], text);
    }
    return row;
}

bool journal_fits(const struct amount sums[4], const struct amount *price, const struct amount *limit)
{
    struct amount total = *price;
    int order;
    for (int bucket = JOURNAL_HELD; bucket <= JOURNAL_SPENT; bucket++)
        if (amount_add(&total, &total, &sums[bucket], NULL) < 0) return false;
    return amount_compare(&total, limit, &order, NULL) == 0 && order <= 0;
}
