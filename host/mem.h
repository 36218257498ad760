/* mem.h - the only door to malloc.
 *
 * A failed allocation of ours ends the process with a message: small host structures are never worth a
 * second error path.  Sizes that come from outside must be capped before they get here.  Memory that
 * belongs to a Lua state goes through that state's own allocator (host/vm.c), where failing is allowed.
 */
#ifndef PERIGEE_MEM_H
#define PERIGEE_MEM_H

#include <stddef.h>

/* Zeroed memory of n bytes (n may be 0).  Never NULL.  Free with mem_free. */
void *mem_alloc(size_t n);

/* Zeroed memory for count things of size bytes each; ends the process if the product overflows. */
void *mem_alloc_array(size_t count, size_t size);

/* Resized block; new bytes are not cleared.  p may be NULL.  Never NULL. */
void *mem_realloc(void *p, size_t n);

/* Copies; the caller owns the result.  mem_strdup(NULL) is NULL. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n);

/* p may be NULL. */
void mem_free(void *p);

/* Like realloc, but may return NULL: for allocators whose caller can cope (a Lua state's). */
void *mem_try_realloc(void *p, size_t n);

/* Gives free pages back to the system where the C library can: after much was freed at once. */
void mem_trim(void);

#endif
