/* The least an SMTP server can do: one thread, epoll, one receive buffer per connection, replies of fixed text.
 * It parses what load generators send (EHLO, HELO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, QUIT, pipelined or not) and keeps
 * no other rule of RFC 5321. The program that includes it says what becomes of a message.
 *
 *   int  take(struct connection *c, const char *octets, size_t n);  next run of content; 0, or -1 to drop the client
 *   int  finish(struct connection *c);  the end of content was seen; 1: accepted now, 0: accept() comes later
 *   void wake(void);                     wake_fd became readable; calls accept_message() for what is durable
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { RECEIVE_OCTETS = 65536, REPLY_OCTETS = 16384 };

struct connection {
    int fd;
    int in_content;  /* between 354 and the final dot */
    int waits;       /* for accept_message(); input is kept, not looked at, meanwhile */
    int is_gone;     /* closed; freed when nothing names it any more */
    int is_deaf;     /* not polled: the buffer is full and nothing can be done about it yet */
    int matched;     /* octets of CRLF.CRLF seen so far */
    int in_chunk;    /* behind BDAT */
    int is_last;     /* the chunk at hand ends the message */
    size_t chunk_left;
    size_t held, reply_held;
    struct connection *next; /* for the including program; of those that are gone */
    void *message;           /* for the including program */
    char received[RECEIVE_OCTETS], replies[REPLY_OCTETS];
};

static int take(struct connection *c, const char *octets, size_t n);
static int finish(struct connection *c);
static void wake(void);
static int wake_fd = -1, poll_fd;
static struct connection *gone;

static void die(const char *what) { perror(what); exit(1); }

static void reply(struct connection *c, const char *text) {
    size_t n = strlen(text);
    if (c->reply_held + n > REPLY_OCTETS) { fprintf(stderr, "too many commands in one segment\n"); exit(1); }
    memcpy(c->replies + c->reply_held, text, n);
    c->reply_held += n;
}

/* All replies of a turn leave in one write; they are small, so a full socket buffer is an error of the generator. */
static int send_replies(struct connection *c) {
    for (size_t at = 0; at < c->reply_held;) {
        ssize_t n = send(c->fd, c->replies + at, c->reply_held - at, MSG_NOSIGNAL);
        if (n <= 0) return -1;
        at += (size_t)n;
    }
    c->reply_held = 0;
    return 0;
}

/* Returns octets of content up to and with the final dot's line, and sets *ended; otherwise all of n. */
static size_t content_end(struct connection *c, const char *p, size_t n, int *ended) {
    static const char end[] = "\r\n.\r\n";
    size_t i = 0;
    *ended = 0;
    while (i < n) {
        if (c->matched == 0) {
            const char *cr = memchr(p + i, '\r', n - i);
            if (!cr) return n;
            i = (size_t)(cr - p) + 1;
            c->matched = 1;
        } else if (p[i] == end[c->matched]) {
            i++;
            if (++c->matched == 5) { *ended = 1; return i; }
        } else {
            if (p[i] == '\r') { c->matched = 1; i++; }
            else c->matched = 0, i++;
        }
    }
    return n;
}

static void end_content(struct connection *c) {
    c->in_content = 0;
    if (finish(c)) reply(c, "250 ok\r\n");
    else c->waits = 1;
}

/* The next run of a chunk; returns its octets, -1 to drop the client. */
static ssize_t chunk(struct connection *c, const char *octets, size_t n) {
    if (n > c->chunk_left) n = c->chunk_left;
    if (take(c, octets, n)) return -1;
    c->chunk_left -= n;
    if (c->chunk_left > 0) return (ssize_t)n;
    c->in_chunk = 0;
    if (c->is_last) end_content(c);
    else reply(c, "250 ok\r\n");
    return (ssize_t)n;
}

/* BDAT n [LAST] (RFC 3030); a chunk without octets is over at once. */
static int begin_chunk(struct connection *c, const char *line) {
    char *end;
    if (strncasecmp(line, "BDAT ", 5)) { reply(c, "500 what\r\n"); return 0; }
    c->chunk_left = strtoul(line + 5, &end, 10);
    c->is_last = *end == ' ';
    c->in_chunk = 1;
    return c->chunk_left == 0 && chunk(c, end, 0);
}

static int command(struct connection *c, const char *line) {
    switch (line[0] & ~0x20) {
    case 'E': reply(c, "250-ceiling\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 SIZE 104857600\r\n"); return 0;
    case 'D': reply(c, "354 go on\r\n"); c->in_content = 1; c->matched = 2; return 0;
    case 'B': return begin_chunk(c, line);
    case 'Q': reply(c, "221 bye\r\n"); return 1;
    case 'H': case 'M': case 'R': case 'N': reply(c, "250 ok\r\n"); return 0;
    default: reply(c, "500 what\r\n"); return 0;
    }
}

/* Works through what was received; -1: close. */
static int turn(struct connection *c) {
    size_t at = 0;
    int quits = 0;
    while (at < c->held && !c->waits && !quits) {
        if (c->in_content) {
            int ended;
            size_t n = content_end(c, c->received + at, c->held - at, &ended);
            if (take(c, c->received + at, n)) return -1;
            at += n;
            if (ended) end_content(c);
        } else if (c->in_chunk) {
            ssize_t n = chunk(c, c->received + at, c->held - at);
            if (n < 0) return -1;
            at += (size_t)n;
        } else {
            char *lf = memchr(c->received + at, '\n', c->held - at);
            if (!lf) break;
            quits = command(c, c->received + at);
            at = (size_t)(lf - c->received) + 1;
        }
    }
    memmove(c->received, c->received + at, c->held - at);
    c->held -= at;
    if (c->held == RECEIVE_OCTETS && !c->waits) return -1; /* a line without end */
    return send_replies(c) || quits ? -1 : 0;
}

static void bury(struct connection *c) { c->next = gone; gone = c; }

/* Frees nothing: a later event of the same batch may name the connection, and while it waits accept_message() will. */
static void close_connection(struct connection *c) {
    close(c->fd);
    c->is_gone = 1;
    if (!c->waits) bury(c);
}

static void free_gone(void) {
    for (struct connection *c; (c = gone);) {
        gone = c->next;
        free(c->message);
        free(c);
    }
}

static void listen_to(struct connection *c, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    c->is_deaf = !events;
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* A message that finish() left open is accepted: answers and goes on with what came in meanwhile. */
__attribute__((unused)) static void accept_message(struct connection *c) {
    c->waits = 0;
    if (c->is_gone) { bury(c); return; }
    reply(c, "250 ok\r\n");
    if (c->is_deaf) listen_to(c, EPOLLIN);
    if (turn(c)) close_connection(c);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) die("listen");
    socklen_t n = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &n);
    printf("ready 127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void serve(int port) {
    int listener = listen_on(port), on = 1;
    poll_fd = epoll_create1(0);
    struct epoll_event events[512], e = {.events = EPOLLIN, .data.ptr = NULL};
    signal(SIGPIPE, SIG_IGN);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    if (wake_fd >= 0) {
        e.data.ptr = &wake_fd;
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, wake_fd, &e);
    }
    for (;;) {
        int n = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &wake_fd) { wake(); continue; }
            struct connection *c = events[i].data.ptr;
            if (!c) {
                int fd = accept4(listener, NULL, NULL, 0);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                if (!(c = calloc(1, sizeof *c))) die("calloc");
                c->fd = fd;
                e.data.ptr = c;
                epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
                reply(c, "220 ceiling\r\n");
                send_replies(c);
                continue;
            }
            if (c->is_gone) continue;
            ssize_t got = recv(c->fd, c->received + c->held, RECEIVE_OCTETS - c->held, 0);
            if (got <= 0) {
                close_connection(c);
            } else {
                c->held += (size_t)got;
                if (c->waits) {
                    if (c->held == RECEIVE_OCTETS) listen_to(c, 0);
                } else if (turn(c)) {
                    close_connection(c);
                }
            }
        }
        free_gone();
    }
}
