/* jwt.h - reads when a JSON web token expires.
 *
 * The signature is the service's affair: we hold the token, we do not trust it.  Errors never quote it.
 */
#ifndef PERIGEE_JWT_H
#define PERIGEE_JWT_H

#include <stddef.h>
#include <stdint.h>

#include "host/err.h"

enum { JWT_NEVER = -1, JWT_LONGEST = 64 << 10 };

/* *expires_s becomes the claim `exp` in Unix seconds (a fraction is dropped), or JWT_NEVER if the token has
 * none.  0, or -1 with ERR_PARSE if this is no JWT. */
int jwt_expiry(const char *token, size_t n, int64_t *expires_s, struct err *err);

#endif
