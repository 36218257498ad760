/* embedded.h - the files that travel inside the program, made at build by scripts/embed.awk. */
#ifndef PERIGEE_EMBEDDED_H
#define PERIGEE_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *path; /* as in the source tree: "scripts/lib/retry.lua" */
    const char *text;
    size_t len;
};

/* Lua that is run, and text that is shown: pages of docs/, editor stubs. Each ends with a path of NULL. */
extern const struct embedded_file embedded_files[], embedded_texts[];

#endif
