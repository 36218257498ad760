/* test_hmac.c - signatures against the vectors of RFC 4231, and the file of the key. */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/hmac.h"

static void test_vectors(void)
{
    /* RFC 4231, cases 1 and 3; a shorter key and the same one filled with zeros are the same to HMAC. */
    uint8_t key[HMAC_KEY_SIZE] = {0}, fifty[50];
    char hex[HMAC_HEX_SIZE + 1];
    memset(key, 0x0b, 20);
    hmac_sign(key, "Hi There", 8, hex);
    CHECK_STR(hex, "b0344c61d8db38535ca8afceaf0bf12b");
    memset(key, 0xaa, 20);
    memset(fifty, 0xdd, sizeof fifty);
    hmac_sign(key, fifty, sizeof fifty, hex);
    CHECK_STR(hex, "773ea91e36800e46854db8ebd09181a7");
}

static void test_verifies_nothing_else(void)
{
    uint8_t key[HMAC_KEY_SIZE] = {1}, other[HMAC_KEY_SIZE] = {2};
    char hex[HMAC_HEX_SIZE + 1];
    hmac_sign(key, "job/1", 5, hex);
    CHECK(hmac_verify(key, "job/1", 5, hex, HMAC_HEX_SIZE));
    CHECK(!hmac_verify(key, "job/2", 5, hex, HMAC_HEX_SIZE));
    CHECK(!hmac_verify(other, "job/1", 5, hex, HMAC_HEX_SIZE));
    CHECK(!hmac_verify(key, "job/1", 5, hex, HMAC_HEX_SIZE - 1));
    CHECK(!hmac_verify(key, "job/1", 5, "", 0));
    for (int i = 0; i < HMAC_HEX_SIZE; i++) {
        char forged[HMAC_HEX_SIZE + 1];
        memcpy(forged, hex, sizeof forged);
        forged[i] = forged[i] == '0' ? '1' : '0';
        CHECK(!hmac_verify(key, "job/1", 5, forged, HMAC_HEX_SIZE));
    }
}

static void write_file(const char *path, mode_t mode, const char *text)
{
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    fchmod(fd, mode);
    close(fd);
}

static void test_key_file(const char *directory)
{
    char path[96];
    uint8_t first[HMAC_KEY_SIZE] = {0}, second[HMAC_KEY_SIZE] = {0}, zero[HMAC_KEY_SIZE] = {0};
    struct err err = {0};
    struct stat s;
    snprintf(path, sizeof path, "%s/key", directory);

    CHECK_INT(hmac_key_load(path, first, &err), 0);
    CHECK(stat(path, &s) == 0 && (s.st_mode & 07777) == 0600 && s.st_size == HMAC_KEY_SIZE);
    CHECK_INT(hmac_key_load(path, second, &err), 0);
    CHECK(memcmp(first, second, sizeof first) == 0 && memcmp(first, zero, sizeof first) != 0);

    write_file(path, 0644, "0123456789012345678901234567890z");
    CHECK_INT(hmac_key_load(path, second, &err), -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    CHECK_STR(err.code, "key_file");
    write_file(path, 0600, "short");
    CHECK_INT(hmac_key_load(path, second, &err), -1);
    CHECK_STR(err.code, "key_file");
    unlink(path);
    CHECK(symlink("/dev/zero", path) == 0);
    CHECK_INT(hmac_key_load(path, second, &err), -1);
    unlink(path);
    CHECK_INT(hmac_key_load("/nonexistent/key", second, &err), -1);
    CHECK_STR(err.code, "ENOENT");
    CHECK(rmdir(directory) == 0); /* no half-made file is left */
}

int main(void)
{
    char directory[] = "/tmp/perigee-hmac-XXXXXX";
    if (mkdtemp(directory) == NULL) return 1;
    test_vectors();
    test_verifies_nothing_else();
    test_key_file(directory);
    HARNESS_END();
}
