/* The crowd in front of a server, one kind of connection for each mode. One thread, one epoll, on
 * the generator of ../limit. fair.py starts it; by hand it is driven from a terminal.
 *
 *     crowd flood  HOST PORT CONNECTIONS               always send and always read
 *     crowd polite HOST PORT CONNECTIONS GAP_MS        ask 64 bytes, read the whole reply, wait
 *     crowd fresh  HOST PORT CONNECTIONS GAP_MS        the same, each exchange on a new connection
 *     crowd silent HOST PORT CONNECTIONS RATE          open RATE a second, say nothing, watch
 *
 * Each mode opens its connections first (fresh and silent: none), prints `start` and waits for a
 * line on stdin. What follows is the protocol of the mode, described at the mode. Moments are
 * nanoseconds of CLOCK_MONOTONIC, which all processes of the machine share.
 */
#define _GNU_SOURCE
#include "generator.h"
#include "silent.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    WRITE_BYTES = 65536,
    LINE_BYTES = 80, /* of the flood, the newline included */
    READ_BYTES = 262144,
    POLITE_BYTES = 64, /* the newline included */
    PATIENCE_S = 12, /* for the last replies; more than the servers' read deadline */
    OPENING_TICK_MS = 1,
};

/* A descriptor of the program's own: what happens there ends up in on_tick. */
static void watch_own(int descriptor, const char *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        die(what);
}

static int new_timer(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0)
        die("timerfd_create");
    watch_own(timer, "timerfd");
    return timer;
}

/* Whether a byte of the script has arrived; it is taken. The end of stdin ends the program. */
static bool called(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;

    if (poll(&input, 1, 0) != 1)
        return false;
    if (read(STDIN_FILENO, &byte, 1) != 1)
        exit(0);
    return true;
}

static void stay(struct connection *c)
{
    (void)c;
}

/* --- flood ------------------------------------------------------------------------------- *
 *
 * After `start` each line on stdin is answered with the bytes so far, as JSON. The end of stdin
 * ends the flood. */

static struct {
    uint64_t sent, received;
    char lines[WRITE_BYTES + LINE_BYTES]; /* sent from wherever the last write stopped in a line */
} flood;

static void report_flood(void)
{
    if (!called())
        return;
    printf("{\"at_ns\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 ",\"received_bytes\":%" PRIu64
           ",\"mismatches\":%lu,\"errors\":%lu}\n",
           now(), flood.sent, flood.received, mismatches, errors);
    fflush(stdout);
}

static void read_reply(struct connection *c)
{
    static char inbox[READ_BYTES];

    ssize_t got = recv(c->fd, inbox, sizeof inbox, 0);
    if (got > 0)
        flood.received += (uint64_t)got;
    else if (got == 0 || errno != EAGAIN)
        fail(c, "recv", got < 0 ? errno : 0);
}

/* `received` of the connection is the place in the line at which the next write begins. */
static void write_lines(struct connection *c)
{
    ssize_t sent = send(c->fd, flood.lines + c->received, WRITE_BYTES, MSG_NOSIGNAL);
    if (sent > 0) {
        flood.sent += (uint64_t)sent;
        c->received = (uint32_t)((c->received + (size_t)sent) % LINE_BYTES);
    } else if (errno != EAGAIN) {
        fail(c, "send", errno);
    }
}

/* One read and one write at each event, level-triggered, so that all have the same turn. */
static void pump(struct connection *c, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        read_reply(c);
    if (c->state == WATCHED && events & EPOLLOUT)
        write_lines(c);
}

static _Noreturn void run_flood(uint32_t count)
{
    on_open = stay;
    on_event = pump;
    on_tick = report_flood;
    memset(flood.lines, 'x', sizeof flood.lines);
    for (size_t i = LINE_BYTES - 1; i < sizeof flood.lines; i += LINE_BYTES)
        flood.lines[i] = '\n';

    struct connection *all = open_all(count);
    announce("start");
    watch_own(STDIN_FILENO, "stdin");
    for (uint32_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = &all[i]};
        all[i].state = WATCHED;
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, all[i].fd, &event) != 0)
            die("epoll_ctl");
    }
    for (;;)
        turn();
}

/* --- polite and fresh -------------------------------------------------------------------- *
 *
 * The next line after `start` stops them: no further questions, the last replies are waited for,
 * then `stop` is printed. A question that is not answered by then counts with its age. Each further
 * line is two moments, FROM and TO; the answer is the JSON of the exchanges that ended between
 * them. */

static struct {
    struct connection **line; /* those that wait for their next turn, the first due in front */
    uint64_t *due;            /* by number */
    uint32_t count, head, waiting;
    uint64_t gap;
    int timer;
    bool fresh, stopping;
} polite;

static void arm(void)
{
    uint64_t due = polite.waiting ? polite.due[polite.line[polite.head]->number] : 0;
    struct itimerspec at = {.it_value = {(time_t)(due / SECOND), (long)(due % SECOND)}};

    if (timerfd_settime(polite.timer, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        die("timerfd_settime");
}

/* The gap is the same for all, so a connection that comes last is due last. */
static void stand_in_line(struct connection *c, uint64_t due)
{
    polite.due[c->number] = due;
    polite.line[(polite.head + polite.waiting++) % polite.count] = c;
    if (polite.waiting == 1)
        arm();
}

static void ask_due(void)
{
    uint64_t ticks, time = now();

    if (called())
        polite.stopping = true;
    if (read(polite.timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
        die("timerfd");
    if (polite.stopping)
        return;
    while (polite.waiting > 0 && polite.due[polite.line[polite.head]->number] <= time) {
        struct connection *c = polite.line[polite.head];
        polite.head = (polite.head + 1) % polite.count;
        polite.waiting--;
        if (polite.fresh)
            open_one(c);
        else
            ask(c);
    }
    arm();
}

/* The exchange of a fresh connection began with its connect. */
static void ask_since_connect(struct connection *c)
{
    uint64_t connected = c->at;
    ask(c);
    c->at = connected;
}

static void wait_again(struct connection *c)
{
    uint64_t time = now();
    record(c, time);
    if (polite.fresh)
        drop(c);
    stand_in_line(c, time + polite.gap);
}

/* These clients sleep nearly all the time. They must not wait for the flood on the same core when
 * their reply is there: that time would be ours and not the server's. */
static const char *go_first(void)
{
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) == 0)
        return "fifo";
    return setpriority(PRIO_PROCESS, 0, -20) == 0 ? "nice" : "none";
}

static uint32_t count_unanswered(struct connection *all)
{
    uint32_t unanswered = 0;
    for (uint32_t i = 0; i < polite.count; i++) {
        if (all[i].state == WAITING || all[i].state == CONNECTING) {
            record(&all[i], now());
            unanswered++;
        }
    }
    return unanswered;
}

static _Noreturn void answer_questions(const char *priority, uint32_t unanswered)
{
    uint64_t from, to;

    while (scanf("%" SCNu64 " %" SCNu64, &from, &to) == 2) {
        struct quantiles took = quantiles(from, to);
        printf("{\"echoes\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,"
               "\"unanswered\":%u,\"priority\":\"%s\",\"mismatches\":%lu,\"errors\":%lu}\n",
               took.count, took.p50, took.p99, took.p999, took.max, unanswered, priority,
               mismatches, errors);
        fflush(stdout);
    }
    exit(0);
}

static _Noreturn void run_polite(uint32_t count, double gap_ms, bool fresh)
{
    request_line(POLITE_BYTES);
    on_open = fresh ? ask_since_connect : stay;
    on_reply = wait_again;
    on_tick = ask_due;
    abandon = !fresh;
    polite.fresh = fresh;
    polite.count = count;
    polite.gap = (uint64_t)(gap_ms * (double)MILLISECOND);
    polite.line = calloc(count, sizeof(struct connection *));
    polite.due = calloc(count, sizeof *polite.due);
    if (!polite.line || !polite.due)
        die("calloc");

    struct connection *all = fresh ? allocate(count) : open_all(count);
    const char *priority = go_first();
    announce("start");
    watch_own(STDIN_FILENO, "stdin");
    polite.timer = new_timer();
    uint64_t started = now();
    for (uint32_t i = 0; i < count; i++) /* evenly over the first gap */
        stand_in_line(&all[i], started + polite.gap * i / count);
    while (!polite.stopping)
        turn();
    for (uint64_t end = now() + PATIENCE_S * SECOND; connecting + asking > 0 && now() < end;)
        turn();
    uint32_t unanswered = count_unanswered(all);
    puts("stop");
    fflush(stdout);
    answer_questions(priority, unanswered);
}

/* --- silent ------------------------------------------------------------------------------ *
 *
 * After `start` the connections are opened; then `opened` is printed. The result is printed as JSON
 * when the server has ended them all, or at the next line on stdin. */

static struct {
    int timer;
    bool stopping;
} silent;

static void open_more(void)
{
    uint64_t ticks;

    if (called())
        silent.stopping = true;
    if (read(silent.timer, &ticks, sizeof ticks) == sizeof ticks)
        open_due_silence(now());
}

static void run_silent(uint32_t count, uint32_t rate)
{
    const long tick = OPENING_TICK_MS * (long)MILLISECOND;
    struct itimerspec pace = {{0, tick}, {0, tick}}, never = {{0, 0}, {0, 0}};

    on_tick = open_more;
    silence.on_fin = record;
    announce("start");
    prepare_silence(count, rate, now());
    watch_own(STDIN_FILENO, "stdin");
    silent.timer = new_timer();
    if (timerfd_settime(silent.timer, 0, &pace, NULL) != 0)
        die("timerfd_settime");
    while (!silence.opened_all && !silent.stopping)
        turn();
    if (timerfd_settime(silent.timer, 0, &never, NULL) != 0)
        die("timerfd_settime");
    puts("opened");
    fflush(stdout);
    while (silence.fins + silence.others < count && !silent.stopping)
        turn();

    struct quantiles took = quantiles(0, UINT64_MAX);
    putchar('{');
    print_silence();
    printf("\"fin_p50_ms\":%.3f,\"fin_p99_ms\":%.3f,\"opening_ns\":%" PRIu64
           ",\"opened_ns\":%" PRIu64 ",\"first_fin_ns\":%" PRIu64 ",\"last_fin_ns\":%" PRIu64
           ",\"mismatches\":%lu,\"errors\":%lu}\n",
           took.p50 / 1e3, took.p99 / 1e3, silence.opening, silence.opened_all, silence.first_fin,
           silence.last_fin, mismatches, errors);
}

/* --- the command line -------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fputs("usage: crowd flood  HOST PORT CONNECTIONS\n"
          "       crowd polite HOST PORT CONNECTIONS GAP_MS\n"
          "       crowd fresh  HOST PORT CONNECTIONS GAP_MS\n"
          "       crowd silent HOST PORT CONNECTIONS RATE\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    double port, count, last;

    if (argc < 5 || argc > 6 || !read_number(argv[3], 65535, &port) ||
        !read_number(argv[4], 1e6, &count) || (argc == 6 && !read_number(argv[5], 1e6, &last)) ||
        !prepare(argv[2], (uint16_t)port))
        usage();
    if (strcmp(argv[1], "flood") == 0 && argc == 5)
        run_flood((uint32_t)count);
    else if (strcmp(argv[1], "polite") == 0 && argc == 6)
        run_polite((uint32_t)count, last, false);
    else if (strcmp(argv[1], "fresh") == 0 && argc == 6)
        run_polite((uint32_t)count, last, true);
    else if (strcmp(argv[1], "silent") == 0 && argc == 6)
        run_silent((uint32_t)count, (uint32_t)last);
    else
        usage();
    return 0;
}
