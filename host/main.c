/* main.c - the program: reads the command line, makes the engines, and runs the command.
 *
 * Owns: the order of starting and stopping.  The one file of host/ that names bindings/.
 */
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/engines.h"
#include "bindings/modules.h"
#include "host/buf.h"
#include "host/cli.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/random.h"
#include "host/redact.h"
#include "host/run.h"
#include "host/term.h"
#include "host/vm.h"

/* A descriptor 0, 1 or 2 that the caller had closed would else go to the next file or socket that is opened,
 * and printing would write into it. */
static void open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) != fd) abort();
}

static void put(enum term_stream stream, const struct buf *text)
{
    term_write_untrusted(term_process(), stream, buf_str(text), text->len);
}

static int usage_error(const struct cli *cli, const struct buf *message)
{
    struct buf text = {0};
    buf_printf(&text, "perigee: %s\n`perigee help%s%s` tells more\n", buf_str(message),
               cli->command ? " " : "", cli->command ? cli->command->name : "");
    put(TERM_ERR, &text);
    buf_deinit(&text);
    return RUN_USAGE;
}

static int show_help(const struct cli *cli)
{
    struct buf text = {0};
    cli_put_help(&text, cli->command);
    put(TERM_OUT, &text);
    buf_deinit(&text);
    return RUN_OK;
}

static int l_put_version(lua_State *L)
{
    cli_put_version(L, lua_touserdata(L, 1), lua_toboolean(L, 2));
    return 0;
}

/* lua-cjson is loaded by Lua, so its version is asked in a VM. */
static int show_version(struct run *run, bool json)
{
    struct buf text = {0};
    struct vm_config config = {.name = "version", .modules = binding_modules};
    struct vm *vm = vm_new(run_sched(run), &config);
    lua_State *L = vm_state(vm);
    lua_pushcfunction(L, l_put_version);
    lua_pushlightuserdata(L, &text);
    lua_pushboolean(L, json);
    bool ok = lua_pcall(L, 2, 0, 0) == LUA_OK;
    if (!ok) buf_printf(&text, "perigee: %s\n", luax_error_text(L, -1));
    put(ok ? TERM_OUT : TERM_ERR, &text);
    buf_deinit(&text);
    vm_free(vm);
    return ok ? RUN_OK : RUN_ERROR;
}

static int run_program(struct run *run, const struct cli *cli, int argc, char **argv)
{
    struct engines *engines = engines_new(run_sched(run));
    struct run_config config = {.cli = cli,
                                .argc = argc,
                                .argv = argv,
                                .modules = binding_modules,
                                .install = engines_install,
                                .ctx = engines};
    int status = run_command(run, &config);
    run_close_vms(run);
    engines_free(engines);
    return status;
}

/* Virtual time stands still while a socket of ours is waited on, and an emulator behind a socket always is:
 * the run would never end. */
static bool would_stand_still(const struct cli *cli, struct buf *message)
{
    bool serves = strcmp(cli->command->name, "emulator") == 0 || cli_has(cli, "emulator");
    if (!serves || getenv("PERIGEE_VIRTUAL_TIME") == NULL) return false;
    buf_printf(message,
               "the emulator listens on a socket, where PERIGEE_VIRTUAL_TIME would stand still: unset it");
    return true;
}

int main(int argc, char **argv)
{
    struct cli cli;
    struct buf message = {0};
    open_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    term_take_log(term_process());
    int status = cli_parse(&cli, argc, argv, &message);
    if (status != 0) {
        status = usage_error(&cli, &message);
    } else if (cli.help) {
        status = show_help(&cli);
    } else if (!cli.version && would_stand_still(&cli, &message)) {
        status = usage_error(&cli, &message);
    } else {
        struct run *run = run_new(cli_seed(&cli));
        status = cli.version ? show_version(run, cli.json) : run_program(run, &cli, argc, argv);
        run_free(run);
    }
    buf_deinit(&message);
    log_keep(LOG_LEVEL_OFF, 0);
    log_close_file();
    redact_clear();
    return status;
}
