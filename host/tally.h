/* tally.h - counters of the process, for who watches it: how often something happened, under a few words.
 *
 * For words that come from tables of ours (services, operations, kinds of error), never from a peer: the room
 * is fixed, and what finds no room is counted as "other".  Loop thread only.
 */
#ifndef PERIGEE_TALLY_H
#define PERIGEE_TALLY_H

#include <stddef.h>
#include <stdint.h>

enum tally {
    TALLY_CALLS,       /* service, operation, "ok" or the outcome of the error */
    TALLY_CALL_ERRORS, /* service, kind of the error */
    TALLY_RETRIES      /* kind of the error that was tried again */
};

enum { TALLY_WORDS = 3, TALLY_WORD_SIZE = 32, TALLY_MOST = 256 };

struct tally_count {
    enum tally what;
    char words[TALLY_WORDS][TALLY_WORD_SIZE]; /* "" where there is none */
    uint64_t n;
};

/* Counts one more.  Words that are NULL are none; a longer one is cut. */
void tally_add(enum tally what, const char *a, const char *b, const char *c);

/* All counters in the order of their first use; *count entries, valid until the next tally_add. */
const struct tally_count *tally_all(size_t *count);

#endif
