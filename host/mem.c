/* mem.c - allocation that either works or ends the process. */
#include "host/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static void *checked(void *p, size_t n)
{
    if (p == NULL) {
        fprintf(stderr, "perigee: out of memory (%zu bytes)\n", n);
        abort();
    }
    return p;
}

/* glibc's calloc passes by its cache of small blocks, which makes it several times slower than this. */
enum { SMALL = 1024 };

void *mem_alloc(size_t n)
{
    if (n > SMALL) return checked(calloc(1, n), n);
    return memset(checked(malloc(n ? n : 1), n), 0, n);
}

void *mem_alloc_array(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) checked(NULL, SIZE_MAX);
    return mem_alloc(count * size);
}

void *mem_realloc(void *p, size_t n)
{
    return checked(realloc(p, n ? n : 1), n);
}

void *mem_try_realloc(void *p, size_t n)
{
    return realloc(p, n ? n : 1);
}

void *mem_dup(const void *p, size_t n)
{
    void *copy = checked(malloc(n ? n : 1), n);
    if (n) memcpy(copy, p, n);
    return copy;
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = checked(malloc(n + 1), n + 1);
    if (n) memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *mem_strdup(const char *s)
{
    return s ? mem_strndup(s, strlen(s)) : NULL;
}

void mem_free(void *p)
{
    free(p);
}

void mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
