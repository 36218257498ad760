/* test_tally.c - the process's counters: by words, in a room of fixed size. */
#include "harness.h"

#include "host/tally.h"

static uint64_t count_of(enum tally what, const char *a, const char *b)
{
    size_t n;
    const struct tally_count *all = tally_all(&n);
    for (size_t i = 0; i < n; i++)
        if (all[i].what == what && strcmp(all[i].words[0], a) == 0 && strcmp(all[i].words[1], b) == 0)
            return all[i].n;
    return 0;
}

static void test_counts_by_words(void)
{
    tally_add(TALLY_CALLS, "sxwl", "jobs", "ok");
    tally_add(TALLY_CALLS, "sxwl", "jobs", "ok");
    tally_add(TALLY_CALL_ERRORS, "sxwl", "jobs", NULL);
    tally_add(TALLY_RETRIES, "timeout", NULL, NULL);
    CHECK_INT(count_of(TALLY_CALLS, "sxwl", "jobs"), 2);
    CHECK_INT(count_of(TALLY_CALL_ERRORS, "sxwl", "jobs"), 1);
    CHECK_INT(count_of(TALLY_RETRIES, "timeout", ""), 1);
    CHECK_INT(count_of(TALLY_RETRIES, "network", ""), 0);
}

static void test_cuts_long_words(void)
{
    static const char long_word[] = "a_word_that_is_longer_than_the_room_for_it";
    tally_add(TALLY_RETRIES, long_word, NULL, NULL);
    tally_add(TALLY_RETRIES, long_word, NULL, NULL);
    CHECK_INT(count_of(TALLY_RETRIES, "a_word_that_is_longer_than_the_", ""), 2);
}

static void test_has_room_for_so_many(void)
{
    char word[16];
    size_t before, after;
    for (int i = 0; i < 1000; i++) {
        snprintf(word, sizeof word, "w%d", i);
        tally_add(TALLY_CALLS, "many", word, "ok");
    }
    tally_all(&before);
    CHECK(before <= TALLY_MOST);
    CHECK_INT(count_of(TALLY_CALLS, "many", "w0"), 1);
    CHECK_INT(count_of(TALLY_CALLS, "other", "other"), 1000 - (TALLY_MOST - 8 - 4));
    tally_add(TALLY_RETRIES, "new", NULL, NULL);
    tally_add(TALLY_RETRIES, "newer", NULL, NULL);
    CHECK_INT(count_of(TALLY_RETRIES, "other", ""), 2);
    tally_add(TALLY_CALLS, "many", "w0", "ok"); /* what has its place keeps it */
    CHECK_INT(count_of(TALLY_CALLS, "many", "w0"), 2);
    tally_all(&after);
    CHECK_INT(after, before + 1);
}

int main(void)
{
    test_counts_by_words();
    test_cuts_long_words();
    test_has_room_for_so_many();
    HARNESS_END();
}
