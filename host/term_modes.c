/* term_modes.c - taking the terminal's modes and giving them back, whatever happens. */
#include "host/term_modes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "host/term.h"

/* Signals whose default ends the process at once, and which no watcher of the loop takes. */
static const int fatal[] = {SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS,
                            SIGFPE,  SIGSEGV, SIGSYS,  SIGALRM, SIGXCPU};
enum { FATAL = sizeof fatal / sizeof fatal[0] };

static const char paste_on[] = "\x1b[?2004h", paste_off[] = "\x1b[?2004l";

static struct {
    atomic_bool taken;
    int fd;
    struct termios found;
    bool handling;
    struct sigaction before[FATAL];
} modes;

int term_modes_open(void)
{
    enum { FLAGS = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK };
    struct stat input;
    unsigned device = 0;
    int fd = open("/dev/tty", FLAGS);
    if (fd >= 0 && ioctl(fd, TIOCGDEV, &device) == 0 && fstat(STDIN_FILENO, &input) == 0 &&
        (input.st_rdev == device || isatty(STDIN_FILENO) != 1))
        return fd;
    if (fd >= 0) close(fd);
    return open("/proc/self/fd/0", FLAGS);
}

bool term_modes_mine(int fd)
{
    pid_t group = tcgetpgrp(fd);
    return group < 0 || group == getpgrp(); /* below 0: nobody's terminal, so nobody else's */
}

/* Leaves the terminal in order, then does what would have been done. */
static void on_fatal(int signum)
{
    int saved = errno;
    term_leave();
    for (int i = 0; i < FATAL; i++)
        if (fatal[i] == signum) sigaction(signum, &modes.before[i], NULL);
    errno = saved;
    raise(signum);
}

static void handle_fatal_signals(void)
{
    static bool at_exit;
    if (modes.handling) return;
    struct sigaction action = {.sa_handler = on_fatal};
    sigfillset(&action.sa_mask);
    for (int i = 0; i < FATAL; i++) sigaction(fatal[i], &action, &modes.before[i]);
    modes.handling = true;
    if (!at_exit) atexit(term_modes_restore);
    at_exit = true;
}

int term_modes_take(int fd)
{
    struct termios wanted;
    if (atomic_load(&modes.taken)) return 0;
    if (tcgetattr(fd, &modes.found) != 0) return -1;
    wanted = modes.found;
    wanted.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
    wanted.c_lflag |= ISIG;
    wanted.c_iflag &=
        ~(tcflag_t)(ICRNL | INLCR | IXON | ISTRIP); /* Ctrl-S searches; it must not stop the loop */
    wanted.c_cc[VMIN] = 1;
    wanted.c_cc[VTIME] = 0;
    modes.fd = fd;
    handle_fatal_signals();
    if (tcsetattr(fd, TCSADRAIN, &wanted) != 0) return -1;
    atomic_store(&modes.taken, true);
    ssize_t written = write(fd, paste_on, sizeof paste_on - 1);
    (void)written; /* a terminal that takes nothing now: pastes come as keys */
    return 0;
}

void term_modes_restore(void)
{
    int saved = errno;
    if (atomic_exchange(&modes.taken, false) && term_modes_mine(modes.fd)) {
        ssize_t written = write(modes.fd, paste_off, sizeof paste_off - 1);
        (void)written; /* the terminal may have gone */
        tcsetattr(modes.fd, TCSANOW, &modes.found);
    }
    errno = saved;
}

void term_modes_close(void)
{
    term_modes_restore();
    if (!modes.handling) return;
    for (int i = 0; i < FATAL; i++) sigaction(fatal[i], &modes.before[i], NULL);
    modes.handling = false;
}
