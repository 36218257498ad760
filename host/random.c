/* random.c - xoshiro256** seeded by splitmix64, and getrandom(2) for secrets. */
#include "host/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void random_init(struct random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) r->state[i] = splitmix(&seed);
}

uint64_t random_u64(struct random *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double random_double(struct random *r)
{
    return (double)(random_u64(r) >> 11) * 0x1p-53;
}

uint64_t random_below(struct random *r, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n; /* reject the uneven tail */
    uint64_t x = random_u64(r);
    while (x >= limit) x = random_u64(r);
    return x % n;
}

static void read_kernel(void *bytes, size_t n)
{
    char *p = bytes;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            fputs("perigee: the kernel gave no random bytes\n", stderr);
            abort();
        }
        p += got;
        n -= (size_t)got;
    }
}

uint64_t random_fresh_seed(void)
{
    uint64_t seed;
    read_kernel(&seed, sizeof seed);
    return seed;
}

void random_hex(struct random *r, char *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        unsigned char byte;
        if (r)
            byte = (unsigned char)(random_u64(r) >> 56);
        else
            read_kernel(&byte, 1);
        out[2 * i] = digits[byte >> 4];
        out[2 * i + 1] = digits[byte & 15];
    }
    out[2 * n] = '\0';
}
