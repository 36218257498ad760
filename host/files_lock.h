/* files_lock.h - a file that one run works on at a time.
 *
 * An advisory lock of the system (flock), which ends with the process that has it, however that ends.  Two
 * locks on one file exclude each other within one process too.  Taking it does not wait.
 */
#ifndef PERIGEE_FILES_LOCK_H
#define PERIGEE_FILES_LOCK_H

#include "host/err.h"

struct file_lock;

/* Makes the file if it is not there.  NULL and err: kind unavailable, code "locked" if somebody has it, else
 * the errno's name. */
struct file_lock *file_lock_take(const char *path, struct err *err);

/* lock may be NULL. */
void file_lock_free(struct file_lock *lock);

#endif
