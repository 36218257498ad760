/* cli.h - the command line: one table for each command, from which parsing, --help and shell completion come.
 *
 * Knows words, not deeds: what a command does is main.c's and scripts/lib/run.lua's.  No global state.
 */
#ifndef PERIGEE_CLI_H
#define PERIGEE_CLI_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"

enum cli_type {
    CLI_FLAG,     /* takes no value */
    CLI_TEXT,     /* any value that is not empty */
    CLI_CODE,     /* any value */
    CLI_COUNT,    /* a whole number, 0 or more */
    CLI_DURATION, /* seconds, or "500ms" "30s" "5m" "2h" "1d" */
    CLI_SIZE,     /* bytes, or "64K" "512M" "2G" (powers of 1024) */
    CLI_CHOICE,   /* one of the words in `choices`, separated by | */
    CLI_ADDRESS,  /* "HOST:PORT", or "PORT" of this machine alone */
    CLI_URL,      /* "https://host/path", without a query */
    CLI_RATE      /* a number above 0 */
};

struct cli_option {
    const char *name; /* "log-level"; the field of the Lua table is log_level */
    char letter;      /* 0: none */
    enum cli_type type;
    const char *argument; /* what --help calls the value: "DURATION"; NULL for flags */
    const char *choices;
    const char *help; /* one sentence without full stop */
};

struct cli_command {
    const char *name;
    const char *usage;                /* what follows the name: "[options] FILE [args…]" */
    const char *summary;              /* one line for the list of commands */
    const char *text;                 /* paragraphs below the usage line; may be NULL */
    const struct cli_option *options; /* ends with an entry whose name is NULL */
    bool configurable;    /* its options can also be set by PERIGEE_ variables and the configuration file */
    bool takes_script;    /* the first word that is no option ends the options: the rest is the script's */
    bool script_optional; /* with takes_script: there need not be one */
    int least_words;      /* without a script: how many words it takes, among the options or behind them; */
    int most_words;       /* -1: any number */
};

enum { CLI_MOST_OPTIONS = 32, CLI_MOST_COMMANDS = 40 };

/* What was asked for.  Strings are argv's. */
struct cli {
    const struct cli_command *command; /* NULL: only help or version was asked for */
    bool help, version, json;
    const char *values[CLI_MOST_OPTIONS]; /* by index in command->options; "" for a flag; NULL: not given */
    char **args;                          /* the words that are no options */
    int arg_count;
};

/* All commands, ends with an entry whose name is NULL. */
extern const struct cli_command cli_commands[];

/* 0, or -1 with a message for the user in `message` (no line end). */
int cli_parse(struct cli *cli, int argc, char **argv, struct buf *message);

/* Appends the help of the command, or of the program when command is NULL. */
void cli_put_help(struct buf *out, const struct cli_command *command);

/* Appends versions of program and libraries and the licence of this binary, as text or JSON.
 * [-0, +0, e] L is asked for lua-cjson's version. */
void cli_put_version(lua_State *L, struct buf *out, bool json);

/* [-0, +1, e] pushes a table: command, args, and a field for each option given, durations in seconds,
 * sizes in bytes, flags true. */
void cli_push(lua_State *L, const struct cli *cli);

/* The option was given. */
bool cli_has(const struct cli *cli, const char *name);

/* The --seed, else PERIGEE_SEED, else a fresh one. */
uint64_t cli_seed(const struct cli *cli);

/* [-0, +1, m] pushes a list of the names of all options, in the order of the tables. */
void cli_push_option_names(lua_State *L);

/* [-0, +1 or +0, m] pushes the value that the text means for the option of that name, and returns NULL; or
 * pushes nothing and returns what a right value looks like. */
const char *cli_read_option(lua_State *L, const char *name, const char *text);

#endif
