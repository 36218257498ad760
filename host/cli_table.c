/* cli_table.c - the commands and their options, as data. */
#include "host/cli.h"

/* Options every command understands that runs Lua. */
#define COMMON_OPTIONS                                                                                       \
    {"seed", 0, CLI_COUNT, "N", NULL, "seed of jitter, sampling and faults, to repeat a run"},               \
        {"log-level",                                                                                        \
         0,                                                                                                  \
         CLI_CHOICE,                                                                                         \
         "LEVEL",                                                                                            \
         "debug|info|warn|error|off",                                                                        \
         "least level of log lines (default: warn)"},                                                        \
        {"log-format", 0, CLI_CHOICE, "FORMAT", "text|json", "log lines for people or for machines"},        \
        {"log-file", 0, CLI_TEXT, "FILE", NULL, "log lines go to FILE, opened anew on SIGUSR2"},             \
        {"quiet", 'q', CLI_FLAG, NULL, NULL, "no notices, no progress, no summary; errors only"},            \
    {                                                                                                        \
        "help", 'h', CLI_FLAG, NULL, NULL, "this text"                                                       \
    }

/* Options of commands about a state directory that is there; those for machines to read. */
#define STATE_OPTION                                                                                         \
    {                                                                                                        \
        "state", 0, CLI_TEXT, "DIR", NULL, "the state directory (default: ~/.local/state/perigee)"           \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "json", 0, CLI_FLAG, NULL, NULL, "one JSON document on standard output, for machines"                \
    }

static const struct cli_option run_options[] = {
    {"execute", 'e', CLI_CODE, "CODE", NULL, "run CODE in place of a file"},
    {"emulator", 0, CLI_FLAG, NULL, NULL,
     "start an emulator of both services and point the clients at it: no account, no cost"},
    {"timeout", 0, CLI_DURATION, "DURATION", NULL, "end the script after this time with exit code 124"},
    {"budget", 0, CLI_TEXT, "AMOUNT", NULL, "most the run may spend, such as '5 CCD' or '5 CCD, 20 CNY'"},
    {"require-budget", 0, CLI_FLAG, NULL, NULL, "refuse paid calls that no budget and no max_cost bounds"},
    {"unknown-after", 0, CLI_DURATION, "DURATION", NULL,
     "when money of a paid call whose outcome is unknown counts as spent (default: 24h)"},
    {"on-interrupt", 0, CLI_CHOICE, "WHAT", "stop|leave",
     "remote jobs that can be stopped when the run is interrupted (default: stop on Ctrl-C at a terminal, "
     "leave otherwise)"},
    {"listen", 0, CLI_ADDRESS, "HOST:PORT", NULL, "where the receiver of callbacks listens"},
    {"public-url", 0, CLI_URL, "URL", NULL, "how services reach that receiver from outside"},
    {"state", 0, CLI_TEXT, "DIR", NULL,
     "where jobs, budgets and stored values are kept; ':memory:' keeps nothing (default: "
     "~/.local/state/perigee, :memory: with --emulator)"},
    {"max-memory", 0, CLI_SIZE, "SIZE", NULL, "most memory the script may use, such as 512M"},
    {"max-step", 0, CLI_DURATION, "DURATION", NULL,
     "longest the script may compute without waiting (default: 10s)"},
    {"env-file", 0, CLI_TEXT, "FILE", NULL, "read variables from FILE (NAME=value lines)"},
    {"summary", 0, CLI_TEXT, "FILE.json", NULL, "write the closing summary as JSON to FILE.json as well"},
    {"no-progress", 0, CLI_FLAG, NULL, NULL, "no progress bars and no progress lines"},
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option repl_options[] = {
    {"emulator", 0, CLI_FLAG, NULL, NULL,
     "start an emulator of both services and point the clients at it: no account, no cost"},
    {"yes", 'y', CLI_FLAG, NULL, NULL,
     "paid calls go without being asked about; budgets and max_cost still hold"},
    {"attach", 0, CLI_FLAG, NULL, NULL, "open a console in the running daemon of the state directory"},
    {"write", 0, CLI_FLAG, NULL, NULL, "attach: let the console change things, too"},
    {"no-history", 0, CLI_FLAG, NULL, NULL, "neither read nor keep the history of lines"},
    {"budget", 0, CLI_TEXT, "AMOUNT", NULL, "most the session may spend, such as '5 CCD' or '5 CCD, 20 CNY'"},
    {"require-budget", 0, CLI_FLAG, NULL, NULL, "refuse paid calls that no budget and no max_cost bounds"},
    {"unknown-after", 0, CLI_DURATION, "DURATION", NULL,
     "when money of a paid call whose outcome is unknown counts as spent (default: 24h)"},
    {"on-interrupt", 0, CLI_CHOICE, "WHAT", "stop|leave",
     "remote jobs that can be stopped when Ctrl-C ends the call that waits for them (default: stop)"},
    {"listen", 0, CLI_ADDRESS, "HOST:PORT", NULL, "where the receiver of callbacks listens"},
    {"public-url", 0, CLI_URL, "URL", NULL, "how services reach that receiver from outside"},
    {"state", 0, CLI_TEXT, "DIR", NULL,
     "where jobs, budgets, stored values and the history are kept; ':memory:' keeps nothing (default: "
     "~/.local/state/perigee, :memory: with --emulator)"},
    {"max-memory", 0, CLI_SIZE, "SIZE", NULL, "most memory the session may use, such as 512M"},
    {"max-step", 0, CLI_DURATION, "DURATION", NULL,
     "longest a line may compute without waiting (default: 10s)"},
    {"env-file", 0, CLI_TEXT, "FILE", NULL, "read variables from FILE (NAME=value lines)"},
    {"no-progress", 0, CLI_FLAG, NULL, NULL, "no progress bars and no progress lines"},
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option emulator_options[] = {
    {"listen", 0, CLI_ADDRESS, "HOST:PORT", NULL,
     "where it listens (default: 127.0.0.1:8420; port 0 takes a free one)"},
    {"faults", 0, CLI_TEXT, "FAULTS", NULL, "faults to inject, such as 'drop_after=0.05,delay=0.1'"},
    {"speed", 0, CLI_RATE, "FACTOR", NULL, "how much faster than life jobs go (default: 1)"},
    {"era", 0, CLI_CHOICE, "ERA", "A|B|B2|C",
     "which generation of the SXWL interface it speaks (default: B)"},
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option jobs_options[] = {
    STATE_OPTION,
    {"status", 0, CLI_TEXT, "STATE", NULL, "list: only jobs in this state, such as running"},
    {"service", 0, CLI_CHOICE, "SERVICE", "deai|sxwl", "list: only jobs of this service"},
    {"policy", 0, CLI_TEXT, "POLICY", NULL, "list: only jobs of this policy"},
    {"name", 0, CLI_TEXT, "NAME", NULL, "list: only jobs of this name"},
    {"limit", 0, CLI_COUNT, "N", NULL, "list: at most so many (default: 50)"},
    {"all", 'a', CLI_FLAG, NULL, NULL, "list: also older jobs that have ended"},
    {"key", 0, CLI_TEXT, "KEY", NULL, "the key of the job, where JOB is a name"},
    {"yes", 'y', CLI_FLAG, NULL, NULL, "forget: do not ask"},
    JSON_OPTION,
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option journal_options[] = {
    STATE_OPTION,
    {"keep", 0, CLI_DURATION, "DURATION", NULL, "compact: keep what ended within this time (default: 90d)"},
    JSON_OPTION,
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option why_options[] = {
    STATE_OPTION, {"key", 0, CLI_TEXT, "KEY", NULL, "the key of the job, where JOB is a name"},
    JSON_OPTION,  COMMON_OPTIONS,
    {0},
};

static const struct cli_option daemon_options[] = {
    {"config", 0, CLI_TEXT, "FILE", NULL,
     "the configuration file (default: $XDG_CONFIG_HOME/perigee/config.lua)"},
    STATE_OPTION,
    {"listen", 0, CLI_ADDRESS, "HOST:PORT", NULL,
     "where callbacks of services are received; nothing else is served there"},
    {"public-url", 0, CLI_URL, "URL", NULL, "how services reach that receiver from outside"},
    {"admin-listen", 0, CLI_ADDRESS, "HOST:PORT", NULL, "where /healthz, /readyz and /metrics are served"},
    {"emulator", 0, CLI_FLAG, NULL, NULL,
     "start an emulator of both services and point the clients at it: no account, no cost"},
    {"watch", 0, CLI_FLAG, NULL, NULL, "read the policies again when one of their files has changed"},
    {"grace", 0, CLI_DURATION, "DURATION", NULL,
     "how long hooks and requests under way may take when the daemon is to end (default: 30s)"},
    {"unknown-after", 0, CLI_DURATION, "DURATION", NULL,
     "when money of a paid call whose outcome is unknown counts as spent (default: 24h)"},
    {"keep", 0, CLI_DURATION, "DURATION", NULL,
     "how long jobs and decisions that have ended stay in the journal (default: 90d)"},
    {"max-memory", 0, CLI_SIZE, "SIZE", NULL, "most memory of each policy (default: 256M)"},
    {"max-step", 0, CLI_DURATION, "DURATION", NULL,
     "longest a policy may compute without waiting (default: 2s)"},
    {"env-file", 0, CLI_TEXT, "FILE", NULL, "read variables from FILE (NAME=value lines)"},
    COMMON_OPTIONS,
    {0},
};

/* What commands to a running daemon take. */
static const struct cli_option control_options[] = {
    STATE_OPTION,
    JSON_OPTION,
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option check_options[] = {
    {"config", 0, CLI_TEXT, "FILE", NULL, "check this configuration file too, and look settings up in it"},
    {"env-file", 0, CLI_TEXT, "FILE", NULL, "read variables from FILE (NAME=value lines)"},
    JSON_OPTION,
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option spend_options[] = {
    {"by", 0, CLI_CHOICE, "WHAT", "total|policy|job|tag|day|service|operation",
     "one line for each of these (default: total)"},
    {"since", 0, CLI_TEXT, "WHEN", NULL, "only calls from then on: a date (UTC) or an age such as 7d"},
    {"until", 0, CLI_TEXT, "WHEN", NULL, "only calls before then"},
    STATE_OPTION,
    JSON_OPTION,
    COMMON_OPTIONS,
    {0},
};

static const struct cli_option notify_options[] = {
    STATE_OPTION,
    {"config", 0, CLI_TEXT, "FILE", NULL, "the configuration that says where messages go"},
    {"env-file", 0, CLI_TEXT, "FILE", NULL, "read variables from FILE (NAME=value lines)"},
    JSON_OPTION,
    COMMON_OPTIONS,
    {0},
};

const struct cli_command cli_commands[] = {
    {.name = "run",
     .usage = "[options] FILE [args…]",
     .summary = "run an automation script",
     .text =
         "FILE is a Lua script; - reads it from standard input; -e CODE takes its place.  What follows FILE "
         "is\n"
         "the script's own (the table arg).  `perigee FILE …` is short for `perigee run FILE …`.\n\n"
         "Exit codes: 0 done, 1 script error, 2 usage, 3 configuration or credentials, 4 denied by a gate,\n"
         "5 outcome of a paid call unknown, 6 partly done, 70 stuck, 71 deadlock, 124 time-out,\n"
         "129 130 143 ended by SIGHUP, SIGINT, SIGTERM; else what os.exit says.",
     .options = run_options,
     .configurable = true,
     .takes_script = true},
    {.name = "approve",
     .usage = "[options] JOB",
     .summary = "let a held job go",
     .text = "JOB is the id of the job, or the beginning of one that fits no other.  Without a daemon the "
             "answer is kept in\n"
             "the journal, and the next one acts on it.",
     .options = control_options,
     .least_words = 1,
     .most_words = 1},
    {.name = "check",
     .usage = "[options] FILE…",
     .summary = "check policies and the configuration without running them",
     .text =
         "Finds wrong syntax, unknown fields and events, missing secrets, helpers and prices, impossible\n"
         "schedules and budgets that nothing counts against, and shows the next five runs of each\n"
         "schedule.  Nothing is sent, and no hook is called.\n\n"
         "Exit codes: 0 nothing is wrong, 1 something is, 2 usage.",
     .options = check_options,
     .most_words = -1},
    {.name = "daemon",
     .usage = "[options] [POLICY…]",
     .summary = "supervise jobs for months, under policies",
     .text =
         "POLICY is a Lua file, a folder of such files, or the name of a policy that comes with perigee; "
         "without "
         "one those\n"
         "of the configuration file.  One daemon works for each state directory.  SIGHUP reads the policies "
         "again, "
         "SIGUSR2\n"
         "opens the log anew, SIGTERM ends it in order: remote jobs go on, and the next daemon takes them "
         "up.\n\n"
         "Exit codes: 0 ended in order, 2 usage, 3 configuration, a bad policy, or a daemon that is there "
         "already,\n"
         "70 a policy was stuck where nothing could interrupt it: the next start pauses it.",
     .options = daemon_options,
     .configurable = true,
     .least_words = 0,
     .most_words = -1},
    {.name = "deny",
     .usage = "[options] JOB [WHY…]",
     .summary = "refuse a held job",
     .text = "JOB is the id of the job, or the beginning of one that fits no other; WHY stands in its "
             "history.  Without a\n"
             "daemon the answer is kept in the journal, and the next one acts on it.",
     .options = control_options,
     .least_words = 1,
     .most_words = -1},
    {.name = "emulator",
     .usage = "[options]",
     .summary = "serve an emulator of both services",
     .text = "Prints the addresses and variables that point perigee at it, and runs until it is interrupted.",
     .options = emulator_options},
    {.name = "jobs",
     .usage = "[options] [list | sweep | WHAT JOB]",
     .summary = "look at paid jobs, stop them, send them again",
     .text =
         "  list                   jobs that are active, or were submitted within a day\n"
         "  show JOB               one job with its spec and result\n"
         "  stop JOB               stop it at the service; Distributed AI cannot: it goes on and is billed\n"
         "  retry JOB              send it again, as a new attempt\n"
         "  adopt JOB REMOTE_ID    the job whose reply was lost is REMOTE_ID of the service\n"
         "  forget JOB             an unknown job was not started: its money is free\n"
         "  sweep                  paid work at the services that no job tracks\n\n"
         "JOB is an id, the first digits of one, or a name.  What changes a job is done by the daemon, by "
         "the\n"
         "program that looks after it, or, where there is neither, at once.\n\n"
         "Exit codes: 0 done, 1 it failed, 2 usage, 3 no journal or credentials, 4 no such job.",
     .options = jobs_options,
     .most_words = 3},
    {.name = "journal",
     .usage = "[options] verify | export | backup PATH | compact",
     .summary = "look after the file that jobs and money stand in",
     .text = "  verify         is the file sound, and do its sums agree with its permits?\n"
             "  export         every record as a line of JSON\n"
             "  backup PATH    a copy as of now in a new file, while others go on writing\n"
             "  compact        drop what ended more than 90 days ago (--keep); daily totals stay for ever\n\n"
             "Exit codes: 0 done, 1 problems were found or it failed, 2 usage, 3 no journal.",
     .options = journal_options,
     .least_words = 1,
     .most_words = 2},
    {.name = "log-level",
     .usage = "[options] LEVEL",
     .summary = "change what a running daemon logs",
     .text = "LEVEL is debug, info, warn, error or off; it holds until the daemon ends.  Exit code 3: no "
             "daemon runs.",
     .options = control_options,
     .least_words = 1,
     .most_words = 1},
    {.name = "notify",
     .usage = "[options] test",
     .summary = "send a message where messages go, to see whether they arrive",
     .text = "The daemon sends it if one runs, else this command, in each way that `notify` of the\n"
             "configuration names.\n\n"
             "Exit codes: 0 every way works, 1 one does not, 2 usage, 3 nothing is configured.",
     .options = notify_options,
     .least_words = 1,
     .most_words = 1},
    {.name = "pause",
     .usage = "[options] POLICY",
     .summary = "let a policy rest",
     .text = "Its hooks and schedules are not run until `perigee resume POLICY`; jobs that run go on.  Exit "
             "code 3: no\n"
             "daemon runs.",
     .options = control_options,
     .least_words = 1,
     .most_words = 1},
    {.name = "reload",
     .usage = "[options]",
     .summary = "read the policies again",
     .text = "All files are read and checked; if one is bad, the old policies go on and the command says "
             "why.  Exit\n"
             "code 3: no daemon runs.",
     .options = control_options,
     .least_words = 0,
     .most_words = 0},
    {.name = "repl",
     .usage = "[options] [FILE [args…]]",
     .summary = "type Lua at a prompt, and see what comes of it",
     .text =
         "FILE is a Lua script that is run first; its names stay.  At the prompt :help lists the commands.\n"
         "Without a terminal what stands on standard input is run, statement after statement, up to the "
         "first "
         "error.\n\n"
         "Exit codes: 0 the session was ended; without a terminal those of `perigee run`.",
     .options = repl_options,
     .configurable = true,
     .takes_script = true,
     .script_optional = true},
    {.name = "resume",
     .usage = "[options] POLICY",
     .summary = "wake a policy that was paused",
     .text = "Also one that the daemon has paused because it failed again and again.  Exit code 3: no daemon "
             "runs.",
     .options = control_options,
     .least_words = 1,
     .most_words = 1},
    {.name = "spend",
     .usage = "[options]",
     .summary = "what was spent, is held and is unknown, and what budgets leave",
     .text =
         "Reads the journal of the state directory, whether a daemon runs on it or not.  Budgets are those "
         "of the\n"
         "configuration and those that scripts have named.",
     .options = spend_options,
     .least_words = 0,
     .most_words = 0},
    {.name = "status",
     .usage = "[options]",
     .summary = "what a running daemon does, has and complains of",
     .text = "Jobs by state, policies and their next runs, money, the journal, the last problems.  Exit code "
             "3: no daemon\n"
             "runs on the state directory.",
     .options = control_options,
     .least_words = 0,
     .most_words = 0},
    {.name = "why",
     .usage = "[options] JOB",
     .summary = "tell what was decided about a job, and why",
     .text =
         "Every decision with the figures that led to it, its money, what comes next, and what one can do.\n"
         "JOB is an id, the first digits of one, or a name.\n\n"
         "Exit codes: 0 done, 2 usage, 3 no journal, 4 no such job.",
     .options = why_options,
     .least_words = 1,
     .most_words = 1},
    {0},
};
