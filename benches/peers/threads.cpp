// A peer to measure against: a thread per connection, blocking recv and send.
//
// It has the shape of the C++ server in the article that closecall comes from: accept, a detached
// std::thread, and a loop of recv and send in it. There the socket blocks and has no deadline; its
// `continue` on EAGAIN is never reached, and with SO_RCVTIMEO it would wait for ever, ten seconds
// at a time. Here SO_RCVTIMEO is set once and EAGAIN ends the connection: that is the blocking
// loop's way to a read deadline. Left out as well, in its favour: it logs nothing, it does not fill
// two buffers of 64 KiB with zeros for each read, and it does not take the bytes for a C string.
// And it closes the descriptor in the end.
//
// A thread that cannot be had ends the program, as the uncaught exception does in the article; here
// it says at how many connections.
//
//     c++ -O2 -pthread -o threads threads.cpp && ./threads [PORT]    (no PORT, or 0: any)
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

namespace {

constexpr char PREFIX[] = "from server back[rust]:";
constexpr size_t PREFIX_BYTES = sizeof PREFIX - 1;
constexpr size_t CHUNK_BYTES = 65536;
constexpr int BACKLOG = 4096;
constexpr timeval READ_DEADLINE = {10, 0};

std::atomic<unsigned> threads;

[[noreturn]] void die(const char *what)
{
    std::perror(what);
    std::exit(1);
}

int listen_on(uint16_t port)
{
    int one = 1;
    sockaddr_in address = {};
    socklen_t length = sizeof address;

    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    // Set here once: Linux hands both options down to every accepted socket.
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        die("setsockopt");
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), length) != 0)
        die("bind");
    if (listen(listener, BACKLOG) != 0)
        die("listen");
    if (getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length) != 0)
        die("getsockname");
    std::printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return listener;
}

bool send_all(int socket, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(socket, bytes, count, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        bytes += sent;
        count -= static_cast<size_t>(sent);
    }
    return true;
}

void serve(int socket)
{
    char reply[PREFIX_BYTES + CHUNK_BYTES];

    std::memcpy(reply, PREFIX, PREFIX_BYTES);
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &READ_DEADLINE, sizeof READ_DEADLINE) != 0)
        die("SO_RCVTIMEO");
    for (;;) {
        ssize_t got = recv(socket, reply + PREFIX_BYTES, CHUNK_BYTES, 0);
        if (got <= 0 || !send_all(socket, reply, PREFIX_BYTES + static_cast<size_t>(got)))
            break;
    }
    close(socket);
    threads--;
}

}  // namespace

int main(int argc, char **argv)
{
    int listener = listen_on(argc > 1 ? static_cast<uint16_t>(std::atoi(argv[1])) : 0);

    for (;;) {
        int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (socket < 0) {
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            die("accept4");
        }
        unsigned serving = threads++;
        try {
            std::thread(serve, socket).detach();
        } catch (const std::system_error &) {
            std::fprintf(stderr, "out of threads at %u\n", serving);
            std::_Exit(1);
        }
    }
}
