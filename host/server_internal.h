/* server_internal.h - what server.c, server_listen.c and server_request.c share; nobody else includes it.
 *
 * server.c owns the daemon, its place on the loop, connections and closing; server_listen.c makes the
 * listening socket; server_request.c owns one request from its first line to the last byte of the reply.
 */
#ifndef PERIGEE_SERVER_INTERNAL_H
#define PERIGEE_SERVER_INTERNAL_H

#include "host/server.h"

#include <microhttpd.h>
#include <netinet/in.h>

#include "host/list.h"

struct request;

struct server {
    struct loop *loop;
    struct timers *timers;
    struct server_config config; /* defaults filled in; host is not kept */
    struct server_events events;
    void *ctx;
    struct MHD_Daemon *daemon;
    struct list_node connections;
    size_t count;

    uv_poll_t io;    /* the daemon's epoll descriptor */
    uv_idle_t wake;  /* active while the daemon must run before the loop blocks */
    uv_poll_t watch; /* watch_fd */
    int watch_fd;    /* epoll set of the sleeping connections, to hear their peers hang up */
    int handles;     /* of the three above, not yet closed */
    bool running;    /* inside MHD_run */
    bool closing;    /* server_close was called */
    bool stopped;    /* the daemon is gone */
    struct timer linger;

    uint16_t port;
    char *path; /* of a socket in the file system, as long as it is ours; with its identity */
    dev_t device;
    ino_t inode;
    bool local; /* connections come over a socket in the file system */
    char url[128];
};

struct connection {
    struct list_node node; /* server.connections */
    struct server *server;
    struct MHD_Connection *mhd;
    int fd;                  /* the daemon's; valid until the connection is gone */
    struct timer timer;      /* silence or total time, by what the request is doing */
    struct request *request; /* NULL between requests */
    bool stranger;           /* on a path: the peer is another user */
    char remote[INET6_ADDRSTRLEN];
};

enum request_phase {
    REQUEST_HEAD = 1, /* first line seen, headers not complete */
    REQUEST_BODY,     /* headers accepted, body arriving */
    REQUEST_WORKING,  /* handed over; the connection sleeps */
    REQUEST_ANSWERED, /* reply chosen, to be queued when the daemon calls next */
    REQUEST_SENDING,  /* the daemon has the reply */
};

struct request {
    struct server_request pub;     /* what the receiver sees; its pointers point to the fields below */
    struct connection *connection; /* NULL once the daemon is done with the request */
    enum request_phase phase;
    bool owned;           /* handed over and not released */
    bool suspended;       /* the connection sleeps in the daemon */
    bool watched;         /* the descriptor is in watch_fd */
    bool gone;            /* the peer hung up, or the request has ended */
    bool told;            /* the receiver was told so */
    bool drop;            /* close without (a further) byte */
    bool too_large;       /* the body is read to its end and thrown away: 413 */
    size_t expected;      /* Content-Length, 0 without one */
    size_t received;      /* body bytes */
    uint64_t deadline_ms; /* of reading */
    char *method, *target, *remote;

    int status;
    struct MHD_Response *reply;
    bool streaming, ended, full;
    struct buf queue; /* streamed bytes */
    size_t taken;     /* of queue, by the connection */
};

/* A listening socket; fills port and url, or path.  -1 with err. */
int server_listen(struct server *server, const struct server_config *config, struct err *err);

/* Takes the name away from the file system, if there is one and it is still ours. */
void server_unlisten(struct server *server);

/* The peer of a connection over a path is this user, or root. */
bool server_knows_peer(int fd);

/* Makes the daemon run before the loop blocks again. */
void server_wake(struct server *server);

/* Lets the daemon see end of file on the connection at its next run; one that sleeps must be resumed too. */
void server_cut(struct connection *connection);

/* Hears the peer of a sleeping connection hang up; and stops hearing it. */
void server_watch(struct request *r);
void server_unwatch(struct request *r);

/* The callbacks of the daemon that concern one request. */
void *request_line_cb(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result request_access_cb(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *piece, size_t *piece_len, void **slot);
void request_completed_cb(void *cls, struct MHD_Connection *mhd, void **slot,
                          enum MHD_RequestTerminationCode why);

/* Sets the connection's timer to what the request (or its absence) allows. */
void request_arm(struct connection *connection);

/* The peer of a sleeping request hung up; `reset`: nothing can reach it any more. */
void request_peer_gone(struct request *r, bool reset);

/* The server closes: an unanswered request gets 503, an unfinished stream is cut. */
void request_server_closes(struct request *r);

/* The daemon is done with the request: tells the receiver, frees what nobody holds. */
void request_finish(struct request *r, bool complete);

#endif
