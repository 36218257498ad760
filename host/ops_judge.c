/* ops_judge.c - what an answer means: kind, outcome, and whether the same call may be sent again.
 *
 * The first match decides.  No request byte went out: none.  A failure after that, 5xx or 3xx: unknown.
 * Any 4xx: none.  2xx whose envelope says no: none.  2xx with all a reply must have: done.  Everything else:
 * unknown.  A read has no outcome to speak of: it changes nothing, so it is always none.
 * Pure C: nothing waits, nothing is sent, no Lua state is touched.
 */
#include "host/ops.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUOTE_MAX = 200, RETRY_AFTER_MAX = 24 * 3600 };

static bool repeatable(const struct ops_def *def)
{
    return def->effect == OPS_READ || def->effect == OPS_LOGIN || def->idempotent;
}

static enum outcome unclear(const struct ops_def *def)
{
    return def->effect == OPS_READ || def->effect == OPS_LOGIN ? OUTCOME_NONE : OUTCOME_UNKNOWN;
}

static bool contains(const char *text, size_t n, const char *part)
{
    size_t m = strlen(part);
    for (size_t i = 0; m <= n && i <= n - m; i++) {
        size_t k = 0;
        while (k < m && tolower((unsigned char)text[i + k]) == tolower((unsigned char)part[k])) k++;
        if (k == m) return true;
    }
    return false;
}

static bool rule_fits(const struct ops_rule *rule, const struct ops_answer *a)
{
    if (rule->status && rule->status != a->status) return false;
    if (rule->body_code && !(a->envelope && rule->body_code == a->body_code)) return false;
    if (!rule->contains) return true;
    if (a->message && contains(a->message, strlen(a->message), rule->contains)) return true;
    return a->body && contains(a->body, a->body_len, rule->contains);
}

/* The service's own words, or the first line of the body if it reads like text. */
static void quote(const struct ops_answer *a, char out[QUOTE_MAX + 8])
{
    out[0] = 0;
    const char *text = a->message ? a->message : a->body;
    size_t n = a->message ? strlen(a->message) : a->body_len;
    if (!text) return;
    while (n && isspace((unsigned char)*text)) text++, n--;
    if (!n || (!a->message && (*text == '<' || *text == '{' || *text == '['))) return;
    size_t used = (size_t)snprintf(out, QUOTE_MAX, ": ");
    for (size_t i = 0; i < n && used < QUOTE_MAX && text[i] && text[i] != '\n'; i++)
        out[used++] = (unsigned char)text[i] < 0x20 ? ' ' : text[i];
    out[used] = 0;
}

static int judge_transport(const struct ops_service *service, const struct ops_def *def,
                           const struct err *transport, struct err *err)
{
    *err = *transport;
    if (transport->outcome == OUTCOME_UNKNOWN) err->outcome = unclear(def);
    bool passing = transport->kind == ERR_NETWORK || transport->kind == ERR_TIMEOUT;
    err->retryable = passing && (repeatable(def) || err->outcome == OUTCOME_NONE);
    snprintf(err->message, sizeof err->message, "%s could not be asked (%s): %.300s", service->title,
             def->name, transport->message);
    return -1;
}

/* The defaults, for what no rule of the service names.  A bare 404 is about the path, not about the job. */
static void judge_by_status(const struct ops_answer *a, struct ops_rule *verdict)
{
    *verdict = (struct ops_rule){.kind = ERR_API};
    int64_t code = a->envelope && a->body_code != 200 ? a->body_code : a->status;
    if (a->status == 401) code = 401; /* whatever number the body gives it */
    if ((a->status == 404 || a->status == 405) && !a->envelope) {
        verdict->kind = ERR_UNAVAILABLE;
        verdict->code = "not_offered";
        verdict->hint = "not offered here: this server does not know the path";
    } else if (code == 401 || code == 403) {
        verdict->kind = ERR_AUTH;
        verdict->code = code == 401 ? "unauthorized" : "forbidden";
    } else if (code == 404) {
        verdict->code = "not_found";
    } else if (code == 429) {
        verdict->kind = ERR_UNAVAILABLE;
        verdict->code = "too_many_requests";
        verdict->transient = true;
    }
}

/* The service said no, before it did anything. */
static int judge_refusal(const struct ops_service *service, const struct ops_def *def,
                         const struct ops_answer *a, struct err *err)
{
    struct ops_rule verdict;
    judge_by_status(a, &verdict);
    for (const struct ops_rule *rule = service->rules; verdict.kind == ERR_API && rule->kind; rule++)
        if (rule_fits(rule, a)) {
            verdict = *rule;
            break;
        }
    bool said_no = verdict.kind == ERR_API || verdict.kind == ERR_AUTH;
    if (def->effect == OPS_LOGIN && said_no && !verdict.transient) {
        verdict.kind = ERR_AUTH;
        verdict.code = "login_refused";
    }
    char said[QUOTE_MAX + 8], number[24];
    quote(a, said);
    bool in_body = a->envelope && a->body_code != 200;
    snprintf(number, sizeof number, "%lld", in_body ? (long long)a->body_code : (long long)a->status);
    err_set(err, verdict.kind, "%s refused %s with %s %s%s%s%s%s", service->title, def->name,
            in_body ? "code" : "HTTP", number, said, verdict.hint ? " (" : "",
            verdict.hint ? verdict.hint : "", verdict.hint ? ")" : "");
    snprintf(err->code, sizeof err->code, "%s", verdict.code ? verdict.code : number);
    err->retryable = verdict.transient;
    return -1;
}

static int judge_unclear(const struct ops_service *service, const struct ops_def *def,
                         const struct ops_answer *a, struct err *err)
{
    char said[QUOTE_MAX + 8];
    quote(a, said);
    if (a->status >= 200 && a->status < 300) {
        err_set(err, ERR_PARSE, "%s answered %s with something else than its reply%s", service->title,
                def->name, said);
        snprintf(err->code, sizeof err->code, "bad_reply");
        err->retryable = repeatable(def);
    } else {
        err_set(err, ERR_HTTP, "%s answered %s with HTTP %d%s", service->title, def->name, a->status, said);
        snprintf(err->code, sizeof err->code, "%d", a->status);
        err->retryable = repeatable(def) && a->status >= 500;
    }
    err->outcome = unclear(def);
    return -1;
}

int ops_judge(const struct ops_service *service, const struct ops_def *def, const struct ops_answer *a,
              struct err *err)
{
    if (a->transport) return judge_transport(service, def, a->transport, err);
    if (a->status >= 400 && a->status < 500) return judge_refusal(service, def, a, err);
    if (a->status < 200 || a->status >= 300) return judge_unclear(service, def, a, err);
    if (service->envelope == OPS_ENVELOPE_CODE && a->envelope && a->body_code != 200)
        return judge_refusal(service, def, a, err);
    if (service->envelope == OPS_ENVELOPE_CODE && !a->envelope) return judge_unclear(service, def, a, err);
    if (a->unknown_thing) {
        err_set(err, ERR_API, "%s knows no such job (%s)", service->title, def->name);
        snprintf(err->code, sizeof err->code, "not_found");
        return -1;
    }
    return a->understood ? 0 : judge_unclear(service, def, a, err);
}

/* The value of a header ("name:" in lower case), or NULL. */
static const char *header_value(const char *headers, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = headers; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0) {
        if (strncmp(line, name, n) != 0) continue;
        const char *value = line + n;
        while (*value == ' ' || *value == '\t') value++;
        return value;
    }
    return NULL;
}

/* Seconds since 1970 of an HTTP date, or -1. */
static int64_t http_date(const char *value)
{
    struct tm tm = {0};
    return value && strptime(value, "%a, %d %b %Y %H:%M:%S", &tm) ? (int64_t)timegm(&tm) : -1;
}

int64_t ops_server_date(const char *headers)
{
    return http_date(header_value(headers, "date:"));
}

uint32_t ops_retry_after(const char *headers, int64_t wall_ms)
{
    const char *value = header_value(headers, "retry-after:");
    if (!value) return 0;
    int64_t seconds;
    if (isdigit((unsigned char)*value)) {
        seconds = strtoll(value, NULL, 10);
    } else {
        int64_t date = http_date(value);
        seconds = date < 0 ? 0 : date - wall_ms / 1000;
    }
    if (seconds < 0) return 0;
    return (uint32_t)(seconds < RETRY_AFTER_MAX ? seconds : RETRY_AFTER_MAX);
}
