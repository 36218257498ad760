/* replay.h - runs a fuzz target over its corpus without libFuzzer, so that every compiler and valgrind see
 * each input that ever mattered.  Include the target, then REPLAY_MAIN("folder"). */
#ifndef PERIGEE_TESTS_REPLAY_H
#define PERIGEE_TESTS_REPLAY_H

#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/c/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly the file's size, so that a read behind the end is seen. */
static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    if (f == NULL) return;
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(n ? n : 1);
    CHECK(bytes != NULL && fread(bytes, 1, n, f) == n);
    fclose(f);
    CHECK(LLVMFuzzerTestOneInput(bytes, n) == 0);
    free(bytes);
}

/* The target aborts where a promise is broken. */
static int replay_folder(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "tests/fixtures/corpus/%s", name);
    DIR *dir = opendir(path);
    int seen = 0;
    CHECK(dir != NULL);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "tests/fixtures/corpus/%s/%.200s", name, entry->d_name);
        replay_file(path);
        seen++;
    }
    if (dir) closedir(dir);
    CHECK(seen > 0);
    return seen;
}

#define REPLAY_MAIN(name)                                                                                    \
    int main(void)                                                                                           \
    {                                                                                                        \
        replay_folder(name);                                                                                 \
        HARNESS_END();                                                                                       \
    }

#endif
