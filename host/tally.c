/* tally.c - one list of counters for the process. */
#include "host/tally.h"

#include <stdio.h>
#include <string.h>

static struct tally_count counts[TALLY_MOST];
static size_t used;

static void put_words(struct tally_count *entry, enum tally what, const char *const words[TALLY_WORDS])
{
    entry->what = what;
    for (int i = 0; i < TALLY_WORDS; i++)
        snprintf(entry->words[i], TALLY_WORD_SIZE, "%s", words[i] ? words[i] : "");
}

/* The entry of these words, if there is one. */
static struct tally_count *find(const struct tally_count *wanted)
{
    for (size_t i = 0; i < used; i++)
        if (counts[i].what == wanted->what &&
            memcmp(counts[i].words, wanted->words, sizeof wanted->words) == 0)
            return &counts[i];
    return NULL;
}

void tally_add(enum tally what, const char *a, const char *b, const char *c)
{
    struct tally_count wanted;
    memset(&wanted, 0, sizeof wanted); /* words are compared whole */
    put_words(&wanted, what, (const char *const[TALLY_WORDS]){a, b, c});
    struct tally_count *entry = find(&wanted);
    if (entry == NULL && used >= TALLY_MOST - 8) { /* the rest is kept for one "other" of each kind */
        memset(&wanted, 0, sizeof wanted);
        put_words(&wanted, what, (const char *const[TALLY_WORDS]){"other", b ? "other" : NULL, c});
        entry = find(&wanted);
    }
    if (entry == NULL) {
        if (used == TALLY_MOST) return;
        entry = &counts[used++];
        *entry = wanted;
    }
    entry->n++;
}

const struct tally_count *tally_all(size_t *count)
{
    *count = used;
    return counts;
}
