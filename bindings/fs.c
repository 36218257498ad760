/* fs.c - perigee.core.fs: the verbs of host/files as waits, and SHA-256.
 *
 * One op type serves all verbs: the result is taken out of the job when it is done, and turned into values
 * by verb.  A cancelled wait forgets its job; files are never left half changed by that.
 */
#include "host/files.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/modules.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

static const char file_class[] = "perigee.fs.file";

enum { READ_CAP = 64 * 1024 * 1024, PIECE_MAX = 1024 * 1024 };

struct fs_op {
    struct op op;
    enum file_verb verb;
    char *path; /* to describe the wait */
    struct file_job *job;
    struct file_result result;
};

/* ---- the op ----------------------------------------------------------------------------------------- */

static void on_done(void *ctx, struct file_result *result)
{
    struct fs_op *op = ctx;
    op->job = NULL;
    op->result = *result;
    result->bytes = (struct buf){0};
    result->file = NULL;
    op_complete(&op->op);
}

static void fs_abort(struct op *op)
{
    struct fs_op *f = (struct fs_op *)op;
    files_forget(f->job);
    f->job = NULL;
}

static void fs_release(struct op *op)
{
    struct fs_op *f = (struct fs_op *)op;
    buf_deinit(&f->result.bytes);
    file_release(f->result.file);
    mem_free(f->path);
}

/* [-0, +1, e] {type=, size=, mtime=, mode=}, or nil if nothing is there */
static int push_stat(lua_State *L, const struct file_result *r)
{
    if (!r->found) {
        lua_pushnil(L);
        return 1;
    }
    const struct file_stat *s = &r->stat;
    char mode[8];
    snprintf(mode, sizeof mode, "%04o", (unsigned)s->mode & 07777);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, s->type == 'f'   ? "file"
                      : s->type == 'd' ? "folder"
                      : s->type == 'l' ? "link"
                                       : "other");
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, (lua_Integer)s->size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)s->mtime_ms / 1000);
    lua_setfield(L, -2, "mtime");
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "mode");
    return 1;
}

/* [-0, +1, e] */
static int push_names(lua_State *L, const struct buf *names)
{
    lua_newtable(L);
    const char *name = buf_str(names), *end = name + names->len;
    for (lua_Integer i = 1; name < end; i++, name += strlen(name) + 1) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* [-0, +1, e] */
static int push_file(lua_State *L, struct file_result *r)
{
    struct file **holder = luax_new(L, file_class, sizeof *holder);
    *holder = r->file;
    r->file = NULL;
    return 1;
}

/* [-0, +n, e] */
static int fs_finish(lua_State *L, struct op *op)
{
    struct fs_op *f = (struct fs_op *)op;
    struct file_result *r = &f->result;
    if (r->failed) luax_raise_err(L, &r->err);
    switch (f->verb) {
    case FILE_READ:
    case FILE_SHA256: lua_pushlstring(L, buf_str(&r->bytes), r->bytes.len); return 1;
    case FILE_READ_NEXT:
        if (r->bytes.len)
            lua_pushlstring(L, r->bytes.data, r->bytes.len);
        else
            lua_pushnil(L);
        return 1;
    case FILE_STAT: return push_stat(L, r);
    case FILE_LIST: return push_names(L, &r->bytes);
    case FILE_MKDIR: lua_pushboolean(L, !r->found); return 1;
    case FILE_REMOVE: lua_pushboolean(L, r->found); return 1;
    case FILE_OPEN: return push_file(L, r);
    case FILE_WRITE:
    case FILE_APPEND:
    case FILE_RENAME: return 0;
    }
    return 0;
}

static void fs_describe(const struct op *op, struct buf *out)
{
    const struct fs_op *f = (const struct fs_op *)op;
    if (f->path) buf_puts(out, f->path);
}

static const struct op_type fs_type = {
    .name = "fs",
    .abort = fs_abort,
    .finish = fs_finish,
    .release = fs_release,
    .describe = fs_describe,
};

/* [-0, +n, e] starts the request and waits: always a tail call */
static int start(lua_State *L, const struct file_request *request)
{
    struct fs_op *op = op_new(L, &fs_type, sizeof *op);
    op->verb = request->verb;
    op->path = mem_strdup(request->path);
    op->job = files_start(sched_loop(vm_sched(vm_of(L))), request, on_done, op);
    return op_park(L, &op->op);
}

/* ---- arguments -------------------------------------------------------------------------------------- */

/* [-0, +0, e] */
static const char *check_path(lua_State *L, int index, const char *function)
{
    size_t len;
    const char *path = luax_string(L, index, &len);
    if (path == NULL) luax_invalid(L, "%s: the path must be text, not %s", function, luaL_typename(L, index));
    if (len == 0 || strlen(path) != len) luax_invalid(L, "%s: the path is empty or holds a NUL", function);
    return path;
}

/* [-0, +0, e] */
static const char *check_bytes(lua_State *L, int index, const char *function, size_t *len)
{
    const char *bytes = luax_string(L, index, len);
    if (bytes == NULL)
        luax_invalid(L, "%s: what to write must be text, not %s", function, luaL_typename(L, index));
    return bytes;
}

/* [-0, +1, e] the option mode = "0600", or -1.  Numbers are refused: 600 would mean something else. */
static int opt_mode(lua_State *L, int index, const char *function)
{
    size_t len;
    const char *text = luax_opt_string(L, index, function, "mode", &len, NULL);
    if (text == NULL) return -1;
    char *end;
    unsigned long mode = strtoul(text, &end, 8);
    if (len < 3 || len > 5 || *end || strspn(text, "01234567") != len || mode > 07777)
        luax_invalid(L, "%s: mode must be octal digits like \"0600\"", function);
    return (int)mode;
}

/* ---- functions -------------------------------------------------------------------------------------- */

/* read(path, {max=}) -> text */
static int l_read(lua_State *L)
{
    static const char *const fields[] = {"max", NULL};
    luax_check_options(L, 2, "fs.read", fields);
    lua_Integer max = luax_opt_integer(L, 2, "fs.read", "max", READ_CAP, 0, (lua_Integer)1 << 40);
    return start(L, &(struct file_request){
                        .verb = FILE_READ, .path = check_path(L, 1, "fs.read"), .cap = (size_t)max});
}

/* write(path, text, {mode=}) */
static int l_write(lua_State *L)
{
    static const char *const fields[] = {"mode", NULL};
    luax_check_options(L, 3, "fs.write", fields);
    struct file_request r = {.verb = FILE_WRITE, .path = check_path(L, 1, "fs.write")};
    r.bytes = check_bytes(L, 2, "fs.write", &r.n);
    r.mode = opt_mode(L, 3, "fs.write");
    return start(L, &r);
}

/* append(path, text, {mode=, sync=}) */
static int l_append(lua_State *L)
{
    static const char *const fields[] = {"mode", "sync", NULL};
    luax_check_options(L, 3, "fs.append", fields);
    struct file_request r = {.verb = FILE_APPEND, .path = check_path(L, 1, "fs.append")};
    r.bytes = check_bytes(L, 2, "fs.append", &r.n);
    r.sync = luax_opt_boolean(L, 3, "fs.append", "sync", false);
    r.mode = opt_mode(L, 3, "fs.append");
    return start(L, &r);
}

/* stat(path, {follow=}) -> table or nil */
static int l_stat(lua_State *L)
{
    static const char *const fields[] = {"follow", NULL};
    luax_check_options(L, 2, "fs.stat", fields);
    return start(L, &(struct file_request){.verb = FILE_STAT,
                                           .path = check_path(L, 1, "fs.stat"),
                                           .no_follow = !luax_opt_boolean(L, 2, "fs.stat", "follow", true)});
}

/* list(path) -> {name, …} */
static int l_list(lua_State *L)
{
    return start(L, &(struct file_request){.verb = FILE_LIST, .path = check_path(L, 1, "fs.list")});
}

/* mkdir(path, {mode=}) -> whether it was made */
static int l_mkdir(lua_State *L)
{
    static const char *const fields[] = {"mode", NULL};
    luax_check_options(L, 2, "fs.mkdir", fields);
    struct file_request r = {.verb = FILE_MKDIR, .path = check_path(L, 1, "fs.mkdir")};
    r.mode = opt_mode(L, 2, "fs.mkdir");
    return start(L, &r);
}

/* remove(path, {recursive=}) -> whether something was there */
static int l_remove(lua_State *L)
{
    static const char *const fields[] = {"recursive", NULL};
    luax_check_options(L, 2, "fs.remove", fields);
    struct file_request r = {.verb = FILE_REMOVE, .path = check_path(L, 1, "fs.remove")};
    r.recursive = luax_opt_boolean(L, 2, "fs.remove", "recursive", false);
    if (r.recursive && strspn(r.path, "./") == strlen(r.path))
        luax_invalid(L, "fs.remove: \"%s\" is not removed with all that is in it", r.path);
    return start(L, &r);
}

/* rename(from, to) */
static int l_rename(lua_State *L)
{
    return start(L, &(struct file_request){.verb = FILE_RENAME,
                                           .path = check_path(L, 1, "fs.rename"),
                                           .to = check_path(L, 2, "fs.rename")});
}

/* sha256(path) -> 64 hex digits */
static int l_sha256(lua_State *L)
{
    return start(L, &(struct file_request){.verb = FILE_SHA256, .path = check_path(L, 1, "fs.sha256")});
}

/* sha256_text(text) -> 64 hex digits, at once */
static int l_sha256_text(lua_State *L)
{
    size_t len;
    const char *bytes = luax_string(L, 1, &len);
    if (bytes == NULL) luax_invalid(L, "fs.sha256_text: text is needed, not %s", luaL_typename(L, 1));
    char hex[65];
    files_sha256(bytes, len, hex);
    lua_pushlstring(L, hex, 64);
    return 1;
}

/* absolute(path) -> the same place, whatever the current folder is; at once, and nothing needs to be there */
static int l_absolute(lua_State *L)
{
    const char *path = check_path(L, 1, "fs.absolute");
    char folder[PATH_MAX];
    if (path[0] == '/' || getcwd(folder, sizeof folder) == NULL) {
        lua_settop(L, 1);
        return 1;
    }
    while (strncmp(path, "./", 2) == 0) path += 2;
    lua_pushfstring(L, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, path);
    return 1;
}

/* open(path) -> file, for reading */
static int l_open(lua_State *L)
{
    return start(L, &(struct file_request){.verb = FILE_OPEN, .path = check_path(L, 1, "fs.lines")});
}

/* file:read(most) -> text, or nil at the end */
static int l_file_read(lua_State *L)
{
    struct file **holder = luaL_checkudata(L, 1, file_class);
    lua_Integer most = luaL_checkinteger(L, 2);
    luaL_argcheck(L, most > 0 && most <= PIECE_MAX, 2, "out of range");
    if (*holder == NULL) luax_invalid(L, "file:read: the file is closed");
    return start(L, &(struct file_request){.verb = FILE_READ_NEXT, .file = *holder, .cap = (size_t)most});
}

static int l_file_close(lua_State *L)
{
    struct file **holder = luaL_checkudata(L, 1, file_class);
    file_release(*holder);
    *holder = NULL;
    return 0;
}

int luaopen_perigee_core_fs(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read", l_read},     {"write", l_write},
                                         {"append", l_append}, {"stat", l_stat},
                                         {"list", l_list},     {"mkdir", l_mkdir},
                                         {"remove", l_remove}, {"rename", l_rename},
                                         {"sha256", l_sha256}, {"sha256_text", l_sha256_text},
                                         {"open", l_open},     {"absolute", l_absolute},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"read", l_file_read}, {"close", l_file_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_file_close}, {"__close", l_file_close}, {NULL, NULL}};
    luax_class(L, file_class, methods, meta);
    luaL_newlib(L, functions);
    return 1;
}
