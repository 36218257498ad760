/* What is true of the records whatever engine keeps them: states, burying, sums, who lives. */
#include "host/journal_rules.h"

#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "host/journal_process.h"

static const char *const job_states[] = {"planned", "denied",    "held",   "submitting", "running",
                                         "unknown", "succeeded", "failed", "stopped",    "expired"};

/* A row: from; a column: to, in the order above. */
static void test_which_state_of_a_job_may_follow(void)
{
    static const char *const table[] = {
        "yyyy---yyy", /* planned */
        "y---------", /* denied */
        "yyyy---yyy", /* held */
        "yyyyyyyyyy", /* submitting */
        "y-y-yyyyyy", /* running */
        "y-y-yyyyyy", /* unknown */
        "----------", /* succeeded: for ever */
        "y-y-y-y-y-", /* failed */
        "y---------", /* stopped */
        "y-y-y-----", /* expired */
    };
    for (size_t from = 0; from < 10; from++)
        for (size_t to = 0; to < 10; to++) {
            bool want = table[from][to] == 'y';
            bool got = journal_job_may_follow(job_states[from], job_states[to]);
            if (got != want) printf("%s -> %s\n", job_states[from], job_states[to]);
            CHECK(got == want);
        }
    CHECK(!journal_job_may_follow("planned", "") && !journal_job_may_follow("planned", " "));
    CHECK(!journal_job_may_follow("flying", "planned") && !journal_job_may_follow("planned", "flying"));
}

static void test_which_jobs_are_active(void)
{
    static const char want[] = "y-yyyy----";
    for (size_t i = 0; i < 10; i++) CHECK(journal_job_active(job_states[i]) == (want[i] == 'y'));
}

static void test_what_burying_does_to_a_permit(void)
{
    static const struct {
        const char *state;
        bool has_job;
        const char *then, *bucket;
    } cases[] = {
        {"reserved", false, "released", "none"}, {"intent", true, "unknown", "unknown"},
        {"sent", false, "unknown", "unknown"},   {"created", false, "settled", "spent"},
        {"created", true, NULL, NULL},           {"unknown", false, NULL, NULL},
        {"settled", false, NULL, NULL},          {"released", false, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct journal_burial b = journal_permit_bury(cases[i].state, cases[i].has_job);
        CHECK((b.state == NULL) == (cases[i].then == NULL));
        if (!b.state || !cases[i].then) continue;
        CHECK_STR(b.state, cases[i].then);
        CHECK_STR(b.bucket, cases[i].bucket);
        CHECK(b.derived == (strcmp(b.state, "settled") == 0));
    }
}

static void test_sums_stay_at_the_top_of_the_range(void)
{
    struct amount sum, sums[4], price, limit;
    char text[AMOUNT_TEXT_SIZE];
    amount_zero(&sum, "CCD", NULL);
    CHECK(journal_sum_add(&sum, NULL, 1) && journal_sum_add(&sum, "170141183460469231731 CCD", 1));
    CHECK(journal_sum_add(&sum, "170141183460469231731 CCD", 1));
    amount_format(&sum, text);
    CHECK_STR(text, "170141183460469231731.687303715884105727 CCD");
    CHECK(!journal_sum_add(&sum, "1 CNY", 1) && !journal_sum_add(&sum, "much", 1));
    for (int i = 0; i < 4; i++) amount_zero(&sums[i], "CCD", NULL);
    sums[JOURNAL_SPENT] = sum;
    amount_parse(&price, "1 CCD", 5, NULL, NULL);
    CHECK(!journal_fits(sums, &price, &sum)); /* nothing more fits, whatever the limit */
    amount_zero(&sums[JOURNAL_SPENT], "CCD", NULL);
    amount_parse(&limit, "1 CCD", 5, NULL, NULL);
    CHECK(journal_fits(sums, &price, &limit));
    sums[JOURNAL_UNKNOWN].low = 1;
    CHECK(!journal_fits(sums, &price, &limit));
}

static void test_who_lives(void)
{
    struct journal_process self, other;
    journal_process_self(&self, "run", NULL);
    CHECK_INT(strlen(self.id), 32);
    CHECK(strcspn(self.boot, ":") == 36);
    CHECK(self.pid == getpid() && self.start > 0);
    CHECK(journal_process_alive(&self, &self, 0));

    journal_process_self(&other, "run", NULL);
    CHECK(strcmp(other.id, self.id) != 0);
    CHECK(journal_process_alive(&other, &self, INT64_MAX)); /* here a beat does not matter */
    other.start++;
    CHECK(!journal_process_alive(&other, &self, 0)); /* its pid is another's by now */
    other.start = 0;
    CHECK(journal_process_alive(&other, &self, 0)); /* not known: rather alive */
    size_t boot = strlen(other.boot);
    snprintf(other.boot + boot, sizeof other.boot - boot, ":4026532441");
    other.beat_at = 1000000; /* in a container: its pid is none of ours, whatever that is doing */
    CHECK(journal_process_alive(&other, &self, 1000000 + JOURNAL_SILENT_MS - 1));
    CHECK(!journal_process_alive(&other, &self, 1000000 + JOURNAL_SILENT_MS));
    other.pid = 1 << 30;
    CHECK(journal_process_alive(&other, &self, 1000000));
    other.boot[0] = 'x';
    CHECK(!journal_process_alive(&other, &self, 0)); /* the machine has been started since */

    snprintf(other.host, sizeof other.host, "elsewhere");
    other.beat_at = 1000000;
    CHECK(journal_process_alive(&other, &self, 1000000 + JOURNAL_SILENT_MS - 1));
    CHECK(!journal_process_alive(&other, &self, 1000000 + JOURNAL_SILENT_MS));
}

static void test_who_has_ended_and_was_not_waited_for_is_dead(void)
{
    struct journal_process self, child;
    char byte;
    int ends[2];
    journal_process_self(&self, "run", NULL);
    if (pipe(ends) != 0) return;
    pid_t pid = fork();
    if (pid == 0) {
        journal_process_self(&child, "run", NULL);
        if (write(ends[1], &child, sizeof child) != (ssize_t)sizeof child) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    CHECK_INT(read(ends[0], &child, sizeof child), sizeof child);
    CHECK_INT(read(ends[0], &byte, 1), 0); /* it has closed everything: it is gone, or nearly */
    for (int i = 0; i < 1000000 && journal_process_alive(&child, &self, 0); i++) continue;
    CHECK(!journal_process_alive(&child, &self, 0));
    int status;
    waitpid(pid, &status, 0);
    CHECK(!journal_process_alive(&child, &self, 0));
    close(ends[0]);
}

int main(void)
{
    test_which_state_of_a_job_may_follow();
    test_which_jobs_are_active();
    test_what_burying_does_to_a_permit();
    test_sums_stay_at_the_top_of_the_range();
    test_who_lives();
    test_who_has_ended_and_was_not_waited_for_is_dead();
    HARNESS_END();
}
