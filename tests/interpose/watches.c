/* Stands before libc (LD_PRELOAD): the kernel has watches for no more than WATCHES_MAX accepted
 * sockets at a time. Beyond them EPOLL_CTL_ADD fails with ENOSPC, as beyond
 * fs.epoll.max_user_watches (epoll_ctl(2)).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define FILES 65536
enum state { NOT_OURS, ACCEPTED, WATCHED };
static unsigned char states[FILES]; /* of each descriptor, as far as accept4 gave it */
static int watched;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int watches_max(void) {
    const char *text = getenv("WATCHES_MAX");
    return text ? atoi(text) : FILES;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    REAL(accept4);
    int accepted = real(fd, address, length, flags);
    if (accepted >= 0 && accepted < FILES) states[accepted] = ACCEPTED;
    return accepted;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    REAL(epoll_ctl);
    if (operation == EPOLL_CTL_ADD && fd >= 0 && fd < FILES && states[fd] == ACCEPTED) {
        if (watched >= watches_max()) { errno = ENOSPC; return -1; }
        states[fd] = WATCHED;
        watched++;
    }
    return real(epoll, operation, fd, event);
}

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < FILES) {
        if (states[fd] == WATCHED) watched--;
        states[fd] = NOT_OURS;
    }
    return real(fd);
}
