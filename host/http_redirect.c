/* http_redirect.c - following a redirect is a new request of ours, not libcurl's affair: it goes through the
 * queue and lookup of its own origin, and we say which headers may go along. */
#include "host/http_internal.h"

#include <stdio.h>
#include <string.h>

#include "host/mem.h"

enum { LOCATION_MAX = 8192 };

/* The absolute URL that `location` means on the page `base`; NULL if it means none. */
static char *resolve_url(const char *base, const char *location)
{
    char *out = NULL, *url = NULL;
    CURLU *u = curl_url();
    if (u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &url, 0) == CURLUE_OK)
        out = mem_strdup(url);
    curl_free(url);
    curl_url_cleanup(u);
    return out;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static enum redirect refuse(struct exchange *x, const char *code, const char *text)
{
    http_fault(x, ERR_NETWORK, code, "%s", text);
    return REDIRECT_REFUSED;
}

/* As browsers do: 303 and, for a POST, 301 and 302 mean "GET that instead". */
static void change_method(struct exchange *x)
{
    bool post = strcmp(x->method, "POST") == 0;
    bool head = strcmp(x->method, "HEAD") == 0;
    int status = x->response.status;
    if (head || !(status == 303 || (post && (status == 301 || status == 302)))) return;
    snprintf(x->method, sizeof x->method, "GET");
    http_drop_body(x);
}

enum redirect http_redirect(struct exchange *x)
{
    char location[LOCATION_MAX], here[CURLMUX_ORIGIN_MAX], origin[CURLMUX_ORIGIN_MAX];
    if (!is_redirect(x->response.status) || x->max_redirects == 0) return REDIRECT_NONE;
    if (!http_reply_header(&x->response.headers, "location", location, sizeof location)) return REDIRECT_NONE;
    if (x->redirects_made == x->max_redirects) return refuse(x, "redirects", "too many redirects");
    char *url = resolve_url(x->url, location);
    if (url == NULL || curlmux_origin(url, origin, NULL) != 0) {
        mem_free(url);
        return refuse(x, "redirect_url", "the redirect leads to no URL that can be followed");
    }
    curlmux_origin(x->url, here, NULL);
    if (strncmp(here, "https", 5) == 0 && strncmp(origin, "https", 5) != 0) {
        mem_free(url);
        return refuse(x, "redirect_insecure", "the redirect leads from https to http");
    }
    change_method(x);
    if (strcmp(origin, here) != 0) {
        http_drop_private_headers(x);
        x->insecure = false; /* was named for the other one */
    }
    mem_free(x->url);
    x->url = url;
    x->redirects_made++;
    return REDIRECT_FOLLOW;
}
