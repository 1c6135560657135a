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
#include "silent.h"

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
 * after a quiet phase and then only watched (silent.h). */
static struct {
    struct connection *active;
    uint32_t active_count, next, skipped;
    uint64_t started;
    int timer;
} d;

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

static void tick(void)
{
    uint64_t ticks = 0, time = now();

    if (read(d.timer, &ticks, sizeof ticks) != sizeof ticks)
        return;
    if (ticks > d.active_count)
        ticks = d.active_count;
    while (ticks-- > 0)
        ask_next();
    if (time >= silence.opening)
        open_due_silence(time);
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
    putchar('{');
    print_phase("quiet", d.started, silence.opening);
    print_phase("burst", silence.first_fin - 100 * MILLISECOND,
                silence.last_fin + 100 * MILLISECOND);
    print_silence();
    printf("\"skipped\":%u,\"mismatches\":%lu,\"errors\":%lu}\n", d.skipped, mismatches, errors);
}

static void deadline(uint32_t silent, uint32_t active, uint32_t rate)
{
    request_bytes = PACED_SIZE;
    on_open = stay;
    on_reply = record_only;
    d.active = open_all(active);
    d.active_count = active;
    d.started = now() + WARM_UP_MS * MILLISECOND;
    prepare_silence(silent, rate, d.started + QUIET_S * SECOND);
    start_ticking();
    uint64_t give_up = silence.opening + silent * SECOND / rate + PATIENCE_S * SECOND;
    while (silence.fins + silence.others < silent && now() < give_up)
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

static double number(const char *text, double most)
{
    double value;

    if (!read_number(text, most, &value))
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
