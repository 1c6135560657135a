/* The floor: the least that an epoll echo server on Linux can do for the same replies.
 *
 * One thread, edge-triggered, one shared buffer with the prefix already lying in front of the
 * data, one recv and one send an echo. It keeps no deadlines, asks nobody how a connection ended,
 * counts nothing and logs nothing. A reply that the socket does not take whole ends the connection.
 *
 * SIGTERM makes it do what a drain cannot do without: for each connection a shutdown, and one look
 * at what is unacknowledged. It goes on until it is killed.
 *
 *     cc -O2 -o server server.c && ./server [PORT]        (no PORT, or 0: the system picks one)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFIX "from server back[rust]:"

enum {
    PREFIX_BYTES = sizeof PREFIX - 1,
    CHUNK_BYTES = 65536,
    BATCH = 1024,
    BACKLOG = 4096,
};

/* The largest descriptor so far: the connections are among those up to it. */
static int last_socket;

static char reply[PREFIX_BYTES + CHUNK_BYTES] = PREFIX;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        die("getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("setrlimit");
}

static int listen_on(uint16_t port)
{
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    /* Set here once: Linux hands TCP_NODELAY down to every accepted socket. */
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        die("setsockopt");
    if (bind(listener, (struct sockaddr *)&address, length) != 0)
        die("bind");
    if (listen(listener, BACKLOG) != 0)
        die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        die("getsockname");
    printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void watch(int epoll, int socket, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = socket};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0)
        die("epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
    for (;;) {
        int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket >= 0) {
            last_socket = socket > last_socket ? socket : last_socket;
            watch(epoll, socket, EPOLLIN | EPOLLRDHUP | EPOLLET);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            die("accept4");
        }
    }
}

/* Answers everything that has arrived; closes the socket when the peer is done or gone. */
static void serve(int socket, uint32_t events)
{
    int ending = events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP);

    for (;;) {
        ssize_t got = recv(socket, reply + PREFIX_BYTES, CHUNK_BYTES, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            break;
        if (send(socket, reply, PREFIX_BYTES + got, MSG_NOSIGNAL) != PREFIX_BYTES + got)
            break;
        /* A short read has emptied the socket, and what comes later is a new edge. But when the
         * end was announced already there is no further edge: read on until it shows. */
        if (got < CHUNK_BYTES && !ending)
            return;
    }
    close(socket);
}

/* SIGTERM as a descriptor, so that the wait needs no mask. */
static int watch_for_sigterm(int epoll)
{
    sigset_t terminate;

    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &terminate, NULL) != 0)
        die("sigprocmask");
    int signals = signalfd(-1, &terminate, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals < 0)
        die("signalfd");
    watch(epoll, signals, EPOLLIN);
    return signals;
}

/* What is no connection, or has ended, refuses the shutdown. */
static void drain(int signals)
{
    struct signalfd_siginfo signal;
    int unacked;

    if (read(signals, &signal, sizeof signal) != sizeof signal)
        return;
    for (int socket = signals + 1; socket <= last_socket; socket++)
        if (shutdown(socket, SHUT_WR) == 0 && ioctl(socket, SIOCOUTQ, &unacked) != 0)
            die("SIOCOUTQ");
}

int main(int argc, char **argv)
{
    static struct epoll_event ready[BATCH];

    raise_file_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    int listener = listen_on(argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
    watch(epoll, listener, EPOLLIN);
    int signals = watch_for_sigterm(epoll);

    for (;;) {
        int count = epoll_wait(epoll, ready, BATCH, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener)
                accept_all(epoll, listener);
            else if (ready[i].data.fd == signals)
                drain(signals);
            else
                serve(ready[i].data.fd, ready[i].events);
        }
    }
}
