/* See silent.h. */
#define _GNU_SOURCE
#include "silent.h"

#include <stdio.h>
#include <sys/epoll.h>

struct silence silence;

static void begin_silence(struct connection *c)
{
    silence.slow += now() - c->at > 100 * MILLISECOND; /* its SYN was lost: its time says nothing */
    c->state = WATCHED;
}

/* A bare FIN is what we wait for. We do not react to it: the socket stays open to the end. */
static void watch_silence(struct connection *c, uint32_t events)
{
    uint64_t time = now(), took = time - c->at;

    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        return;
    c->state = ENDED;
    if (!(events & EPOLLRDHUP) || events & (EPOLLERR | EPOLLHUP)) {
        silence.others++;
        return;
    }
    if (silence.fins++ == 0)
        silence.first_fin = time;
    silence.last_fin = time;
    silence.shortest = took < silence.shortest ? took : silence.shortest;
    silence.longest = took > silence.longest ? took : silence.longest;
    if (silence.on_fin)
        silence.on_fin(c, time);
}

void prepare_silence(uint32_t count, uint32_t rate, uint64_t opening)
{
    silence.all = allocate(count);
    silence.count = count;
    silence.rate = rate;
    silence.opening = opening;
    silence.shortest = UINT64_MAX;
    on_open = begin_silence;
    on_event = watch_silence;
}

void open_due_silence(uint64_t time)
{
    uint64_t due = (time - silence.opening) * silence.rate / SECOND;

    while (silence.opened < silence.count && silence.opened < due &&
           connecting < CONNECTING_AT_ONCE)
        open_one(&silence.all[silence.opened++]);
    if (silence.opened == silence.count && connecting == 0 && !silence.opened_all)
        silence.opened_all = now();
}

void print_silence(void)
{
    double open_s =
        silence.opened_all ? (double)(silence.opened_all - silence.opening) / (double)SECOND : 0;

    printf("\"silent\":%u,\"fin\":%u,\"other\":%u,\"slow_connects\":%u,\"open_s\":%.3f,"
           "\"fin_min_ms\":%.3f,\"fin_max_ms\":%.3f,",
           silence.count, silence.fins, silence.others, silence.slow, open_s,
           silence.fins ? (double)silence.shortest / (double)MILLISECOND : 0,
           (double)silence.longest / (double)MILLISECOND);
}
