/* test_replay_amount.c - tests/fuzz/fuzz_amount.c over its corpus. */
#include "tests/fuzz/fuzz_amount.c"

#include "replay.h"

REPLAY_MAIN("amount")
