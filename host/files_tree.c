/* files_tree.c - the verbs that deal with names and folders.  Pool threads only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/files_job.h"
#include "host/mem.h"

enum { DEPTH_MAX = 200 }; /* folders within folders; each holds a descriptor while it is emptied */

void files_do_stat(struct file_job *job)
{
    struct stat st;
    int rc = job->no_follow ? lstat(job->path, &st) : stat(job->path, &st);
    if (rc != 0) {
        if (errno != ENOENT && errno != ENOTDIR) files_job_fail(job, "look at", job->path);
        return;
    }
    struct file_stat *out = &job->result.stat;
    job->result.found = true;
    out->type = S_ISREG(st.st_mode) ? 'f' : S_ISDIR(st.st_mode) ? 'd' : S_ISLNK(st.st_mode) ? 'l' : 'o';
    out->size = (uint64_t)st.st_size;
    out->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    out->mode = (int)(st.st_mode & 07777);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

void files_do_list(struct file_job *job)
{
    DIR *dir = opendir(job->path);
    if (dir == NULL) {
        files_job_fail(job, "list", job->path);
        return;
    }
    char **names = NULL;
    size_t count = 0, cap = 0;
    const struct dirent *entry;
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        if (is_dots(entry->d_name)) continue;
        if (count == cap) {
            cap = cap ? cap * 2 : 64;
            names = mem_realloc(names, cap * sizeof *names);
        }
        names[count++] = mem_strdup(entry->d_name);
    }
    if (errno != 0) files_job_fail(job, "list", job->path);
    closedir(dir);
    if (count) qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        buf_append(&job->result.bytes, names[i], strlen(names[i]) + 1);
        mem_free(names[i]);
    }
    mem_free(names);
}

static int make_folder(struct file_job *job, const char *path, mode_t mode)
{
    struct stat st;
    if (mkdir(path, mode) == 0) return 0;
    if (errno != EEXIST && errno != EISDIR) return -1;
    if (stat(path, &st) != 0) return -1;
    if (!S_ISDIR(st.st_mode)) return errno = ENOTDIR, -1;
    job->result.found = true;
    return 0;
}

void files_do_mkdir(struct file_job *job)
{
    char *path = mem_strdup(job->path);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = '\0';
    for (char *p = path + 1; path[0] && *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        int rc = make_folder(job, path, 0777);
        if (rc != 0) goto failed;
        *p = '/';
    }
    job->result.found = false; /* of the parents: only the folder itself is asked about */
    if (make_folder(job, path, job->mode < 0 ? 0777 : (mode_t)job->mode) != 0) goto failed;
    mem_free(path);
    return;
failed:
    files_job_fail(job, "make the folder", job->path);
    mem_free(path);
}

/* Removes name within the folder, whatever it is; descriptors rather than paths, so that nobody can slip a
 * link in between.  0, or -1 with errno. */
static int remove_at(int folder, const char *name, int depth)
{
    if (unlinkat(folder, name, 0) == 0) return 0;
    if (errno != EISDIR && errno != EPERM) return -1;
    if (depth >= DEPTH_MAX) return errno = ELOOP, -1;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0) close(fd);
        return -1;
    }
    const struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (entry = readdir(dir)))
        if (!is_dots(entry->d_name)) rc = remove_at(dirfd(dir), entry->d_name, depth + 1);
    int number = errno;
    closedir(dir);
    errno = number;
    return rc == 0 ? unlinkat(folder, name, AT_REMOVEDIR) : -1;
}

void files_do_remove(struct file_job *job)
{
    int rc;
    if (job->recursive)
        rc = remove_at(AT_FDCWD, job->path, 0);
    else if ((rc = unlink(job->path)) != 0 && (errno == EISDIR || errno == EPERM))
        rc = rmdir(job->path);
    if (rc == 0)
        job->result.found = true;
    else if (errno != ENOENT)
        files_job_fail(job, "remove", job->path);
}

void files_do_rename(struct file_job *job)
{
    if (rename(job->path, job->to) != 0 || files_sync_folder(job->to) != 0)
        files_job_fail(job, "rename", job->path);
}
