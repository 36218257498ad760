/* harness.h - C unit tests without a framework: CHECK prints both sides, HARNESS_END sums up. */
#ifndef PERIGEE_TESTS_HARNESS_H
#define PERIGEE_TESTS_HARNESS_H

#include <stdio.h>
#include <string.h>

static int harness_passed, harness_failed;

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (cond) {                                                                                          \
            harness_passed++;                                                                                \
        } else {                                                                                             \
            harness_failed++;                                                                                \
            printf("not ok - %s:%d: %s\n", __FILE__, __LINE__, #cond);                                       \
        }                                                                                                    \
    } while (0)

#define CHECK_STR(got, want)                                                                                 \
    do {                                                                                                     \
        const char *got_ = (got), *want_ = (want);                                                           \
        if (strcmp(got_, want_) == 0) {                                                                      \
            harness_passed++;                                                                                \
        } else {                                                                                             \
            harness_failed++;                                                                                \
            printf("not ok - %s:%d: %s\n  got  %s\n  want %s\n", __FILE__, __LINE__, #got, got_, want_);     \
        }                                                                                                    \
    } while (0)

#define CHECK_INT(got, want)                                                                                 \
    do {                                                                                                     \
        long long got_ = (long long)(got), want_ = (long long)(want);                                        \
        if (got_ == want_) {                                                                                 \
            harness_passed++;                                                                                \
        } else {                                                                                             \
            harness_failed++;                                                                                \
            printf("not ok - %s:%d: %s\n  got  %lld\n  want %lld\n", __FILE__, __LINE__, #got, got_, want_); \
        }                                                                                                    \
    } while (0)

/* The last statement of main. */
#define HARNESS_END()                                                                                        \
    do {                                                                                                     \
        printf("%s: %d passed, %d failed\n", __FILE__, harness_passed, harness_failed);                      \
        return harness_failed ? 1 : 0;                                                                       \
    } while (0)

#endif
