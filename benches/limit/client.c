/* The generator of load: one thread, one epoll, as little work an echo as possible, so that the
 * server is what the measurement sees. run.py starts it; by hand it is driven from a terminal.
 *
 *     client echo     HOST PORT CONNECTIONS SECONDS SIZE     closed loop on open connections
 *     client churn    HOST PORT SECONDS PARALLEL [SOURCES]   connect, ask, read the reply, close
 *     client hold     HOST PORT CONNECTIONS                  open them and stay silent
 *     client deadline HOST PORT SILENT ACTIVE RATE           watch the server end silent ones
 *
 * echo and churn print `start` and `stop` around the measured window, hold prints `start`; after
 * each of these lines the client does nothing until it gets a byte on stdin, so that the script
 * can look at the server at exactly that moment. Then no echo is under way: the server sleeps.
 * The last line is the result, as JSON.
 */
#define _GNU_SOURCE
#include "generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    WARM_UP_MS = 200,
    CHURN_SIZE = 64,
    PACED_SIZE = 64,
    PACE_US = 5000, /* deadline: each active connection asks so often */
    QUIET_S = 3,
    PATIENCE_S = 30, /* deadline: no longer than this do we wait for the FINs */
};

/* Tells the script where we are, and does nothing until it answers. */
static void announce(const char *moment)
{
    char byte;

    puts(moment);
    fflush(stdout);
    if (read(STDIN_FILENO, &byte, 1) != 1)
        exit(1);
}

static void stay(struct connection *c)
{
    (void)c;
}

/* --- echo and churn ---------------------------------------------------------------------- */

static uint64_t finish;

static void echo_again(struct connection *c)
{
    uint64_t time = now();
    record(c, time);
    if (time < finish)
        ask(c);
}

/* The reply is read, so this close is a FIN. TIME_WAIT stays with us, who closed first. */
static void cycle_again(struct connection *c)
{
    uint64_t time = now();
    record(c, time);
    drop(c);
    if (time < finish)
        open_one(c);
}

/* Sets every connection that is in the state `from` going, and waits for the last reply. */
static void run_until(uint64_t end, struct connection *all, uint32_t count, enum state from,
                      void (*begin)(struct connection *))
{
    finish = end;
    sampled = 0;
    for (uint32_t i = 0; i < count; i++)
        if (all[i].state == from)
            begin(&all[i]);
    settle();
}

static void measure(double seconds, struct connection *all, uint32_t count, enum state from,
                    void (*begin)(struct connection *))
{
    run_until(now() + WARM_UP_MS * MILLISECOND, all, count, from, begin);
    announce("start");
    uint64_t started = now();
    run_until(started + (uint64_t)(seconds * (double)SECOND), all, count, from, begin);
    uint64_t elapsed = now() - started;
    announce("stop");

    struct quantiles took = quantiles(0, UINT64_MAX);
    printf("{\"echoes\":%zu,\"seconds\":%.6f,\"mismatches\":%lu,\"errors\":%lu,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
           took.count, (double)elapsed / (double)SECOND, mismatches, errors, took.p50, took.p99,
           took.p999);
}

static void echo(uint32_t connections, double seconds, size_t size)
{
    request_bytes = size;
    on_open = stay;
    on_reply = echo_again;
    measure(seconds, open_all(connections), connections, IDLE, ask);
}

static void churn(double seconds, uint32_t parallel)
{
    request_bytes = CHURN_SIZE;
    abandon = false;
    on_open = ask;
    on_reply = cycle_again;
    measure(seconds, allocate(parallel), parallel, CLOSED, open_one);
}

static void hold(uint32_t connections)
{
    on_open = stay;
    open_all(connections);
    announce("start");
    printf("{\"mismatches\":%lu,\"errors\":%lu}\n", mismatches, errors);
}

/* --- deadline ---------------------------------------------------------------------------- */

/* The active ones ask at an even pace all the while, one at each tick. The silent ones are opened
 * after a quiet phase and then only watched. Silence is counted from the moment before connect():
 * the server can only have accepted later. A server that never ends anyone early can therefore
 * not come out below its deadline, and lateness is never understated. */
static struct {
    struct connection *active, *silent;
    uint32_t active_count, silent_count, rate;
    uint32_t next, opened, fins, others, skipped, slow;
    uint64_t started, opening, opened_all, first_fin, last_fin, shortest, longest;
    int timer;
} d;

static void begin_silence(struct connection *c)
{
    d.slow += now() - c->at > 100 * MILLISECOND; /* its SYN was lost: its time says nothing */
    c->state = SILENT;
}

/* A bare FIN is what we wait for. We do not react to it: the socket stays open to the end. */
static void watch_silent(struct connection *c, uint32_t events)
{
    uint64_t time = now(), silence = time - c->at;

    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        return;
    c->state = ENDED;
    if (!(events & EPOLLRDHUP) || events & (EPOLLERR | EPOLLHUP)) {
        d.others++;
        return;
    }
    if (d.fins++ == 0)
        d.first_fin = time;
    d.last_fin = time;
    d.shortest = silence < d.shortest ? silence : d.shortest;
    d.longest = silence > d.longest ? silence : d.longest;
}

/* Latency counts from the actual send: it is the time of service. */
static void record_only(struct connection *c)
{
    record(c, now());
}

/* Whose reply is still out is skipped. */
static void ask_next(void)
{
    struct connection *c = &d.active[d.next++ % d.active_count];
    if (c->state == IDLE)
        ask(c);
    else
        d.skipped++;
}

static void open_due(uint64_t time)
{
    uint64_t due = (time - d.opening) * d.rate / SECOND;

    while (d.opened < d.silent_count && d.opened < due && connecting < CONNECTING_AT_ONCE)
        open_one(&d.silent[d.opened++]);
    if (d.opened == d.silent_count && connecting == 0 && !d.opened_all)
        d.opened_all = now();
}

static void tick(void)
{
    uint64_t ticks = 0, time = now();

    if (read(d.timer, &ticks, sizeof ticks) != sizeof ticks)
        return;
    if (ticks > d.active_count)
        ticks = d.active_count;
    while (ticks-- > 0)
        ask_next();
    if (time >= d.opening)
        open_due(time);
}

static void start_ticking(void)
{
    long interval = (long)(PACE_US * MICROSECOND / d.active_count);
    struct itimerspec pace = {{0, interval}, {0, interval}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    on_tick = tick;
    d.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (d.timer < 0 || timerfd_settime(d.timer, 0, &pace, NULL) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, d.timer, &event) != 0)
        die("timerfd");
}

/* The active ones' latency in a span of time, as members of the JSON object. */
static void print_phase(const char *name, uint64_t from, uint64_t to)
{
    struct quantiles took = quantiles(from, to);
    printf("\"%s_echoes\":%zu,\"%s_p50_us\":%.1f,\"%s_p999_us\":%.1f,\"%s_max_us\":%.1f,", name,
           took.count, name, took.p50, name, took.p999, name, took.max);
}

static void print_deadline(void)
{
    double open_s = d.opened_all ? (double)(d.opened_all - d.opening) / (double)SECOND : 0;

    putchar('{');
    print_phase("quiet", d.started, d.opening);
    print_phase("burst", d.first_fin - 100 * MILLISECOND, d.last_fin + 100 * MILLISECOND);
    printf("\"silent\":%u,\"fin\":%u,\"other\":%u,\"slow_connects\":%u,\"open_s\":%.3f,"
           "\"fin_min_ms\":%.3f,\"fin_max_ms\":%.3f,\"skipped\":%u,"
           "\"mismatches\":%lu,\"errors\":%lu}\n",
           d.silent_count, d.fins, d.others, d.slow, open_s,
           d.fins ? (double)d.shortest / (double)MILLISECOND : 0,
           (double)d.longest / (double)MILLISECOND, d.skipped, mismatches, errors);
}

static void deadline(uint32_t silent, uint32_t active, uint32_t rate)
{
    request_bytes = PACED_SIZE;
    on_open = stay;
    on_reply = record_only;
    d.active = open_all(active);
    d.silent = allocate(silent);
    d.active_count = active;
    d.silent_count = silent;
    d.rate = rate;
    d.shortest = UINT64_MAX;

    on_open = begin_silence;
    on_silent = watch_silent;
    d.started = now() + WARM_UP_MS * MILLISECOND;
    d.opening = d.started + QUIET_S * SECOND;
    start_ticking();
    uint64_t give_up = d.opening + silent * SECOND / rate + PATIENCE_S * SECOND;
    while (d.fins + d.others < silent && now() < give_up)
        turn();
    for (uint64_t end = now() + 200 * MILLISECOND; now() < end;)
        turn();
    print_deadline();
}

/* --- the command line -------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fputs("usage: client echo     HOST PORT CONNECTIONS SECONDS SIZE\n"
          "       client churn    HOST PORT SECONDS PARALLEL [SOURCES]\n"
          "       client hold     HOST PORT CONNECTIONS\n"
          "       client deadline HOST PORT SILENT ACTIVE RATE\n",
          stderr);
    exit(2);
}

/* A positive number up to `most`, or the usage. */
static double number(const char *text, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == 0 || *end != 0 || !(value > 0) || value > most)
        usage();
    return value;
}

static uint32_t count(const char *text)
{
    return (uint32_t)number(text, 1e9);
}

int main(int argc, char **argv)
{
    if (argc < 5 || !prepare(argv[2], (uint16_t)number(argv[3], 65535)))
        usage();
    const char *mode = argv[1];
    char **rest = argv + 4;
    int given = argc - 4;

    if (strcmp(mode, "echo") == 0 && given == 3) {
        echo(count(rest[0]), number(rest[1], 3600), (size_t)number(rest[2], LONGEST));
    } else if (strcmp(mode, "churn") == 0 && (given == 2 || given == 3)) {
        sources = given == 3 ? count(rest[2]) : sources;
        churn(number(rest[0], 3600), count(rest[1]));
    } else if (strcmp(mode, "hold") == 0 && given == 1) {
        hold(count(rest[0]));
    } else if (strcmp(mode, "deadline") == 0 && given == 3) {
        deadline(count(rest[0]), count(rest[1]), count(rest[2]));
    } else {
        usage();
    }
    return 0;
}
