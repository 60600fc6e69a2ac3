/* The stream: a POP3 server that only sends. Every maildrop holds the same messages, every RETR is one constant run of
 * octets from memory: how fast loopback and the client that receives are when the server does nothing. A thread for each
 * connection; knows USER, PASS, STAT, LIST and RETR, pipelined or not, believes every password and says +OK to all else.
 *   cc -O2 -pthread -o stream stream.c && ./stream PORT MESSAGES OCTETS      (0: any; the ready line names it)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_OCTETS = 16384, LINE_OCTETS = 72, LONGEST_LISTED = 32, BATCH_OCTETS = 65536 };

struct session { int fd; size_t held, batched; char received[COMMAND_OCTETS], batch[BATCH_OCTETS]; };

static char *retrieved, *listing; /* replies as they leave */
static size_t retrieved_octets, listing_octets;
static char totals[64];

static void die(const char *what) { perror(what); exit(1); }

static int send_all(int fd, const char *octets, size_t n) {
    while (n > 0) {
        ssize_t sent = send(fd, octets, n, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        octets += sent;
        n -= (size_t)sent;
    }
    return 0;
}

/* Short replies to commands that came together leave together. */
static int reply(struct session *s, const char *octets, size_t n) {
    if (s->batched + n > BATCH_OCTETS) {
        if (send_all(s->fd, s->batch, s->batched)) return -1;
        s->batched = 0;
    }
    if (n > BATCH_OCTETS) return send_all(s->fd, octets, n);
    memcpy(s->batch + s->batched, octets, n);
    s->batched += n;
    return 0;
}

static int answer(struct session *s, const char *line) {
    static const char ok[] = "+OK\r\n";
    switch (line[0] & ~0x20) {
    case 'S': return reply(s, totals, strlen(totals));
    case 'L': return reply(s, listing, listing_octets);
    case 'R': return reply(s, retrieved, retrieved_octets);
    default: return reply(s, ok, sizeof ok - 1);
    }
}

static void *serve(void *argument) {
    struct session *s = argument;
    int is_open = !reply(s, "+OK stream\r\n", 12);
    while (is_open && !send_all(s->fd, s->batch, s->batched)) {
        s->batched = 0;
        ssize_t got = recv(s->fd, s->received + s->held, COMMAND_OCTETS - s->held, 0);
        if (got <= 0) break;
        s->held += (size_t)got;
        size_t at = 0;
        for (char *lf; is_open && (lf = memchr(s->received + at, '\n', s->held - at)); at = (size_t)(lf - s->received) + 1)
            is_open = !answer(s, s->received + at);
        memmove(s->received, s->received + at, s->held - at);
        s->held -= at;
    }
    close(s->fd);
    free(s);
    return NULL;
}

static char *list(int messages, long octets, size_t *length) {
    char *text = malloc((size_t)(messages + 1) * LONGEST_LISTED);
    if (!text) die("malloc");
    size_t n = (size_t)sprintf(text, "+OK\r\n");
    for (int i = 1; i <= messages; i++) n += (size_t)sprintf(text + n, "%d %ld\r\n", i, octets);
    *length = n + (size_t)sprintf(text + n, ".\r\n");
    return text;
}

static void make_replies(int messages, long octets) {
    snprintf(totals, sizeof totals, "+OK %d %ld\r\n", messages, messages * octets);
    listing = list(messages, octets, &listing_octets);
    retrieved = malloc((size_t)octets + 16);
    if (!retrieved) die("malloc");
    size_t n = (size_t)sprintf(retrieved, "+OK\r\n"), end = n + (size_t)octets;
    for (size_t column = 0; n < end; n++, column = (column + 1) % LINE_OCTETS)
        retrieved[n] = column == LINE_OCTETS - 2 ? '\r' : column == LINE_OCTETS - 1 ? '\n' : 'x';
    retrieved[end - 2] = '\r';
    retrieved[end - 1] = '\n';
    retrieved_octets = end + (size_t)sprintf(retrieved + end, ".\r\n");
}

int main(int argc, char **argv) {
    if (argc != 4 || atoi(argv[2]) < 1 || atol(argv[3]) < 2) {
        fprintf(stderr, "usage: stream PORT MESSAGES OCTETS\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    make_replies(atoi(argv[2]), atol(argv[3]));
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&a, &length);
    printf("ready 127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct session *s = malloc(sizeof *s);
        pthread_t thread;
        if (!s) die("malloc");
        s->fd = fd;
        s->held = s->batched = 0;
        if (pthread_create(&thread, NULL, serve, s)) die("pthread_create");
        pthread_detach(thread);
    }
}
