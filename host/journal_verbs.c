/* journal_verbs.c - the table of the verbs: their fields, and the check of what is given.
 *
 * It says in C what docs/journal.md says in words; tests/meta compares nothing, the specs of the verbs do.
 */
#include "host/journal_engine.h"

#include <stdio.h>
#include <string.h>

#include "host/buf.h"
#include "host/journal_rules.h"

enum field_type {
    TEXT = 1,
    ID, /* 32 hex digits */
    INTEGER,
    TRUTH,  /* 0 or 1 */
    AMOUNT, /* money as text, not negative */
    WORD,   /* one of `words` */
    LIST    /* records of `fields` */
};

struct field {
    const char *name;
    enum field_type type;
    bool required;
    const char *words;
    const struct field *fields;
};

enum { FIELDS_MAX = 20 };

struct verb {
    const char *name;
    enum journal_verb_way way;
    struct field fields[FIELDS_MAX]; /* ended by a name NULL */
};

#define NEED true
#define MAY  false

static const char windows[] = "total hour day week month";
static const char buckets[] = "none held unknown spent";
static const char job_states[] =
    "planned denied held submitting running unknown succeeded failed stopped expired";

static const struct field line_fields[] = {
    {"budget", TEXT, NEED, NULL, NULL},    {"window", WORD, NEED, windows, NULL},
    {"number", INTEGER, NEED, NULL, NULL}, {"currency", TEXT, NEED, NULL, NULL},
    {"limit", AMOUNT, MAY, NULL, NULL},    {NULL, 0, 0, NULL, NULL},
};

static const struct field decision_fields[] = {
    {"kind", TEXT, NEED, NULL, NULL},  {"text", TEXT, NEED, NULL, NULL}, {"data", TEXT, MAY, NULL, NULL},
    {"policy", TEXT, MAY, NULL, NULL}, {NULL, 0, 0, NULL, NULL},
};

static const struct field attempt_fields[] = {
    {"attempt", INTEGER, NEED, NULL, NULL}, {"intent", ID, MAY, NULL, NULL},
    {"state", TEXT, MAY, NULL, NULL},       {"remote_id", TEXT, MAY, NULL, NULL},
    {"spec", TEXT, MAY, NULL, NULL},        {"price", AMOUNT, MAY, NULL, NULL},
    {"cost", AMOUNT, MAY, NULL, NULL},      {"derived", TRUTH, MAY, NULL, NULL},
    {"error", TEXT, MAY, NULL, NULL},       {"started_at", INTEGER, MAY, NULL, NULL},
    {"ended_at", INTEGER, MAY, NULL, NULL}, {NULL, 0, 0, NULL, NULL},
};

/* clang-format off: a table reads by its columns */
#define F(name, type, need)                                                                                  \
    {                                                                                                        \
        name, type, need, NULL, NULL                                                                         \
    }
#define W(name, need, words)                                                                                 \
    {                                                                                                        \
        name, WORD, need, words, NULL                                                                        \
    }
#define L(name, need, fields)                                                                                \
    {                                                                                                        \
        name, LIST, need, NULL, fields                                                                       \
    }

static const struct verb verbs[JOURNAL_VERB_COUNT] = {
    [VERB_PROCESS_LIST] = {"process.list", JOURNAL_READS, {{0}}},
    [VERB_PROCESS_LAST] = {"process.last", JOURNAL_READS, {F("kind", TEXT, NEED)}},
    [VERB_PROCESS_LEAVE] = {"process.leave", JOURNAL_WRITES, {{0}}},

    [VERB_PERMIT_RESERVE] = {"permit.reserve",
                             JOURNAL_WRITES,
                             {F("intent", ID, NEED), F("operation", TEXT, NEED), F("service", TEXT, NEED),
                              F("account", TEXT, MAY), F("key", TEXT, MAY), F("price", AMOUNT, MAY),
                              F("governed", TRUTH, MAY), F("job", TEXT, MAY), F("attempt", INTEGER, MAY),
                              F("policy", TEXT, MAY), F("tags", TEXT, MAY), F("model", TEXT, MAY),
                              L("lines", MAY, line_fields)}},
    [VERB_PERMIT_INTENT] = {"permit.intent", JOURNAL_WRITES, {F("intent", ID, NEED)}},
    [VERB_PERMIT_MOVE] = {"permit.move",
                          JOURNAL_WRITES,
                          {F("intent", ID, NEED), W("state", NEED, "sent unknown created settled released"),
                           W("bucket", NEED, buckets), F("amount", AMOUNT, MAY), F("derived", TRUTH, MAY),
                           F("presumed", TRUTH, MAY), F("remote_id", TEXT, MAY)}},
    [VERB_PERMIT_GET] = {"permit.get", JOURNAL_READS, {F("intent", ID, NEED)}},
    [VERB_PERMIT_LIST] = {"permit.list",
                          JOURNAL_READS,
                          {W("state", MAY, "reserved intent sent unknown created settled released"),
                           F("job", TEXT, MAY), F("process", TEXT, MAY), F("key", TEXT, MAY),
                           F("operation", TEXT, MAY), F("since", INTEGER, MAY), F("limit", INTEGER, MAY)}},
    [VERB_PERMIT_TAKE] = {"permit.take", JOURNAL_WRITES, {F("intent", ID, NEED)}},
    [VERB_PERMIT_PRESUME] = {"permit.presume", JOURNAL_WRITES, {F("before", INTEGER, NEED)}},
    [VERB_BUDGET_LINES] = {"budget.lines", JOURNAL_READS, {L("lines", NEED, line_fields)}},
    [VERB_BUDGET_COUNT] = {"budget.count",
                           JOURNAL_WRITES,
                           {L("lines", NEED, line_fields), F("amount", AMOUNT, NEED),
                            F("unknown", TRUTH, MAY)}},
    [VERB_SPEND_REPORT] = {"spend.report",
                           JOURNAL_READS,
                           {W("by", NEED, "total policy job tag day service operation"),
                            F("since", INTEGER, MAY), F("until", INTEGER, MAY)}},
    [VERB_RATIO_LIST] = {"ratio.list", JOURNAL_READS, {{0}}},

    [VERB_JOB_SUBMIT] = {"job.submit",
                         JOURNAL_WRITES,
                         {F("id", TEXT, NEED), F("name", TEXT, NEED), F("key", TEXT, NEED),
                          F("service", TEXT, NEED), F("kind", TEXT, NEED), F("spec", TEXT, NEED),
                          F("hash", TEXT, NEED), W("state", NEED, job_states), F("options", TEXT, MAY),
                          F("policy", TEXT, MAY), F("tags", TEXT, MAY), F("reason", TEXT, MAY),
                          F("price", AMOUNT, MAY), F("expires_at", INTEGER, MAY),
                          W("attach", MAY, "finished")}},
    [VERB_JOB_GET] = {"job.get",
                      JOURNAL_READS,
                      {F("id", TEXT, MAY), F("name", TEXT, MAY), F("key", TEXT, MAY)}},
    [VERB_JOB_LIST] = {"job.list",
                       JOURNAL_READS,
                       {W("state", MAY, job_states), F("active", TRUTH, MAY), F("service", TEXT, MAY),
                        F("policy", TEXT, MAY), F("name", TEXT, MAY), F("mine", TRUTH, MAY),
                        F("orphan", TRUTH, MAY), F("since", INTEGER, MAY), F("limit", INTEGER, MAY),
                        F("after", TEXT, MAY)}},
    [VERB_JOB_COUNTS] = {"job.counts", JOURNAL_READS, {{0}}},
    [VERB_JOB_MOVE] = {"job.move",
                       JOURNAL_WRITES,
                       {F("id", TEXT, NEED), F("fence", INTEGER, NEED), W("state", MAY, job_states),
                        F("reason", TEXT, MAY), F("spec", TEXT, MAY), F("attempt", INTEGER, MAY),
                        F("intent", TEXT, MAY), F("remote_id", TEXT, MAY), F("price", AMOUNT, MAY),
                        F("cost", AMOUNT, MAY), F("result", TEXT, MAY), F("error", TEXT, MAY),
                        F("wake_at", INTEGER, MAY), F("expires_at", INTEGER, MAY), F("policy", TEXT, MAY),
                        L("decisions", MAY, decision_fields), L("attempts", MAY, attempt_fields)}},
    [VERB_JOB_NOTE] = {"job.note",
                       JOURNAL_WRITES,
                       {F("id", TEXT, NEED), F("kind", TEXT, NEED), F("text", TEXT, NEED),
                        F("data", TEXT, MAY), F("policy", TEXT, MAY)}},
    [VERB_JOB_CLAIM] = {"job.claim", JOURNAL_WRITES, {F("limit", INTEGER, MAY), F("id", TEXT, MAY)}},
    [VERB_JOB_RELEASE] = {"job.release", JOURNAL_WRITES, {F("id", TEXT, MAY)}},
    [VERB_JOB_ASK] = {"job.ask", JOURNAL_WRITES, {F("id", TEXT, NEED), F("request", TEXT, NEED)}},
    [VERB_JOB_ASKED] = {"job.asked", JOURNAL_WRITES, {{0}}},
    [VERB_ATTEMPT_LIST] = {"attempt.list", JOURNAL_READS, {F("job", TEXT, NEED)}},
    [VERB_DECISION_LIST] = {"decision.list", JOURNAL_READS, {F("job", TEXT, MAY), F("limit", INTEGER, MAY)}},

    [VERB_STORE_GET] = {"store.get", JOURNAL_READS, {F("space", TEXT, NEED), F("name", TEXT, NEED)}},
    [VERB_STORE_SET] = {"store.set",
                        JOURNAL_WRITES,
                        {F("space", TEXT, NEED), F("name", TEXT, NEED), F("value", TEXT, NEED),
                         F("version", INTEGER, MAY)}},
    [VERB_STORE_DELETE] = {"store.delete",
                           JOURNAL_WRITES,
                           {F("space", TEXT, NEED), F("name", TEXT, NEED), F("version", INTEGER, MAY)}},
    [VERB_STORE_LIST] = {"store.list",
                         JOURNAL_READS,
                         {F("space", TEXT, NEED), F("prefix", TEXT, MAY), F("limit", INTEGER, MAY),
                          F("after", TEXT, MAY)}},
    [VERB_LOCK_TAKE] = {"lock.take", JOURNAL_WRITES, {F("name", TEXT, NEED)}},
    [VERB_LOCK_FREE] = {"lock.free", JOURNAL_WRITES, {F("name", TEXT, NEED), F("note", TEXT, MAY)}},
    [VERB_OUTBOX_PUT] = {"outbox.put",
                         JOURNAL_WRITES,
                         {F("id", TEXT, NEED), F("event", TEXT, NEED), F("target", TEXT, NEED),
                          F("body", TEXT, NEED), F("not_before", INTEGER, MAY), F("job", TEXT, MAY)}},
    [VERB_OUTBOX_DUE] = {"outbox.due", JOURNAL_READS, {F("limit", INTEGER, MAY)}},
    [VERB_OUTBOX_LATER] = {"outbox.later",
                           JOURNAL_WRITES,
                           {F("id", TEXT, NEED), F("not_before", INTEGER, NEED), F("error", TEXT, MAY)}},
    [VERB_OUTBOX_DONE] = {"outbox.done",
                          JOURNAL_WRITES,
                          {F("id", TEXT, NEED), W("outcome", NEED, "sent given_up")}},
    [VERB_OUTBOX_LIST] = {"outbox.list", JOURNAL_READS, {F("limit", INTEGER, MAY)}},
    [VERB_HOOK_BEGIN] = {"hook.begin",
                         JOURNAL_WRITES,
                         {F("policy", TEXT, NEED), F("hook", TEXT, NEED), F("job", TEXT, MAY),
                          F("scheduled_at", INTEGER, MAY)}},
    [VERB_HOOK_END] = {"hook.end",
                       JOURNAL_WRITES,
                       {F("number", INTEGER, NEED), W("outcome", NEED, "done failed timeout skipped"),
                        F("error", TEXT, MAY)}},
    [VERB_HOOK_LIST] = {"hook.list",
                        JOURNAL_READS,
                        {F("policy", TEXT, MAY), F("hook", TEXT, MAY), F("limit", INTEGER, MAY)}},
    [VERB_HOOK_LAST] = {"hook.last", JOURNAL_READS, {{0}}},

    [VERB_JOURNAL_VERIFY] = {"journal.verify", JOURNAL_ALONE, {{0}}},
    [VERB_JOURNAL_EXPORT] = {"journal.export",
                             JOURNAL_READS,
                             {F("table", TEXT, MAY), F("after", TEXT, MAY), F("limit", INTEGER, MAY)}},
    [VERB_JOURNAL_BACKUP] = {"journal.backup", JOURNAL_ALONE, {F("path", TEXT, NEED)}},
    [VERB_JOURNAL_COMPACT] = {"journal.compact",
                              JOURNAL_ALONE,
                              {F("keep_days", INTEGER, MAY), F("whole", TRUTH, MAY)}},
};
/* clang-format on */

int journal_verb_find(const char *name)
{
    for (int i = 0; i < JOURNAL_VERB_COUNT; i++)
        if (strcmp(verbs[i].name, name) == 0) return i;
    return -1;
}

const char *journal_verb_name(enum journal_verb verb)
{
    return verbs[verb].name;
}

enum journal_verb_way journal_verb_way(enum journal_verb verb)
{
    return verbs[verb].way;
}

/* ---- the check ---------------------------------------------------------------------------------------- */

static const struct field *find_field(const struct field *fields, const char *name)
{
    for (; fields->name; fields++)
        if (strcmp(fields->name, name) == 0) return fields;
    return NULL;
}

static int refuse(struct err *err, const char *verb, const char *field, const char *what)
{
    return journal_invalid(err, "field", "%s: field \"%s\" %s", verb, field, what);
}

static bool is_id(const char *text, size_t n)
{
    return n == 32 && strspn(text, "0123456789abcdef") == 32;
}

static bool is_word(const char *words, const char *text)
{
    size_t n = strchr(text, ' ') ? 0 : strlen(text); /* two of them are none */
    for (const char *at = words; n && (at = strstr(at, text)) != NULL; at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

static int check_text(const char *verb, const struct field *field, const struct record *in, struct err *err)
{
    size_t n;
    const char *text = record_bytes(in, field->name, &n);
    if (!text) return refuse(err, verb, field->name, "must be text");
    if (field->type == ID && !is_id(text, n)) return refuse(err, verb, field->name, "must be 32 hex digits");
    if (field->type == WORD && !is_word(field->words, text)) {
        char what[160];
        snprintf(what, sizeof what, "must be one of: %s", field->words);
        return refuse(err, verb, field->name, what);
    }
    struct amount amount;
    if (field->type == AMOUNT && (amount_parse(&amount, text, n, NULL, NULL) < 0 || amount_sign(&amount) < 0))
        return refuse(err, verb, field->name, "must be an amount of money, such as \"0.05 CCD\"");
    return 0;
}

static int check_record(const char *verb, const struct field *fields, const struct record *in,
                        struct err *err);

static int check_field(const char *verb, const struct field *field, const struct record *in, struct err *err)
{
    enum record_type type = record_type(in, field->name);
    if (type == RECORD_NONE) return field->required ? refuse(err, verb, field->name, "is needed") : 0;
    if (field->type == LIST) {
        if (type != RECORD_LIST) return refuse(err, verb, field->name, "must be a list");
        const struct record_list *rows = record_rows(in, field->name);
        for (size_t i = 0; i < rows->count; i++)
            if (check_record(verb, field->fields, rows->items[i], err) < 0) return -1;
        return 0;
    }
    if (field->type != INTEGER && field->type != TRUTH) return check_text(verb, field, in, err);
    if (type != RECORD_INTEGER) return refuse(err, verb, field->name, "must be a whole number");
    int64_t value = record_integer(in, field->name);
    if (field->type == TRUTH && value != 0 && value != 1)
        return refuse(err, verb, field->name, "must be 0 or 1");
    return 0;
}

static int check_record(const char *verb, const struct field *fields, const struct record *in,
                        struct err *err)
{
    for (size_t i = 0; i < record_size(in); i++) {
        const char *name = record_name(in, i);
        if (!find_field(fields, name)) return refuse(err, verb, name, "is none of its fields");
    }
    for (; fields->name; fields++)
        if (check_field(verb, fields, in, err) < 0) return -1;
    return 0;
}

int journal_verb_check(enum journal_verb verb, const struct record *in, struct err *err)
{
    const struct verb *v = &verbs[verb];
    if (check_record(v->name, v->fields, in, err) < 0) return -1;
    if (verb != VERB_JOB_GET) return 0;
    if (record_text(in, "id") || (record_text(in, "name") && record_text(in, "key"))) return 0;
    return refuse(err, v->name, "id", "is needed, or \"name\" and \"key\"");
}
