/* See generator.h. */
#define _GNU_SOURCE
#include "generator.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define PREFIX "from server back[rust]:"

enum {
    PREFIX_BYTES = sizeof PREFIX - 1,
    BATCH = 1024,
    PATIENCE_MS = 5000,
};

int epoll;
uint32_t sources = 16;
bool abandon = true;
size_t request_bytes;
uint32_t connecting, asking;
unsigned long mismatches, errors;
struct sample *samples;
size_t sampled;

void (*on_open)(struct connection *);
void (*on_reply)(struct connection *);
void (*on_event)(struct connection *, uint32_t);
void (*on_tick)(void);

static struct sockaddr_in server;
/* The reply that is due: the prefix, and behind it the request, which is sent from here. */
static char expected[PREFIX_BYTES + LONGEST] = PREFIX;
static char *const request = expected + PREFIX_BYTES;

void die(const char *what)
{
    perror(what);
    exit(1);
}

uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

bool prepare(const char *host, uint16_t port)
{
    struct rlimit files;

    server.sin_family = AF_INET;
    server.sin_port = htons(port);
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1)
        return false;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        die("getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("setrlimit");
    for (int i = 0; i < LONGEST; i++)
        request[i] = (char)('a' + i % 26);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    return true;
}

void announce(const char *moment)
{
    char byte;

    puts(moment);
    fflush(stdout);
    if (read(STDIN_FILENO, &byte, 1) != 1)
        exit(1);
}

bool read_number(const char *text, double most, double *value)
{
    char *end;

    *value = strtod(text, &end);
    return *text != 0 && *end == 0 && *value > 0 && *value <= most;
}

void request_line(size_t bytes)
{
    request_bytes = bytes;
    request[bytes - 1] = '\n';
}

/* --- one connection ---------------------------------------------------------------------- */

void drop(struct connection *c)
{
    close(c->fd);
    connecting -= c->state == CONNECTING;
    asking -= c->state == WAITING;
    c->state = CLOSED;
}

void fail(struct connection *c, const char *what, int error)
{
    if (errors++ < 3)
        fprintf(stderr, "client: connection %u: %s: %s\n", c->number, what,
                error ? strerror(error) : "the server closed it");
    drop(c);
}

/* The source address is bound without a port: connect picks one that is free for this very pair
 * of addresses, so that each source has the whole range of ports. */
static void bind_source(const struct connection *c)
{
    int one = 1;
    struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (c->number + c->sequence) % sources)};

    if (ntohl(server.sin_addr.s_addr) >> 24 != 127)
        return;
    if (setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(c->fd, (struct sockaddr *)&source, sizeof source) != 0)
        die("bind");
}

void open_one(struct connection *c)
{
    struct linger reset = {.l_onoff = 1};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = c};

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    bind_source(c);
    if (abandon && setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0)
        die("SO_LINGER");
    c->state = CONNECTING;
    connecting++;
    c->at = now();
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS)
        fail(c, "connect", errno);
    else if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void stamp(const struct connection *c)
{
    uint32_t mark[2] = {c->sequence, c->number};
    memcpy(request, mark, request_bytes < sizeof mark ? request_bytes : sizeof mark);
}

void ask(struct connection *c)
{
    c->sequence++;
    c->received = 0;
    c->state = WAITING;
    asking++;
    stamp(c);
    c->at = now();
    errno = ENOBUFS; /* what a short send is called */
    if (send(c->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
        fail(c, "send", errno);
}

/* Reads what there is of the reply and compares every byte of it. */
static void hear(struct connection *c)
{
    static char inbox[sizeof expected + 1]; /* one more than due: an excess shows */
    const size_t due = PREFIX_BYTES + request_bytes;

    stamp(c);
    while (c->state == WAITING) {
        ssize_t got = recv(c->fd, inbox, sizeof inbox, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            fail(c, "recv", got < 0 ? errno : 0);
        } else if (c->received + (size_t)got > due ||
                   memcmp(inbox, expected + c->received, (size_t)got) != 0) {
            mismatches++;
            drop(c);
        } else if ((c->received += (uint32_t)got) == due) {
            asking--;
            c->state = IDLE;
            on_reply(c);
            return;
        }
    }
}

static void finish_connect(struct connection *c, uint32_t events)
{
    int error = 0;
    socklen_t length = sizeof error;

    if (events & (EPOLLERR | EPOLLHUP)) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        fail(c, "connect", error);
    } else if (events & EPOLLOUT) {
        connecting--;
        c->state = IDLE;
        on_open(c);
    }
}

/* --- all of them ------------------------------------------------------------------------- */

bool turn(void)
{
    static struct epoll_event ready[BATCH];

    int count = epoll_wait(epoll, ready, BATCH, PATIENCE_MS);
    if (count < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < count; i++) {
        struct connection *c = ready[i].data.ptr;
        if (!c)
            on_tick();
        else if (c->state == CONNECTING)
            finish_connect(c, ready[i].events);
        else if (c->state == WAITING)
            hear(c);
        else if (c->state == WATCHED)
            on_event(c, ready[i].events);
    }
    return count != 0;
}

void settle(void)
{
    while (connecting + asking > 0) {
        if (turn())
            continue;
        fprintf(stderr, "client: %u handshakes and %u replies never came\n", connecting, asking);
        errors += connecting + asking;
        return;
    }
}

struct connection *allocate(uint32_t count)
{
    struct connection *all = calloc(count, sizeof *all);
    if (!all)
        die("calloc");
    for (uint32_t i = 0; i < count; i++)
        all[i].number = i;
    return all;
}

struct connection *open_all(uint32_t count)
{
    struct connection *all = allocate(count);

    for (uint32_t opened = 0; opened < count; opened++) {
        while (connecting >= CONNECTING_AT_ONCE && turn())
            ;
        open_one(&all[opened]);
    }
    settle();
    return all;
}

/* --- samples ----------------------------------------------------------------------------- */

void record(const struct connection *c, uint64_t time)
{
    static size_t room;

    if (sampled == room) {
        room = room ? 2 * room : 1 << 16;
        samples = realloc(samples, room * sizeof *samples);
        if (!samples)
            die("realloc");
    }
    samples[sampled++] = (struct sample){time, time - c->at};
}

static int by_duration(const void *a, const void *b)
{
    uint64_t x = ((const struct sample *)a)->took, y = ((const struct sample *)b)->took;
    return (x > y) - (x < y);
}

/* In microseconds, of samples sorted by duration. */
static double quantile(const struct sample *sorted, size_t count, double q)
{
    size_t rank = (size_t)(q * (double)count);
    if (count == 0)
        return 0;
    return (double)sorted[rank < count ? rank : count - 1].took / 1e3;
}

struct quantiles quantiles(uint64_t from, uint64_t to)
{
    size_t count = 0;

    for (size_t i = 0; i < sampled; i++) {
        struct sample sample = samples[i];
        if (sample.at < from || sample.at > to)
            continue;
        samples[i] = samples[count]; /* those that are meant move to the front */
        samples[count++] = sample;
    }
    if (count > 0)
        qsort(samples, count, sizeof *samples, by_duration);
    return (struct quantiles){count, quantile(samples, count, 0.5), quantile(samples, count, 0.99),
                              quantile(samples, count, 0.999), quantile(samples, count, 1)};
}
