/* Stands before libc (LD_PRELOAD) and makes the calls of a server fail, come short, or come in
 * another order, by a seed. Only what Linux may do as well:
 *
 *   - A short read or write means that nothing more is there (epoll(7)). So what is held back here
 *     is announced by an event of its own with the next wait, as if it had come a moment later.
 *   - close is made, whatever it says, and a shutdown that fails has happened as well.
 *   - A batch of events may be cut and may come in any order; an event may be about nothing.
 *
 * Only sockets that accept4 gave are touched, and only in the thread that serves, which is the
 * first. INTERPOSE_SEED decides; INTERPOSE_RATE: one call in so many; INTERPOSE_DEADLY: one in so
 * many fails for good, 0 is never. On exit INTERPOSE_REPORT, a file, has a line "name count" for
 * each kind of fault.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES 65536
#define COUNT(list) (sizeof(list) / sizeof *(list))

enum fault { ACCEPT_FAILS, CTL_FAILS, WAIT_INTERRUPTED, WAIT_CUT, WAIT_SHUFFLED, WAIT_SPURIOUS,
             RECV_FAILS, RECV_SHORT, RECV_DIES, SEND_FAILS, SEND_SHORT, SEND_BLOCKS, SEND_DIES,
             SHUTDOWN_FAILS, CLOSE_FAILS, NO_FACTS, FAULTS };
static const char *const names[FAULTS] = {
    "accept_fails", "ctl_fails", "wait_interrupted", "wait_cut", "wait_shuffled", "wait_spurious",
    "recv_fails", "recv_short", "recv_dies", "send_fails", "send_short", "send_blocks", "send_dies",
    "shutdown_fails", "close_fails", "no_facts" };

/* What is known of a descriptor: zero unless accept4 gave it. */
struct file { uint8_t ours, watched, owed; uint32_t interest; epoll_data_t data; };
static struct file files[FILES];
static int highest;               /* no descriptor of ours lies above it */
static int owing;                 /* how many are owed an event */
static uint64_t state, rate, deadly;
static unsigned long counts[FAULTS];

static uint64_t below(uint64_t end) {
    state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
    return (state * 0x2545F4914F6CDD1DULL >> 33) % end;
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(void) {
    const char *path = getenv("INTERPOSE_REPORT");
    FILE *out = path ? fopen(path, "w") : NULL;
    if (!out) return;
    for (int it = 0; it < FAULTS; it++) fprintf(out, "%s %lu\n", names[it], counts[it]);
    fclose(out);
}

__attribute__((constructor)) static void begin(void) {
    state = number("INTERPOSE_SEED", 1) * 0x9E3779B97F4A7C15ULL | 1;
    rate = number("INTERPOSE_RATE", 8);
    deadly = number("INTERPOSE_DEADLY", 0);
    atexit(report);
}

/* Whether this thread is the one that serves. */
static int serves(void) { return getpid() == (pid_t)syscall(SYS_gettid); }
static int is_ours(int fd) { return fd >= 0 && fd < FILES && files[fd].ours && serves(); }

static int strikes(enum fault fault, uint64_t one_in) {
    if (one_in == 0 || below(one_in) != 0) return 0;
    counts[fault]++;
    return 1;
}

/* -1 with one of these errors. */
static int fails(const int *errors, size_t count) { errno = errors[below(count)]; return -1; }
#define FAILS(...) fails((const int[]){__VA_ARGS__}, COUNT(((const int[]){__VA_ARGS__})))

static void owe(int fd) {
    if (!files[fd].owed) { files[fd].owed = 1; owing++; }
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    REAL(accept4);
    if (serves() && strikes(ACCEPT_FAILS, rate))
        return FAILS(EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EINTR, EPROTO, EPERM, ENETDOWN);
    int accepted = real(fd, address, length, flags);
    if (accepted >= 0 && accepted < FILES) {
        files[accepted] = (struct file){ .ours = 1 };
        if (accepted > highest) highest = accepted;
    }
    return accepted;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    REAL(epoll_ctl);
    if (is_ours(fd)) {
        /* A newcomer that cannot be watched is lost; room that cannot be watched is asked again. */
        uint64_t one_in = operation == EPOLL_CTL_ADD ? deadly : rate;
        if (strikes(CTL_FAILS, one_in)) return FAILS(ENOMEM, ENOSPC);
        files[fd].watched = operation != EPOLL_CTL_DEL;
        if (event) { files[fd].interest = event->events; files[fd].data = event->data; }
    }
    return real(epoll, operation, fd, event);
}

/* An event for `fd` of all that it is watched for. */
static struct epoll_event event_of(int fd) {
    uint32_t events = files[fd].interest & (EPOLLIN | EPOLLOUT);
    return (struct epoll_event){ .events = events, .data = files[fd].data };
}

int epoll_wait(int epoll, struct epoll_event *events, int room, int timeout) {
    REAL(epoll_wait);
    if (!serves()) return real(epoll, events, room, timeout);
    if (strikes(WAIT_INTERRUPTED, rate)) return FAILS(EINTR);
    if (room > 1 && strikes(WAIT_CUT, rate)) room = 1 + (int)below(room < 4 ? room : 4);
    int count = real(epoll, events, room, owing ? 0 : timeout);
    for (int fd = 0; owing && count >= 0 && count < room && fd <= highest; fd++) {
        if (!files[fd].owed) continue;
        files[fd].owed = 0;
        owing--;
        if (files[fd].watched) events[count++] = event_of(fd);
    }
    if (count >= 0 && count < room && strikes(WAIT_SPURIOUS, rate)) {
        int fd = (int)below(highest + 1);
        if (files[fd].ours && files[fd].watched) events[count++] = event_of(fd);
    }
    if (count > 1 && strikes(WAIT_SHUFFLED, 2)) {
        for (int left = count; left > 1; left--) {
            int other = (int)below(left);
            struct epoll_event kept = events[left - 1];
            events[left - 1] = events[other];
            events[other] = kept;
        }
    }
    return count;
}

ssize_t recv(int fd, void *space, size_t length, int flags) {
    REAL(recv);
    if (!is_ours(fd)) return real(fd, space, length, flags);
    if (strikes(RECV_DIES, deadly)) return FAILS(ECONNRESET, ETIMEDOUT, EHOSTUNREACH);
    if (strikes(RECV_FAILS, rate)) return FAILS(EINTR, ENOMEM, ENOBUFS);
    if (length > 1 && strikes(RECV_SHORT, rate)) {
        length = 1 + below(length < 100 || below(2) ? length - 1 : 100);
        owe(fd);
    }
    return real(fd, space, length, flags);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    REAL(send);
    if (!is_ours(fd)) return real(fd, bytes, length, flags);
    if (strikes(SEND_DIES, deadly)) return FAILS(EPIPE, ECONNRESET, ETIMEDOUT, EPERM);
    if (strikes(SEND_FAILS, rate)) return FAILS(EINTR, ENOMEM, ENOBUFS);
    if (strikes(SEND_BLOCKS, rate)) { owe(fd); return FAILS(EAGAIN); }
    if (length > 1 && strikes(SEND_SHORT, rate)) { length = 1 + below(length - 1); owe(fd); }
    return real(fd, bytes, length, flags);
}

int shutdown(int fd, int how) {
    REAL(shutdown);
    int result = real(fd, how);
    if (is_ours(fd) && strikes(SHUTDOWN_FAILS, deadly)) return FAILS(ENOTCONN, ENOBUFS);
    return result;
}

int close(int fd) {
    REAL(close);
    int ours = is_ours(fd);
    if (ours) {
        owing -= files[fd].owed;
        files[fd] = (struct file){ 0 };
    }
    int result = real(fd);
    if (ours && strikes(CLOSE_FAILS, rate)) return FAILS(EINTR, EIO);
    return result;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    REAL(getsockopt);
    if (is_ours(fd) && name != SO_ERROR && strikes(NO_FACTS, rate)) return FAILS(ENOPROTOOPT);
    return real(fd, level, name, value, length);
}
