/* hmac.h - names that only we can have made: HMAC-SHA256 with a key that is kept in a file.
 *
 * A URL that carries such a signature can be checked without looking anything up, so a flood of forged ones
 * costs a hash each.
 */
#ifndef PERIGEE_HMAC_H
#define PERIGEE_HMAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/err.h"

enum { HMAC_KEY_SIZE = 32, HMAC_HEX_SIZE = 32 }; /* of a signature: 128 bits as hex digits */

/* Writes HMAC_HEX_SIZE digits and a NUL. */
void hmac_sign(const uint8_t key[HMAC_KEY_SIZE], const void *text, size_t n, char out[HMAC_HEX_SIZE + 1]);

/* True if `hex` is the text's signature; takes the same time wherever it differs. */
bool hmac_verify(const uint8_t key[HMAC_KEY_SIZE], const void *text, size_t n, const char *hex,
                 size_t hex_len);

/* The key in the file, which is made with a fresh one, mode 0600, if it is not there.  -1 with err
 * (unavailable, code) if it cannot be read or made, or others may read it, or it holds something else. */
int hmac_key_load(const char *path, uint8_t key[HMAC_KEY_SIZE], struct err *err);

#endif
