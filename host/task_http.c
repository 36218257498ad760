/* task_http.c - the network transport of a scheduler: one for all its VMs, so that limits hold for the
 * process.
 *
 * Made when the first request needs it: a script without requests pays nothing for HTTP.
 */
#include "host/http.h"
#include "host/task.h"
#include "host/task_internal.h"

struct transport *sched_http(struct sched *s)
{
    if (s->http == NULL) s->http = http_transport_new(s->loop, s->timers, s->clock, NULL);
    return s->http;
}

unsigned sched_http_handles(const struct sched *s)
{
    struct curlmux_stats stats;
    if (s->http == NULL) return 0;
    http_transport_stats(s->http, &stats);
    return stats.handles;
}

void sched_http_stop(struct sched *s)
{
    if (s->http) s->http->type->free(s->http);
    s->http = NULL;
}
