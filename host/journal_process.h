/* journal_process.h - who writes a journal: identity of a process, and whether another one still lives.
 *
 * A pid says little: it is used again, and another host or another boot has the same ones.  So a process is
 * known by 32 hex digits of its own, and is recognised by host, boot id, pid and the start time of that pid.
 * Plain data; safe on any thread.
 */
#ifndef PERIGEE_JOURNAL_PROCESS_H
#define PERIGEE_JOURNAL_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/random.h"

enum {
    JOURNAL_BEAT_MS = 10 * 1000,   /* how often a living process says so */
    JOURNAL_SILENT_MS = 60 * 1000, /* on another host this long without a beat is death */
};

struct journal_process {
    char id[33];
    char kind[16]; /* "run", "daemon", "repl", "command" */
    char host[72];
    char boot[64]; /* of the kernel: another one means that every process of this host has ended.  Behind a
                    * colon, in a container: which one, since it has pids of its own */
    int64_t pid;
    int64_t start; /* clock ticks since boot at which that pid began; 0: not known */
    int64_t beat_at;
};

/* This process, with a new id: from random if it is not NULL (rehearsals only), else from the kernel. */
void journal_process_self(struct journal_process *self, const char *kind, struct random *random);

/* False once it is certain that the process has ended.  self is the one that asks. */
bool journal_process_alive(const struct journal_process *process, const struct journal_process *self,
                           int64_t now_ms);

#endif
