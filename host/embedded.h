/* embedded.h - the files that travel inside the program, made at build by scripts/embed.awk. */
#ifndef PERIGEE_EMBEDDED_H
#define PERIGEE_EMBEDDED_H

#include <stddef.h>
#include <string.h>

struct embedded_file {
    const char *path; /* as in the source tree: "scripts/lib/retry.lua" */
    const char *text;
    size_t len;
};

/* Lua that is run, and text that is shown: pages of docs/, editor stubs.  Each is sorted by path, and ends
 * with a path of NULL, which is not counted. */
extern const struct embedded_file embedded_files[], embedded_texts[];
extern const size_t embedded_files_count, embedded_texts_count;

/* The file of that path, or NULL: half of a start is loading modules. */
static inline const struct embedded_file *embedded_find(const struct embedded_file *table, size_t count,
                                                        const char *path)
{
    while (count > 0) {
        size_t half = count / 2;
        int order = strcmp(path, table[half].path);
        if (order == 0) return &table[half];
        if (order > 0) {
            table += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return NULL;
}

#endif
