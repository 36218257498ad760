/* hmac.c - signatures, and the file that holds their key. */
#include "host/hmac.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "host/mem.h"

void hmac_sign(const uint8_t key[HMAC_KEY_SIZE], const void *text, size_t n, char out[HMAC_HEX_SIZE + 1])
{
    struct hmac_sha256_ctx hmac;
    uint8_t digest[HMAC_HEX_SIZE / 2];
    hmac_sha256_set_key(&hmac, HMAC_KEY_SIZE, key);
    hmac_sha256_update(&hmac, n, text);
    hmac_sha256_digest(&hmac, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

bool hmac_verify(const uint8_t key[HMAC_KEY_SIZE], const void *text, size_t n, const char *hex,
                 size_t hex_len)
{
    char own[HMAC_HEX_SIZE + 1];
    if (hex_len != HMAC_HEX_SIZE) return false;
    hmac_sign(key, text, n, own);
    return nettle_memeql_sec(own, hex, HMAC_HEX_SIZE) == 1;
}

/* ---- the key ---------------------------------------------------------------------------------------- */

static int fail(struct err *err, const char *path, int error)
{
    err_set(err, ERR_UNAVAILABLE, "the key file %s cannot be used: %s", path, strerror(error));
    return err_set_code(err, uv_err_name(uv_translate_sys_error(error)));
}

static int refuse(struct err *err, const char *path, const char *why)
{
    err_set(err, ERR_UNAVAILABLE, "the key file %s %s", path, why);
    return err_set_code(err, "key_file");
}

static int read_key(int fd, const char *path, uint8_t key[HMAC_KEY_SIZE], struct err *err)
{
    struct stat s;
    if (fstat(fd, &s) != 0) return fail(err, path, errno);
    if (!S_ISREG(s.st_mode) || s.st_size != HMAC_KEY_SIZE) return refuse(err, path, "does not hold a key");
    if ((s.st_mode & (S_IRWXG | S_IRWXO)) != 0) return refuse(err, path, "can be read by others: chmod 600");
    if (read(fd, key, HMAC_KEY_SIZE) != HMAC_KEY_SIZE) return fail(err, path, errno ? errno : EIO);
    return 0;
}

/* Makes the file whole or not at all; one that appeared meanwhile stays. */
static int make_key(const char *path, struct err *err)
{
    uint8_t key[HMAC_KEY_SIZE];
    size_t n = strlen(path) + 32;
    char *temporary = mem_alloc(n);
    snprintf(temporary, n, "%s.%ld", path, (long)getpid());
    unlink(temporary);
    int error = 0, fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0 || getrandom(key, sizeof key, 0) != sizeof key || write(fd, key, sizeof key) != sizeof key ||
        fsync(fd) != 0)
        error = errno ? errno : EIO;
    if (fd >= 0) close(fd);
    if (error == 0 && link(temporary, path) != 0 && errno != EEXIST) error = errno;
    unlink(temporary);
    mem_free(temporary);
    return error ? fail(err, path, error) : 0;
}

int hmac_key_load(const char *path, uint8_t key[HMAC_KEY_SIZE], struct err *err)
{
    for (int try = 0; try < 2; try++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0) {
            int rc = read_key(fd, path, key, err);
            close(fd);
            return rc;
        }
        if (errno != ENOENT || try) break;
        if (make_key(path, err) != 0) return -1;
    }
    return fail(err, path, errno);
}
