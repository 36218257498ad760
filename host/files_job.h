/* files_job.h - what files.c and files_tree.c share; nobody else includes it. */
#ifndef PERIGEE_FILES_JOB_H
#define PERIGEE_FILES_JOB_H

#include "host/files.h"

struct file_job {
    uv_work_t work;
    file_done_fn done; /* NULL: forgotten.  Loop thread only */
    void *ctx;

    /* Written before the pool has it, only read there. */
    enum file_verb verb;
    char *path, *to;
    void *bytes;
    size_t n, cap;
    int mode;
    bool sync, recursive, no_follow;
    struct file *file;

    struct file_result result; /* the pool's until on_done_cb */
};

/* The job's result becomes an error, from errno. */
void files_job_fail(struct file_job *job, const char *what, const char *path);

void files_do_stat(struct file_job *job);
void files_do_list(struct file_job *job);
void files_do_mkdir(struct file_job *job);
void files_do_remove(struct file_job *job);
void files_do_rename(struct file_job *job);

#endif
