/* config.c - perigee.core.config: reading small files of settings and keeping secrets out of all output.
 *
 *   read_file(path[, private])  text, or nil, message, code ("not_found", "not_private", …)
 *   add_secret(text)            from now on blanked in logs, errors and summaries
 *   redact(text)                text with every known secret blanked
 * Reads at once, without waiting: for start-up only.  private: the file must keep others out.
 */
#include "bindings/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/buf.h"
#include "host/luax.h"
#include "host/redact.h"

enum { LARGEST_FILE = 1024 * 1024 };

struct failure {
    const char *code;
    char message[256];
};

/* The opened file is checked, not its name, so that it cannot be exchanged in between. */
static int check_file(int fd, bool private, struct failure *f)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
        f->code = "unreadable";
        snprintf(f->message, sizeof f->message, "is not a file");
        return -1;
    }
    if (private && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        f->code = "not_private";
        snprintf(f->message, sizeof f->message, "may be read by others (mode %03o)", st.st_mode & 0777U);
        return -1;
    }
    if (private && st.st_uid != geteuid() && st.st_uid != 0) {
        f->code = "not_private";
        snprintf(f->message, sizeof f->message, "belongs to another user");
        return -1;
    }
    return 0;
}

static int read_all(int fd, struct buf *text, struct failure *f)
{
    ssize_t n;
    while ((n = read(fd, buf_reserve(text, 4096), 4096)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || text->len + (size_t)n > LARGEST_FILE) {
            f->code = n < 0 ? "unreadable" : "too_large";
            snprintf(f->message, sizeof f->message, "%s", n < 0 ? strerror(errno) : "is larger than 1 MB");
            return -1;
        }
        buf_commit(text, (size_t)n);
    }
    return 0;
}

/* In the directory of systemd's credentials: kept private by other means than the mode, which may show the
 * mask of an ACL. */
static bool is_credential(const char *path)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    size_t n = directory ? strlen(directory) : 0;
    return n > 1 && strncmp(path, directory, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static int read_file(const char *path, bool private, struct buf *text, struct failure *f)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        f->code = errno == ENOENT || errno == ENOTDIR ? "not_found" : "unreadable";
        snprintf(f->message, sizeof f->message, "%s", strerror(errno));
        return -1;
    }
    int rc = check_file(fd, private && !is_credential(path), f);
    if (rc == 0) rc = read_all(fd, text, f);
    close(fd);
    return rc;
}

static int l_read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct failure f = {0};
    struct buf *text = luax_new_buf(L);
    if (read_file(path, lua_toboolean(L, 2), text, &f) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, f.message);
        lua_pushstring(L, f.code);
        return 3;
    }
    luax_push_buf(L, text);
    return 1;
}

static int l_add_secret(lua_State *L)
{
    size_t len;
    const char *secret = luaL_checklstring(L, 1, &len);
    redact_add(secret, len);
    return 0;
}

static int l_redact(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct buf *out = luax_new_buf(L);
    buf_append(out, text, len);
    redact_buf(out, 0);
    luax_push_buf(L, out);
    return 1;
}

int luaopen_perigee_core_config(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read_file", l_read_file}, {"add_secret", l_add_secret}, {"redact", l_redact}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
