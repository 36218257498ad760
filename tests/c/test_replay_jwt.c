/* test_replay_jwt.c - tests/fuzz/fuzz_jwt.c over its corpus. */
#include "tests/fuzz/fuzz_jwt.c"

#include "replay.h"

REPLAY_MAIN("jwt")
