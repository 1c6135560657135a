/* Stands before libc (LD_PRELOAD): the kernel has no more than WATCHES_MAX watches. Beyond them
 * EPOLL_CTL_ADD fails with ENOSPC, as beyond fs.epoll.max_user_watches (epoll_ctl(2)).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define FILES 65536
static unsigned char is_watched[FILES]; /* each descriptor: whether it has a watch */
static int watched;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int watches_max(void) {
    const char *text = getenv("WATCHES_MAX");
    return text ? atoi(text) : FILES;
}

static void forget(int fd) {
    if (fd >= 0 && fd < FILES && is_watched[fd]) {
        is_watched[fd] = 0;
        watched--;
    }
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    REAL(epoll_ctl);
    if (operation == EPOLL_CTL_ADD && fd >= 0 && fd < FILES) {
        if (watched >= watches_max()) { errno = ENOSPC; return -1; }
        is_watched[fd] = 1;
        watched++;
    }
    if (operation == EPOLL_CTL_DEL) forget(fd);
    return real(epoll, operation, fd, event);
}

int close(int fd) {
    REAL(close);
    forget(fd);
    return real(fd);
}
