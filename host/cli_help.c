/* cli_help.c - --help and --version, from the tables and from the libraries. */
#include "host/cli.h"

#include <curl/curl.h>
#include <lauxlib.h>
#include <microhttpd.h>
#include <nettle/version.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "host/editor_line.h"
#include "host/text.h"

enum { HELP_COLUMN = 27, HELP_WIDTH = 100 };

static const char license_note[] = "The sources of perigee are MIT-licensed.  This program uses shared "
                                   "libraries under their own licences: Lua, libuv "
                                   "and lua-cjson (MIT), libcurl (curl), libmicrohttpd (LGPL-2.1-or-later), "
                                   "nettle (LGPL-3.0-or-later), SQLite "
                                   "(public domain), ";
static const char readline_note[] = "GNU readline (GPL-3.0-or-later); because of readline it may be passed "
                                    "on under the GPL, version 3 or later, as a "
                                    "whole.  make LINE_EDITOR=libedit builds one without it.";
static const char libedit_note[] = "libedit (BSD-3-Clause); none of them is under the GPL alone.";

/* Appends text in lines of HELP_WIDTH at the column; the cursor is at it already. */
static void put_wrapped(struct buf *out, const char *text, size_t column)
{
    size_t at = column;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at > column && at + 1 + text_width(text, n) > HELP_WIDTH) {
            buf_printf(out, "\n%*s", (int)column, "");
            at = column;
        } else if (at > column) {
            buf_putc(out, ' ');
            at++;
        }
        buf_append(out, text, n);
        at += text_width(text, n);
        text += n + strspn(text + n, " ");
    }
    buf_putc(out, '\n');
}

static void put_column(struct buf *out, size_t start)
{
    size_t width = text_width(out->data + start, out->len - start);
    if (width + 2 > HELP_COLUMN) {
        buf_putc(out, '\n');
        width = 0;
    }
    buf_printf(out, "%*s", (int)(HELP_COLUMN - width), "");
}

static void put_option(struct buf *out, const struct cli_option *option)
{
    size_t start = out->len;
    if (option->letter)
        buf_printf(out, "  -%c, --%s", option->letter, option->name);
    else
        buf_printf(out, "      --%s", option->name);
    if (option->argument) buf_printf(out, " %s", option->argument);
    put_column(out, start);
    struct buf help = {0};
    buf_puts(&help, option->help);
    if (option->choices) buf_printf(&help, ": %s", option->choices);
    put_wrapped(out, buf_str(&help), HELP_COLUMN);
    buf_deinit(&help);
}

static void put_program_help(struct buf *out)
{
    buf_puts(out,
             "perigee runs Lua scripts that use AI compute services, and is careful with their money.\n\n");
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        size_t start = out->len;
        buf_printf(out, "  perigee %s", c->name);
        put_column(out, start);
        buf_printf(out, "%s\n", c->summary);
    }
    buf_puts(out, "  perigee FILE [args…]     run FILE\n"
                  "  perigee help COMMAND     options of a command\n"
                  "  perigee --version        versions and licence (--json for machines)\n\n"
                  "Try it without an account:  perigee run --emulator FILE\n");
}

void cli_put_help(struct buf *out, const struct cli_command *command)
{
    if (command == NULL) {
        put_program_help(out);
        return;
    }
    buf_printf(out, "perigee %s %s\n%s\n\n", command->name, command->usage, command->summary);
    if (command->text) buf_printf(out, "%s\n\n", command->text);
    buf_puts(out, "Options:\n");
    for (const struct cli_option *o = command->options; o->name; o++) put_option(out, o);
}

/* [-0, +1, e] pushes lua-cjson's version: its library is loaded by Lua, not linked. */
static const char *push_cjson_version(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "cjson");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "_VERSION");
    lua_remove(L, -2);
    return luaL_optstring(L, -1, "unknown");
}

void cli_put_version(lua_State *L, struct buf *out, bool json)
{
    const char *cjson = push_cjson_version(L);
    char nettle[24];
    snprintf(nettle, sizeof nettle, "%d.%d", nettle_version_major(), nettle_version_minor());
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    const struct line_library *editor = line_library();
    const struct {
        const char *name, *version;
    } libraries[] = {
        {"Lua", LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE},
        {"libuv", uv_version_string()},
        {"libcurl", curl->version},
        {"libmicrohttpd", MHD_get_version()},
        {"nettle", nettle},
        {"SQLite", sqlite3_libversion()},
        {"lua-cjson", cjson},
        {editor->name, editor->version},
    };
    size_t count = sizeof libraries / sizeof libraries[0];
    buf_printf(out,
               json ? "{\"schema_version\":1,\"perigee\":\"%s\",\"mode\":\"%s\",\"libraries\":{"
                    : "perigee %s (%s build)\n",
               PERIGEE_VERSION, PERIGEE_MODE);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, json ? "%s\"%s\":\"%s\"" : "%s%s %s",
                   i == 0 ? ""
                   : json ? ","
                          : ", ",
                   libraries[i].name, libraries[i].version);
    if (json)
        buf_printf(out, "},\"license\":\"%s\"}\n", editor->license);
    else {
        struct buf note = {0};
        buf_puts(&note, license_note);
        buf_puts(&note, strcmp(editor->license, "MIT") == 0 ? libedit_note : readline_note);
        buf_printf(out, "\n\n");
        put_wrapped(out, buf_str(&note), 0);
        buf_deinit(&note);
    }
    lua_pop(L, 1);
}
