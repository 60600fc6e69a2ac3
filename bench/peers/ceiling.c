/* The ceiling: what one thread of C does with the same dialog when it keeps nothing. Nobody receives faster here.
 *   cc -O2 -o ceiling ceiling.c && ./ceiling PORT      (0: any; the ready line names it)
 */
#include "smtp_epoll.h"

static int take(struct connection *c, const char *octets, size_t n) {
    (void)c; (void)octets; (void)n;
    return 0;
}

static int finish(struct connection *c) { (void)c; return 1; }

static void wake(void) {}

int main(int argc, char **argv) {
    if (argc != 2) { fprintf(stderr, "usage: ceiling PORT\n"); return 64; }
    serve(atoi(argv[1]));
}
