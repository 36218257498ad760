/* http_check.c - requests that are refused before anything is sent. */
#include "host/http_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* The characters of a token in RFC 9110. */
static bool is_token(const char *s)
{
    if (*s == '\0') return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && strchr("!#$%&'*+-.^_`|~", *s) == NULL) return false;
    return true;
}

/* Headers that libcurl derives from the request: a second opinion on where the body ends is how requests
 * are smuggled. */
static bool is_ours(const char *name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection", "expect",
                                       "upgrade"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcasecmp(name, ours[i]) == 0) return true;
    return false;
}

static int check_headers(const struct http_request *request, struct err *err)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *h = &request->headers[i];
        if (!is_token(h->name))
            return err_set(err, ERR_INVALID, "a header name holds a character not allowed");
        if (is_ours(h->name)) return err_set(err, ERR_INVALID, "the header %s is set by the client", h->name);
        for (const char *p = h->value; *p; p++)
            if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
                return err_set(err, ERR_INVALID, "the value of header %s holds a control character", h->name);
    }
    return 0;
}

int http_check_request(const struct http_request *request, struct err *err)
{
    size_t n = strlen(request->method);
    if (n > 16 || !is_token(request->method) || strcasecmp(request->method, "CONNECT") == 0)
        return err_set(err, ERR_INVALID, "the method is not one that can be sent");
    for (const char *p = request->method; *p; p++)
        if (islower((unsigned char)*p))
            return err_set(err, ERR_INVALID, "the method %s must be in capitals", request->method);
    if (request->body && request->file_body)
        return err_set(err, ERR_INVALID, "a request has one body: bytes or a file, not both");
    if (request->resume && request->download_path == NULL)
        return err_set(err, ERR_INVALID, "resume needs a file to download to");
    if (request->download_path && strcmp(request->method, "GET") != 0 && request->resume)
        return err_set(err, ERR_INVALID, "only a GET can be resumed");
    if (request->unix_socket && strncasecmp(request->url, "http://", 7) != 0)
        return err_set(err, ERR_INVALID, "over a Unix socket the URL must begin with http://");
    return check_headers(request, err);
}
