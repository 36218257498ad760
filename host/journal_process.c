/* journal_process.c - identity and liveness, read from /proc. */
#include "host/journal_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The start of a small file, without its last line feed; "" if there is none. */
static void read_small(const char *path, char *out, size_t size)
{
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* The 22nd field of /proc/<pid>/stat; 0 if it cannot be read, -1 if all that is left is an exit status nobody
 * has asked for yet. The 2nd field is the program's name in parentheses, with any byte in it. */
static int64_t start_of(int64_t pid)
{
    char path[40], stat[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    read_small(path, stat, sizeof stat);
    const char *at = strrchr(stat, ')');
    if (at && (strncmp(at, ") Z", 3) == 0 || strncmp(at, ") X", 3) == 0)) return -1;
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at, ' ');
        if (at) at++;
    }
    return at ? strtoll(at, NULL, 10) : 0;
}

/* The processes of the host itself; the kernel has this number built in. */
static const unsigned long long HOST_PIDS = 0xEFFFFFFCu;

static void read_boot(char *out, size_t size)
{
    struct stat pids;
    read_small("/proc/sys/kernel/random/boot_id", out, size < 40 ? size : 40);
    if (stat("/proc/self/ns/pid", &pids) != 0 || pids.st_ino == HOST_PIDS) return;
    size_t n = strlen(out);
    snprintf(out + n, size - n, ":%llu", (unsigned long long)pids.st_ino);
}

void journal_process_self(struct journal_process *self, const char *kind, struct random *random)
{
    *self = (struct journal_process){.pid = getpid()};
    random_hex(random, self->id, 16);
    snprintf(self->kind, sizeof self->kind, "%s", kind);
    if (gethostname(self->host, sizeof self->host - 1) != 0) snprintf(self->host, sizeof self->host, "?");
    read_boot(self->boot, sizeof self->boot);
    self->start = start_of(self->pid);
}

bool journal_process_alive(const struct journal_process *process, const struct journal_process *self,
                           int64_t now_ms)
{
    if (strcmp(process->id, self->id) == 0) return true;
    size_t boot = strcspn(self->boot, ":");
    bool same_host = strcmp(process->host, self->host) == 0;
    if (same_host && (strcspn(process->boot, ":") != boot || strncmp(process->boot, self->boot, boot) != 0))
        return false;
    if (!same_host || strcmp(process->boot, self->boot) != 0) /* its pid says nothing here */
        return now_ms - process->beat_at < JOURNAL_SILENT_MS;
    if (kill((pid_t)process->pid, 0) != 0 && errno == ESRCH) return false;
    int64_t start = start_of(process->pid);
    return start == 0 || process->start == 0 || start == process->start;
}
