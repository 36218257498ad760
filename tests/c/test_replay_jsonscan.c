/* test_replay_jsonscan.c - tests/fuzz/fuzz_jsonscan.c over its corpus. */
#include "tests/fuzz/fuzz_jsonscan.c"

#include "replay.h"

REPLAY_MAIN("jsonscan")
