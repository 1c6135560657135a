/* What every mode of the client needs: connections that ask and check the answer byte by byte,
 * one epoll loop, and a list of how long each answer took. One thread, so all of it is global. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MICROSECOND UINT64_C(1000)
#define MILLISECOND UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

enum {
    LONGEST = 16384,          /* arrives in one piece, so that the server makes one reply of it */
    CONNECTING_AT_ONCE = 256, /* far below any backlog: a full one costs a second each */
};

enum state { CLOSED, CONNECTING, IDLE, WAITING, WATCHED, ENDED };

struct connection {
    int fd;
    enum state state;
    uint32_t number, sequence; /* stamped into the request: a stranger's reply is a mismatch */
    uint32_t received;         /* bytes of the present reply */
    uint64_t at;               /* when connect was called, or the request sent */
};

/* When a reply was complete, and how long it took. */
struct sample {
    uint64_t at, took;
};

extern int epoll;
extern uint32_t sources;            /* addresses to connect from: 127.0.0.2 and those after it */
extern bool abandon;                /* end with a reset, which leaves no TIME_WAIT behind */
extern size_t request_bytes;        /* of each request; the reply is that and the prefix */
extern uint32_t connecting, asking; /* handshakes and replies outstanding */
extern unsigned long mismatches, errors;
extern struct sample *samples;
extern size_t sampled;

/* What a mode does about a connection that is open, about one that has its whole and correct
 * reply, about any event of one that the mode has set to WATCHED, and about a descriptor of its
 * own in `epoll` (data.ptr NULL: a timer, stdin). */
extern void (*on_open)(struct connection *);
extern void (*on_reply)(struct connection *);
extern void (*on_event)(struct connection *, uint32_t events);
extern void (*on_tick)(void);

_Noreturn void die(const char *what);
uint64_t now(void); /* nanoseconds, monotonic */

/* Raises the limit of open files; false: HOST is not an IPv4 address. */
bool prepare(const char *host, uint16_t port);

/* Makes each request a line of `bytes` bytes, the newline included. Without it, letters. */
void request_line(size_t bytes);

struct connection *allocate(uint32_t count);
struct connection *open_all(uint32_t count);
void open_one(struct connection *c);
void ask(struct connection *c);
void drop(struct connection *c);
/* Counts an error and drops the connection; the first few are reported on stderr. `error` 0: the
 * server closed it. */
void fail(struct connection *c, const char *what, int error);

/* Prints where the program is, and waits for a byte on stdin. */
void announce(const char *moment);
/* A positive number up to `most`; false: the text is none. */
bool read_number(const char *text, double most, double *value);

/* Waits once and serves what is ready; false: nothing came for five seconds. */
bool turn(void);
/* Turns until nothing is outstanding. What never comes is counted as errors. */
void settle(void);

void record(const struct connection *c, uint64_t time);
/* Of the samples with from <= at <= to, in microseconds; `q` 1 is the longest. Sorts them. */
struct quantiles {
    size_t count;
    double p50, p99, p999, max;
};
struct quantiles quantiles(uint64_t from, uint64_t to);

#endif
