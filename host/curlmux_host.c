/* curlmux_host.c - origins: reading them out of URLs, the proxy they go through, the table of them. */
#include "host/curlmux_internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/buf.h"
#include "host/mem.h"

/* ---- reading a URL ---------------------------------------------------------------------------------- */

struct authority {
    const char *host;
    size_t host_len; /* with the brackets of an IPv6 address */
    unsigned port;
};

static int read_port(const char *s, size_t n, unsigned *port)
{
    unsigned value = 0;
    if (n == 0 || n > 5) return -1;
    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)s[i])) return -1;
        value = value * 10 + (unsigned)(s[i] - '0');
    }
    if (value == 0 || value > 65535) return -1;
    *port = value;
    return 0;
}

/* Letters, digits, dot, hyphen, underscore, bytes of a UTF-8 name; between brackets what IPv6 needs. */
static size_t host_length(const char *s, size_t n)
{
    size_t i = 0;
    if (n > 0 && s[0] == '[') {
        for (i = 1; i < n && (isxdigit((unsigned char)s[i]) || s[i] == ':' || s[i] == '.'); i++) continue;
        return i > 2 && i < n && s[i] == ']' ? i + 1 : 0;
    }
    while (i < n && (isalnum((unsigned char)s[i]) || strchr("-._", s[i]) || (unsigned char)s[i] >= 0x80)) i++;
    return i;
}

/* Reads "user:password@host:port" of n bytes. */
static int read_authority(const char *s, size_t n, unsigned default_port, struct authority *out)
{
    const char *at = memrchr(s, '@', n);
    if (at) {
        n -= (size_t)(at + 1 - s);
        s = at + 1;
    }
    out->host = s;
    out->host_len = host_length(s, n);
    out->port = default_port;
    if (out->host_len == 0) return -1;
    if (out->host_len == n || (out->host_len + 1 == n && s[out->host_len] == ':')) return 0;
    if (s[out->host_len] != ':') return -1;
    return read_port(s + out->host_len + 1, n - out->host_len - 1, &out->port);
}

/* ":" and the port; for each request, so without printf. */
static void print_port(char *out, unsigned port)
{
    unsigned divisor = 1;
    *out++ = ':';
    while (port / divisor >= 10) divisor *= 10;
    for (; divisor > 0; divisor /= 10) *out++ = (char)('0' + port / divisor % 10);
    *out = '\0';
}

int curlmux_origin(const char *url, char out[CURLMUX_ORIGIN_MAX], struct err *err)
{
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return err_set(err, ERR_INVALID, "the URL holds a blank or control character (write %%%02X)", *p);
    bool tls = strncasecmp(url, "https://", 8) == 0;
    if (!tls && strncasecmp(url, "http://", 7) != 0)
        return err_set(err, ERR_INVALID, "the URL must begin with http:// or https://");
    const char *start = url + (tls ? 8 : 7);
    struct authority a;
    if (read_authority(start, strcspn(start, "/?#"), tls ? 443 : 80, &a) != 0 || a.host_len > 255)
        return err_set(err, ERR_INVALID, "the URL names no valid host and port");
    size_t n = tls ? 8 : 7;
    memcpy(out, tls ? "https://" : "http://", n);
    for (size_t i = 0; i < a.host_len; i++) out[n++] = (char)tolower((unsigned char)a.host[i]);
    print_port(out + n, a.port);
    return 0;
}

/* ---- proxies, as the environment says --------------------------------------------------------------- */

static const char *env_either(const char *lower, const char *upper)
{
    const char *value = getenv(lower);
    if ((value == NULL || *value == '\0') && upper) value = getenv(upper);
    return value && *value ? value : NULL;
}

/* One entry of no_proxy: a name and all below it, an address, or a port too ("host:8080"). */
static bool entry_matches(const char *entry, size_t n, const char *host, size_t host_len)
{
    if (n == 1 && *entry == '*') return true;
    while (n > 0 && *entry == '.') {
        entry++;
        n--;
    }
    if (n == 0 || n > host_len || strncasecmp(host + host_len - n, entry, n) != 0) return false;
    return n == host_len || host[host_len - n - 1] == '.';
}

static bool is_exempt(const char *host, size_t host_len)
{
    const char *list = env_either("no_proxy", "NO_PROXY");
    if (list == NULL) return false;
    if (host[0] == '[') {
        host++;
        host_len -= 2;
    }
    for (const char *p = list; *p;) {
        size_t skip = strspn(p, ", \t");
        size_t n = strcspn(p += skip, ", \t");
        if (n > 0 && entry_matches(p, n, host, host_len)) return true;
        p += n;
    }
    return false;
}

/* The proxy's URL for an origin, or "".  HTTP_PROXY in capitals is not read: a CGI server sets it from a
 * request header. */
static const char *proxy_for(bool tls, const char *host, size_t host_len)
{
    const char *proxy = tls ? env_either("https_proxy", "HTTPS_PROXY") : env_either("http_proxy", NULL);
    if (proxy == NULL) proxy = env_either("all_proxy", "ALL_PROXY");
    return proxy && !is_exempt(host, host_len) ? proxy : "";
}

/* ---- the table -------------------------------------------------------------------------------------- */

static bool is_literal(const char *host)
{
    struct in_addr v4;
    size_t n = strlen(host);
    if (host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1) return true;
    if (n >= 9 && strcmp(host + n - 9, "localhost") == 0 && (n == 9 || host[n - 10] == '.')) return true;
    for (const char *p = host; *p; p++)
        if ((unsigned char)*p >= 0x80)
            return true; /* libcurl turns it into its ASCII form, and looks it up */
    return false;
}

/* What has to be looked up before a connection can be made. */
static void find_name(struct curlmux_host *host, const struct authority *target)
{
    struct authority a = *target;
    if (*host->proxy) {
        const char *start = strstr(host->proxy, "://");
        start = start ? start + 3 : host->proxy;
        if (read_authority(start, strcspn(start, "/"), 1080, &a) != 0) return; /* libcurl will say so */
    }
    char name[256];
    size_t n = a.host_len < sizeof name ? a.host_len : sizeof name - 1;
    for (size_t i = 0; i < n; i++) name[i] = (char)tolower((unsigned char)a.host[i]);
    name[n] = '\0';
    if (is_literal(name)) return;
    host->name = dns_find(host->mux->dns, name);
    host->resolve_prefix = mem_alloc(n + 10);
    snprintf(host->resolve_prefix, n + 10, "%s:%u:", name, a.port);
}

static unsigned bucket_of(const char *s)
{
    unsigned h = 2166136261u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
    return h % HOST_BUCKETS;
}

static bool is_unused(const struct curlmux_host *host)
{
    return host->active == 0 && host->waiting_count == 0 && host->pins == 0;
}

/* Forgets the origins nobody uses: a program that runs for months may have met thousands. */
static void drop_unused(struct curlmux *mux)
{
    for (unsigned i = 0; i < HOST_BUCKETS; i++) {
        struct curlmux_host **link = &mux->buckets[i];
        while (*link) {
            struct curlmux_host *host = *link;
            if (is_unused(host)) {
                *link = host->next;
                host_free(host);
            } else {
                link = &host->next;
            }
        }
    }
}

static struct curlmux_host *host_new(struct curlmux *mux, const char *origin)
{
    struct curlmux_host *host = mem_alloc(sizeof *host);
    host->mux = mux;
    host->origin = mem_strdup(origin);
    host->tls = strncmp(origin, "https", 5) == 0;
    list_init(&host->waiting);
    struct authority a;
    const char *start = strstr(origin, "://") + 3;
    if (read_authority(start, strlen(start), 0, &a) == 0) {
        host->proxy = mem_strdup(proxy_for(host->tls, a.host, a.host_len));
        find_name(host, &a);
    }
    limit_init(host);
    return host;
}

struct curlmux_host *host_find(struct curlmux *mux, const char *origin)
{
    unsigned bucket = bucket_of(origin);
    for (struct curlmux_host *host = mux->buckets[bucket]; host; host = host->next)
        if (strcmp(host->origin, origin) == 0) return host;
    if (mux->host_count >= HOSTS_KEPT) drop_unused(mux);
    struct curlmux_host *host = host_new(mux, origin);
    host->next = mux->buckets[bucket];
    mux->buckets[bucket] = host;
    mux->host_count++;
    return host;
}

void host_free(struct curlmux_host *host)
{
    host->mux->host_count--;
    mem_free(host->origin);
    mem_free(host->proxy);
    mem_free(host->resolve_prefix);
    mem_free(host);
}

struct curl_slist *host_resolve_list(const struct curlmux_host *host)
{
    if (host->name == NULL || host->name->addresses == NULL || host->told == host->name->generation)
        return NULL;
    struct buf line = {0};
    buf_printf(&line, "%s%s", host->resolve_prefix, host->name->addresses);
    struct curl_slist *list = curl_slist_append(NULL, buf_str(&line));
    buf_deinit(&line);
    return list;
}
