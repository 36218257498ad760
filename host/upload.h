/* upload.h - a request body read from a file, raw or as the one part of a multipart form.
 *
 * Constant memory whatever the size.  The size is fixed when the file is opened: bytes that grow later are
 * not sent, a file that shrinks is an error.  Reads block for as long as the disk does.
 */
#ifndef PERIGEE_UPLOAD_H
#define PERIGEE_UPLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/err.h"
#include "host/transport.h"

struct upload;

/* NULL and err `invalid` if it is not a readable regular file. */
struct upload *upload_open(const struct http_file_body *file, struct err *err);
void upload_close(struct upload *upload); /* NULL is allowed */

/* All bytes of the body, the multipart frame included. */
uint64_t upload_size(const struct upload *upload);

/* The value of the Content-Type header. */
const char *upload_content_type(const struct upload *upload);

/* The next bytes, at most n; 0 at the end; -1 if the file cannot be read or has shrunk. */
ssize_t upload_read(struct upload *upload, void *bytes, size_t n);

/* Begins again with the first byte. */
void upload_rewind(struct upload *upload);

#endif
