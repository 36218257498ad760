/* test_replay_redact.c - tests/fuzz/fuzz_redact.c over its corpus. */
#include "tests/fuzz/fuzz_redact.c"

#include "replay.h"

REPLAY_MAIN("redact")
