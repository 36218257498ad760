/* curlmux_dns.c - name lookups: one for each name, in threads of their own.
 *
 * libcurl's resolver starts a thread for each transfer, and libuv's pool is shared with files: a server
 * whose name hangs would take both.  Here a hung getaddrinfo costs one thread, however many wait for it, and
 * the threads are bounded.  Threads own nothing of the mux: they post into a mailbox that outlives it.
 */
#include "host/curlmux_internal.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "host/buf.h"
#include "host/mem.h"

enum {
    THREADS_MAX = 64,
    STACK_BYTES = 512 * 1024,
    FRESH_MS = 60 * 1000,
    RETRY_MS = 5 * 1000,
    ADDRESSES_MAX = 16
};

/* Where threads leave their answers.  Freed by whoever lets go last. */
struct mailbox {
    pthread_mutex_t mutex;
    struct list_node finished; /* lookups */
    uv_async_t *async;         /* NULL once the mux is gone */
    unsigned references;
};

struct lookup {
    struct list_node node;
    struct mailbox *mailbox;
    struct dns_name *owner; /* for the loop thread only */
    char *name;
    char *addresses; /* NULL on failure */
    char failure[120];
};

struct dns {
    uv_async_t async;
    struct mailbox *mailbox;
    struct clock *clock;
    dns_done_fn done;
    void *ctx;
    struct dns_name *names;
    struct list_node queue; /* names without a thread yet */
    unsigned threads;
    uint64_t made;
};

/* ---- in a lookup thread ----------------------------------------------------------------------------- */

static void mailbox_release(struct mailbox *box)
{
    pthread_mutex_lock(&box->mutex);
    bool last = --box->references == 0;
    pthread_mutex_unlock(&box->mutex);
    if (!last) return;
    pthread_mutex_destroy(&box->mutex);
    mem_free(box);
}

static void lookup_free(struct lookup *lookup)
{
    mem_free(lookup->name);
    mem_free(lookup->addresses);
    mem_free(lookup);
}

static void resolve(struct lookup *lookup)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(lookup->name, NULL, &hints, &list);
    if (rc != 0) {
        snprintf(lookup->failure, sizeof lookup->failure, "%s", gai_strerror(rc));
        return;
    }
    struct buf out = {0};
    int count = 0;
    for (struct addrinfo *a = list; a && count < ADDRESSES_MAX; a = a->ai_next) {
        char text[64];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0) continue;
        buf_printf(&out, a->ai_family == AF_INET6 ? "%s[%s]" : "%s%s", count ? "," : "", text);
        count++;
    }
    freeaddrinfo(list);
    if (count > 0)
        lookup->addresses = buf_take(&out, NULL);
    else
        snprintf(lookup->failure, sizeof lookup->failure, "the name has no address");
}

static void *lookup_main(void *arg)
{
    struct lookup *lookup = arg;
    struct mailbox *box = lookup->mailbox;
    resolve(lookup);
    pthread_mutex_lock(&box->mutex);
    bool wanted = box->async != NULL;
    if (wanted) {
        list_append(&box->finished, &lookup->node);
        uv_async_send(box->async); /* under the lock: the handle cannot be closed meanwhile */
    }
    pthread_mutex_unlock(&box->mutex);
    if (!wanted) lookup_free(lookup);
    mailbox_release(box);
    return NULL;
}

/* ---- on the loop thread ----------------------------------------------------------------------------- */

/* Starts a thread that takes no signals: those are the loop's. */
static bool start_thread(struct lookup *lookup)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, lookup_main, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

static void start_queued(struct dns *dns)
{
    while (dns->threads < THREADS_MAX && !list_empty(&dns->queue)) {
        struct dns_name *name = LIST_ENTRY(list_first(&dns->queue), struct dns_name, node);
        struct lookup *lookup = mem_alloc(sizeof *lookup);
        lookup->owner = name;
        lookup->name = mem_strdup(name->name);
        lookup->mailbox = dns->mailbox;
        pthread_mutex_lock(&dns->mailbox->mutex);
        dns->mailbox->references++;
        pthread_mutex_unlock(&dns->mailbox->mutex);
        if (!start_thread(lookup)) { /* too many threads: the next answer, or the next want, tries again */
            mailbox_release(dns->mailbox);
            lookup_free(lookup);
            return;
        }
        list_remove(&name->node);
        dns->threads++;
        dns->made++;
    }
}

static void take_answer(struct dns *dns, struct lookup *lookup)
{
    struct dns_name *name = lookup->owner;
    uint64_t now = clock_now_ms(dns->clock);
    dns->threads--;
    name->asked = false;
    name->fresh_until_ms = now + (lookup->addresses ? FRESH_MS : RETRY_MS);
    if (lookup->addresses) {
        if (name->addresses == NULL || strcmp(name->addresses, lookup->addresses) != 0) name->generation++;
        mem_free(name->addresses);
        name->addresses = lookup->addresses;
        lookup->addresses = NULL;
    }
    dns->done(dns->ctx, name, lookup->failure[0] ? lookup->failure : NULL);
    lookup_free(lookup);
}

static void on_async_cb(uv_async_t *async)
{
    struct dns *dns = async->data;
    struct list_node ready;
    list_init(&ready);
    pthread_mutex_lock(&dns->mailbox->mutex);
    list_splice(&ready, &dns->mailbox->finished);
    pthread_mutex_unlock(&dns->mailbox->mutex);
    struct list_node *n;
    while ((n = list_pop(&ready)) != NULL) take_answer(dns, LIST_ENTRY(n, struct lookup, node));
    start_queued(dns);
}

struct dns *dns_new(struct loop *loop, struct clock *clock, dns_done_fn done, void *ctx)
{
    struct dns *dns = mem_alloc(sizeof *dns);
    dns->clock = clock;
    dns->done = done;
    dns->ctx = ctx;
    list_init(&dns->queue);
    uv_async_init(loop_uv(loop), &dns->async, on_async_cb);
    uv_unref((uv_handle_t *)&dns->async); /* who waits for an answer has a timer that keeps the loop alive */
    dns->async.data = dns;
    dns->mailbox = mem_alloc(sizeof *dns->mailbox);
    pthread_mutex_init(&dns->mailbox->mutex, NULL);
    list_init(&dns->mailbox->finished);
    dns->mailbox->async = &dns->async;
    dns->mailbox->references = 1;
    return dns;
}

static void on_close_cb(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void dns_free(struct dns *dns)
{
    struct list_node unread;
    list_init(&unread);
    pthread_mutex_lock(&dns->mailbox->mutex);
    dns->mailbox->async = NULL;
    list_splice(&unread, &dns->mailbox->finished);
    pthread_mutex_unlock(&dns->mailbox->mutex);
    mailbox_release(dns->mailbox);
    struct list_node *n;
    while ((n = list_pop(&unread)) != NULL) lookup_free(LIST_ENTRY(n, struct lookup, node));
    while (dns->names) {
        struct dns_name *name = dns->names;
        dns->names = name->next;
        mem_free(name->name);
        mem_free(name->addresses);
        mem_free(name);
    }
    uv_close((uv_handle_t *)&dns->async, on_close_cb);
}

struct dns_name *dns_find(struct dns *dns, const char *text)
{
    for (struct dns_name *name = dns->names; name; name = name->next)
        if (strcmp(name->name, text) == 0) return name;
    struct dns_name *name = mem_alloc(sizeof *name);
    name->name = mem_strdup(text);
    name->dns = dns;
    list_init(&name->node);
    name->next = dns->names;
    dns->names = name;
    return name;
}

bool dns_want(struct dns_name *name)
{
    struct dns *dns = name->dns;
    bool fresh = name->addresses && clock_now_ms(dns->clock) < name->fresh_until_ms;
    if (!fresh && !name->asked) {
        name->asked = true;
        list_append(&dns->queue, &name->node);
    }
    if (!list_empty(&dns->queue)) start_queued(dns);
    return name->addresses != NULL;
}

void dns_doubt(struct dns_name *name)
{
    name->fresh_until_ms = 0;
}

void dns_stats(const struct dns *dns, struct curlmux_stats *out)
{
    out->lookups = dns->threads;
    out->lookups_made = dns->made;
    for (const struct list_node *n = dns->queue.next; n != &dns->queue; n = n->next) out->lookups++;
}
