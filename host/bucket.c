/* bucket.c - token buckets, filled by the clock when somebody looks. */
#include "host/bucket.h"

#include <string.h>

#include "host/mem.h"

static const double per_second = 1;

struct bucket {
    struct bucket *next;
    char *name;
    double tokens;
    uint64_t at_ns; /* the time tokens was right */
};

struct buckets {
    const struct clock *clock;
    struct bucket *first;
};

struct buckets *buckets_new(const struct clock *clock)
{
    struct buckets *buckets = mem_alloc(sizeof *buckets);
    buckets->clock = clock;
    return buckets;
}

void buckets_free(struct buckets *buckets)
{
    if (buckets == NULL) return;
    while (buckets->first) {
        struct bucket *b = buckets->first;
        buckets->first = b->next;
        mem_free(b->name);
        mem_free(b);
    }
    mem_free(buckets);
}

static void add(struct bucket *b, double tokens)
{
    b->tokens += tokens;
    if (b->tokens > BUCKETS_BURST) b->tokens = BUCKETS_BURST;
}

/* The bucket of that name as it stands now. */
static struct bucket *find(struct buckets *buckets, const char *name)
{
    uint64_t now_ns = clock_now_ns(buckets->clock);
    struct bucket *b = buckets->first;
    while (b && strcmp(b->name, name) != 0) b = b->next;
    if (b == NULL) {
        b = mem_alloc(sizeof *b);
        b->name = mem_strdup(name);
        b->tokens = BUCKETS_BURST;
        b->next = buckets->first;
        buckets->first = b;
    } else {
        add(b, (double)(now_ns - b->at_ns) / 1e9 * per_second);
    }
    b->at_ns = now_ns;
    return b;
}

double buckets_wait(struct buckets *buckets, const char *name)
{
    double tokens = find(buckets, name)->tokens;
    return tokens >= 1 ? 0 : (1 - tokens) / per_second;
}

void buckets_take(struct buckets *buckets, const char *name)
{
    find(buckets, name)->tokens--;
}

void buckets_give(struct buckets *buckets, const char *name)
{
    add(find(buckets, name), 1);
}
