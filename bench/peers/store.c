/* The store: the ceiling with the least that makes a 250 durable. What comes in while a group is being written and
 * flushed is the next group: one pwritev, one fdatasync, into a file that was filled with zeros before. No index, no
 * checksum, no recovery: what a log must cost, without what it must be good for.
 *   cc -O2 -pthread -o store store.c && ./store PORT FILE MEBIBYTES      (starts over at the end of the file)
 */
#include "smtp_epoll.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

enum { GROUP_VECTORS = 1024 };

struct message { size_t held, room; char octets[]; };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;
static struct connection *queue_first, *queue_last, *done_first, *done_last;
static int file;
static off_t file_octets, file_at;

static int take(struct connection *c, const char *octets, size_t n) {
    struct message *m = c->message;
    if (!m || m->held + n > m->room) {
        size_t held = m ? m->held : 0, room = (held + n) * 2;
        if (!(m = realloc(m, sizeof *m + room))) return -1;
        m->held = held;
        m->room = room;
        c->message = m;
    }
    memcpy(m->octets + m->held, octets, n);
    m->held += n;
    return 0;
}

static void push(struct connection **first, struct connection **last, struct connection *c) {
    c->next = NULL;
    if (*last) (*last)->next = c;
    else *first = c;
    *last = c;
}

static int finish(struct connection *c) {
    pthread_mutex_lock(&gate);
    push(&queue_first, &queue_last, c);
    pthread_cond_signal(&bell);
    pthread_mutex_unlock(&gate);
    return 0;
}

static void wake(void) {
    uint64_t count;
    if (read(wake_fd, &count, sizeof count) != sizeof count) return;
    pthread_mutex_lock(&gate);
    struct connection *c = done_first, *next;
    done_first = done_last = NULL;
    pthread_mutex_unlock(&gate);
    for (; c; c = next) {
        next = c->next;
        ((struct message *)c->message)->held = 0;
        accept_message(c);
    }
}

static void write_group(struct iovec *v, int n, size_t octets) {
    if (octets == 0) return; /* BDAT 0 LAST */
    if (file_at + (off_t)octets > file_octets) file_at = 0;
    for (off_t at = file_at; n > 0;) {
        ssize_t done = pwritev(file, v, n, at);
        if (done <= 0) die("pwritev");
        at += done;
        while (n > 0 && (size_t)done >= v->iov_len) { done -= (ssize_t)v->iov_len; v++; n--; }
        if (n > 0) { v->iov_base = (char *)v->iov_base + done; v->iov_len -= (size_t)done; }
    }
    if (fdatasync(file)) die("fdatasync");
    file_at += (off_t)octets;
}

__attribute__((noreturn)) static void *write_groups(void *unused) {
    (void)unused;
    struct iovec vectors[GROUP_VECTORS];
    for (;;) {
        pthread_mutex_lock(&gate);
        while (!queue_first) pthread_cond_wait(&bell, &gate);
        struct connection *first = queue_first, *last = NULL;
        int n = 0;
        size_t octets = 0;
        for (struct connection *c = first; c && n < GROUP_VECTORS; c = c->next) {
            struct message *m = c->message;
            vectors[n++] = (struct iovec){m->octets, m->held};
            octets += m->held;
            last = c;
        }
        queue_first = last->next;
        if (!queue_first) queue_last = NULL;
        last->next = NULL;
        pthread_mutex_unlock(&gate);

        write_group(vectors, n, octets);

        uint64_t one = 1;
        pthread_mutex_lock(&gate);
        if (done_last) done_last->next = first;
        else done_first = first;
        done_last = last;
        pthread_mutex_unlock(&gate);
        if (write(wake_fd, &one, sizeof one) != sizeof one) die("eventfd");
    }
}

static void make_file(const char *path, off_t octets) {
    static char zeros[1 << 20];
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0) die(path);
    for (file_octets = 0; file_octets < octets; file_octets += (off_t)sizeof zeros)
        if (pwrite(file, zeros, sizeof zeros, file_octets) != sizeof zeros) die(path);
    if (fsync(file)) die(path);
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: store PORT FILE MEBIBYTES\n"); return 64; }
    make_file(argv[2], (off_t)atol(argv[3]) << 20);
    wake_fd = eventfd(0, EFD_NONBLOCK);
    pthread_t writer;
    if (pthread_create(&writer, NULL, write_groups, NULL)) die("pthread_create");
    serve(atoi(argv[1]));
}
