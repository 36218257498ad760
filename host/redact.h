/* redact.h - the list of secrets that must never be printed.
 *
 * Whoever reads a password, token or key registers it here; whoever writes text that leaves the process
 * (log, error message, summary, ledger) passes it through redact_buf.  Process-wide on purpose: a secret
 * is a secret in every VM.  Loop thread only.
 */
#ifndef PERIGEE_REDACT_H
#define PERIGEE_REDACT_H

#include <stddef.h>

#include "host/buf.h"

/* Remembers the secret (copied).  Shorter than 4 bytes is ignored: it would blank ordinary words. */
void redact_add(const char *secret, size_t n);

/* Replaces each occurrence of each secret, plain, percent-encoded or JSON-escaped, in bytes from `start`
 * on by "[secret]". */
void redact_buf(struct buf *b, size_t start);

/* The same within a fixed NUL-terminated array; what no longer fits is cut. */
void redact_string(char *s, size_t size);

/* Appends url without user, password, and query string; for logs and errors. */
void redact_url(struct buf *out, const char *url);

/* Forgets all secrets and wipes them. */
void redact_clear(void);

#endif
