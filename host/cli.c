/* cli.c - parsing the command line by the tables. */
#include "host/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/luax.h"
#include "host/random.h"

static const struct cli_command *find_command(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

/* ---- values ------------------------------------------------------------------------------------------- */

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *word = choices; *word;) {
        size_t len = strcspn(word, "|");
        if (len == n && memcmp(word, value, n) == 0) return true;
        word += len + (word[len] == '|');
    }
    return false;
}

static int parse_count(const char *value, int64_t *count)
{
    char *end;
    errno = 0;
    *count = isdigit((unsigned char)value[0]) ? strtoll(value, &end, 10) : -1;
    return *count >= 0 && *end == '\0' && errno == 0 ? 0 : -1;
}

static int parse_size(const char *value, int64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)value[0])) return -1;
    *bytes = strtoll(value, &end, 10);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (*end && unit == NULL) return -1;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (errno != 0 || *bytes > INT64_MAX >> shift) return -1;
    *bytes <<= shift;
    return unit && end[1] != '\0' ? -1 : 0;
}

/* "90" and "1.5" are seconds. */
static int parse_duration(const char *value, uint64_t *ms)
{
    enum { LONGEST_S = 366 * 86400 };
    char *end;
    double seconds = strtod(value, &end);
    if (!isdigit((unsigned char)value[0]) || *end != '\0') return luax_parse_duration(value, ms);
    if (!(seconds <= LONGEST_S)) return -1;
    *ms = (uint64_t)(seconds * 1000 + 0.5);
    return 0;
}

static int parse_rate(const char *value, double *rate)
{
    char *end;
    *rate = strtod(value, &end);
    return end != value && *end == '\0' && *rate > 0 && isfinite(*rate) ? 0 : -1;
}

/* "127.0.0.1:8420", "[::1]:0", "host:80" */
/* "HOST:PORT", or a port of this machine's own address. */
static bool is_address(const char *value)
{
    int64_t port;
    const char *colon = strrchr(value, ':');
    if (colon == NULL) return parse_count(value, &port) == 0 && port <= UINT16_MAX;
    return colon != value && parse_count(colon + 1, &port) == 0 && port <= UINT16_MAX;
}

static bool is_url(const char *value)
{
    const char *host = strncmp(value, "https://", 8) == 0  ? value + 8
                       : strncmp(value, "http://", 7) == 0 ? value + 7
                                                           : "";
    return *host && *host != '/' && host[strcspn(host, "?# \t\r\n")] == '\0';
}

/* What a right value looks like, or NULL if this one is right. */
static const char *complaint(const struct cli_option *option, const char *value)
{
    int64_t integer;
    uint64_t ms;
    double number;
    switch (option->type) {
    case CLI_FLAG: return "no value";
    case CLI_CODE: return NULL;
    case CLI_TEXT: return *value ? NULL : "a value that is not empty";
    case CLI_COUNT: return parse_count(value, &integer) == 0 ? NULL : "a whole number";
    case CLI_DURATION:
        return parse_duration(value, &ms) == 0 && ms > 0 ? NULL : "a time such as 30s, 5m or 2h";
    case CLI_SIZE: return parse_size(value, &integer) == 0 ? NULL : "a size such as 512M or 2G";
    case CLI_ADDRESS: return is_address(value) ? NULL : "an address such as 127.0.0.1:8420";
    case CLI_URL: return is_url(value) ? NULL : "a URL such as https://example.org/hooks";
    case CLI_RATE: return parse_rate(value, &number) == 0 ? NULL : "a number above 0";
    case CLI_CHOICE: return is_choice(option->choices, value) ? NULL : option->choices;
    }
    return NULL;
}

/* ---- options ------------------------------------------------------------------------------------------ */

/* Appends ", did you mean --NAME?" when an option has a name like that. */
static void suggest_option(struct buf *message, const struct cli_command *command, const char *name)
{
    const char *names[CLI_MOST_OPTIONS + 1] = {0};
    for (int i = 0; command->options[i].name; i++) names[i] = command->options[i].name;
    const char *nearest = luax_nearest(name, names);
    if (nearest) buf_printf(message, ", did you mean --%s?", nearest);
}

static int unknown_option(struct cli *cli, const char *word, size_t n, struct buf *message)
{
    struct buf name = {0};
    buf_append(&name, word, n);
    buf_printf(message, "%s: unknown option %s", cli->command->name, buf_str(&name));
    suggest_option(message, cli->command, name.data + strspn(name.data, "-"));
    buf_deinit(&name);
    return -1;
}

static int set_value(struct cli *cli, int i, const char *shown, const char *value, struct buf *message)
{
    const struct cli_option *option = &cli->command->options[i];
    if (cli->values[i] && option->type != CLI_FLAG) {
        buf_printf(message, "%s: %s is given twice", cli->command->name, shown);
        return -1;
    }
    const char *wanted = option->type == CLI_FLAG ? NULL : complaint(option, value);
    if (wanted) {
        buf_printf(message, "%s: %s takes %s, not '%s'", cli->command->name, shown, wanted, value);
        return -1;
    }
    cli->values[i] = value;
    if (strcmp(option->name, "help") == 0) cli->help = true;
    return 0;
}

/* Takes the option in argv[at] and its value; returns the index of the next word, or -1. */
static int take_option(struct cli *cli, int argc, char **argv, int at, struct buf *message)
{
    const struct cli_option *options = cli->command->options;
    const char *word = argv[at], *value = NULL;
    bool is_long = word[1] == '-';
    size_t n = is_long ? strcspn(word, "=") : 2;
    int i = 0;
    for (; options[i].name; i++)
        if (is_long ? strlen(options[i].name) == n - 2 && memcmp(options[i].name, word + 2, n - 2) == 0
                    : options[i].letter == word[1])
            break;
    if (options[i].name == NULL) return unknown_option(cli, word, n, message);
    if (word[n] != '\0') value = word + n + (is_long ? 1 : 0);
    char shown[40] = {0};
    memcpy(shown, word, n < sizeof shown - 1 ? n : sizeof shown - 1);
    if (options[i].type == CLI_FLAG) {
        if (value) {
            buf_printf(message, "%s: %s takes no value", cli->command->name, shown);
            return -1;
        }
        value = "";
    } else if (value == NULL) {
        if (at + 1 >= argc) {
            buf_printf(message, "%s: %s needs %s", cli->command->name, shown, options[i].argument);
            return -1;
        }
        value = argv[++at];
    }
    return set_value(cli, i, shown, value, message) == 0 ? at + 1 : -1;
}

bool cli_has(const struct cli *cli, const char *name)
{
    for (int i = 0; cli->command->options[i].name; i++)
        if (strcmp(cli->command->options[i].name, name) == 0) return cli->values[i] != NULL;
    return false;
}

/* 0, or -1 with errno */
static int check_script(const char *path)
{
    struct stat st;
    if (access(path, R_OK) != 0 || stat(path, &st) != 0) return -1;
    return S_ISDIR(st.st_mode) ? (errno = EISDIR, -1) : 0;
}

static int check_words(const struct cli *cli, struct buf *message)
{
    const struct cli_command *c = cli->command;
    if (cli->help) return 0;
    if (cli->arg_count < c->least_words) {
        buf_printf(message, "%s: something is missing: perigee %s %s", c->name, c->name, c->usage);
        return -1;
    }
    if (c->most_words < 0 || cli->arg_count <= c->most_words) return 0;
    const char *word = cli->args[c->most_words];
    if (c->most_words == 0)
        buf_printf(message, "%s: '%s' is not an option", c->name, word);
    else
        buf_printf(message, "%s: '%s' is one word too many: perigee %s %s", c->name, word, c->name, c->usage);
    return -1;
}

/* Words and options in any order; the words are gathered in front. */
static int parse_words(struct cli *cli, int argc, char **argv, int at, struct buf *message)
{
    int first = at;
    bool words_only = false;
    cli->args = argv + first;
    while (at < argc) {
        char *word = argv[at];
        if (!words_only && word[0] == '-' && word[1] != '\0') {
            words_only = strcmp(word, "--") == 0;
            at = words_only ? at + 1 : take_option(cli, argc, argv, at, message);
            if (at < 0) return -1;
            continue;
        }
        char **slot = cli->args + cli->arg_count++;
        memmove(slot + 1, slot, (size_t)(argv + at - slot) * sizeof *slot);
        *slot = word;
        at++;
    }
    return check_words(cli, message);
}

static int check_script_word(const struct cli *cli, struct buf *message)
{
    if (cli->help || cli_has(cli, "execute")) return 0;
    if (cli->arg_count == 0 && cli->command->script_optional) return 0;
    if (cli->arg_count == 0) {
        buf_printf(message, "%s: no script given; a file, - for standard input, or -e CODE",
                   cli->command->name);
        return -1;
    }
    if (strcmp(cli->args[0], "-") == 0 || check_script(cli->args[0]) == 0) return 0;
    buf_printf(message, "%s: cannot read %s: %s", cli->command->name, cli->args[0], strerror(errno));
    return -1;
}

static int parse_command(struct cli *cli, int argc, char **argv, int at, struct buf *message)
{
    if (!cli->command->takes_script) return parse_words(cli, argc, argv, at, message);
    while (at < argc && argv[at][0] == '-' && argv[at][1] != '\0') {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        at = take_option(cli, argc, argv, at, message);
        if (at < 0) return -1;
    }
    cli->args = argv + at;
    cli->arg_count = argc - at;
    return check_script_word(cli, message);
}

/* ---- the first word ----------------------------------------------------------------------------------- */

static int not_a_command(const char *word, struct buf *message)
{
    const char *names[CLI_MOST_COMMANDS + 2] = {"help"};
    for (int i = 0; cli_commands[i].name; i++) names[i + 1] = cli_commands[i].name;
    buf_printf(message, "'%s' is neither a command nor a file", word);
    const char *nearest = luax_nearest(word, names);
    if (nearest) buf_printf(message, ", did you mean `perigee %s`?", nearest);
    return -1;
}

static int parse_help(struct cli *cli, int argc, char **argv, struct buf *message)
{
    cli->help = true;
    if (argc < 3) return 0;
    cli->command = find_command(argv[2]);
    return cli->command ? 0 : not_a_command(argv[2], message);
}

static int parse_version(struct cli *cli, int argc, char **argv, struct buf *message)
{
    cli->version = true;
    if (argc < 3) return 0;
    cli->json = strcmp(argv[2], "--json") == 0;
    if (cli->json && argc == 3) return 0;
    buf_printf(message, "--version: '%s' is not an option; --json is", argv[cli->json ? 3 : 2]);
    return -1;
}

int cli_parse(struct cli *cli, int argc, char **argv, struct buf *message)
{
    memset(cli, 0, sizeof *cli);
    if (argc < 2) {
        buf_puts(message, "a command or a script is missing");
        return -1;
    }
    const char *first = argv[1];
    if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return parse_help(cli, argc, argv, message);
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0)
        return parse_version(cli, argc, argv, message);
    cli->command = find_command(first);
    if (cli->command) return parse_command(cli, argc, argv, 2, message);
    if (first[0] != '-' && access(first, F_OK) != 0 && strpbrk(first, "./") == NULL)
        return not_a_command(first, message);
    cli->command = find_command("run");
    return parse_command(cli, argc, argv, 1, message);
}

/* ---- to Lua ------------------------------------------------------------------------------------------- */

/* [-0, +1, e] */
static void push_value(lua_State *L, const struct cli_option *option, const char *value)
{
    int64_t integer = 0;
    uint64_t ms = 0;
    double number = 0;
    switch (option->type) {
    case CLI_FLAG: lua_pushboolean(L, 1); break;
    case CLI_TEXT:
    case CLI_CODE:
    case CLI_URL:
    case CLI_CHOICE: lua_pushstring(L, value); break;
    case CLI_ADDRESS: lua_pushfstring(L, strchr(value, ':') ? "%s" : "127.0.0.1:%s", value); break;
    case CLI_COUNT:
        parse_count(value, &integer);
        lua_pushinteger(L, integer);
        break;
    case CLI_SIZE:
        parse_size(value, &integer);
        lua_pushinteger(L, integer);
        break;
    case CLI_DURATION:
        parse_duration(value, &ms);
        lua_pushnumber(L, (lua_Number)ms / 1000);
        break;
    case CLI_RATE:
        parse_rate(value, &number);
        lua_pushnumber(L, number);
        break;
    }
}

void cli_push(lua_State *L, const struct cli *cli)
{
    lua_newtable(L);
    lua_pushstring(L, cli->command->name);
    lua_setfield(L, -2, "command");
    lua_createtable(L, cli->arg_count, 0);
    for (int i = 0; i < cli->arg_count; i++) {
        lua_pushstring(L, cli->args[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "args");
    for (int i = 0; cli->command->options[i].name; i++) {
        if (cli->values[i] == NULL) continue;
        luaL_gsub(L, cli->command->options[i].name, "-", "_");
        push_value(L, &cli->command->options[i], cli->values[i]);
        lua_rawset(L, -3);
    }
}

uint64_t cli_seed(const struct cli *cli)
{
    int64_t seed;
    for (int i = 0; cli->command && cli->command->options[i].name; i++)
        if (strcmp(cli->command->options[i].name, "seed") == 0 && cli->values[i] &&
            parse_count(cli->values[i], &seed) == 0)
            return (uint64_t)seed;
    const char *variable = getenv("PERIGEE_SEED");
    if (variable && parse_count(variable, &seed) == 0) return (uint64_t)seed;
    return random_fresh_seed();
}

void cli_push_option_names(lua_State *L)
{
    lua_Integer n = 0;
    lua_newtable(L);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        for (const struct cli_option *o = c->options; c->configurable && o->name; o++) {
            lua_pushstring(L, o->name);
            lua_rawseti(L, -2, ++n);
        }
    }
}

const char *cli_read_option(lua_State *L, const char *name, const char *text)
{
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        for (const struct cli_option *o = c->options; o->name; o++) {
            if (strcmp(o->name, name) != 0) continue;
            const char *wanted = o->type == CLI_FLAG ? NULL : complaint(o, text);
            if (wanted == NULL) push_value(L, o, text);
            return wanted;
        }
    }
    return "no value: there is no such option";
}
