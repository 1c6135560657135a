/* A peer to measure against: libuv's callbacks, with one uv_timer per connection for the read
 * deadline, started anew on each read.
 *
 * All connections read into one buffer, with the prefix lying in front of the data: uv_try_write
 * sends the reply from there. Only what the socket did not take is copied and left to uv_write, and
 * until that is done the connection is not read.
 *
 *     cc -O2 -o libuv libuv.c -luv && ./libuv [PORT]        (no PORT, or 0: the system picks one)
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define PREFIX "from server back[rust]:"

enum {
    PREFIX_BYTES = sizeof PREFIX - 1,
    CHUNK_BYTES = 65536,
    BACKLOG = 4096,
    READ_DEADLINE_MS = 10000,
};

struct connection {
    uv_tcp_t tcp;
    uv_timer_t deadline;
    uv_write_t write;
    char *rest; /* of a reply that the socket did not take whole */
    int handles;
};

static char reply[PREFIX_BYTES + CHUNK_BYTES] = PREFIX;

static void check(int status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        check(UV_ENOMEM, "calloc");
    return memory;
}

/* The memory belongs to two handles, and libuv still needs it until both are closed. */
static void on_close(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->handles > 0)
        return;
    free(c->rest);
    free(c);
}

static void end(struct connection *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    uv_close((uv_handle_t *)&c->deadline, on_close);
    uv_close((uv_handle_t *)&c->tcp, on_close);
}

static void on_deadline(uv_timer_t *timer)
{
    end(timer->data);
}

static void arm(struct connection *c)
{
    check(uv_timer_start(&c->deadline, on_deadline, READ_DEADLINE_MS, 0), "uv_timer_start");
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle, (void)suggested;
    *buffer = uv_buf_init(reply + PREFIX_BYTES, CHUNK_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer);

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    free(c->rest);
    c->rest = NULL;
    if (status < 0)
        end(c);
    else if (!uv_is_closing((uv_handle_t *)&c->tcp))
        check(uv_read_start((uv_stream_t *)&c->tcp, on_buffer, on_read), "uv_read_start");
}

static void write_rest(struct connection *c, const char *bytes, size_t count)
{
    uv_buf_t rest;

    c->rest = allocate(count);
    memcpy(c->rest, bytes, count);
    c->write.data = c;
    rest = uv_buf_init(c->rest, (unsigned)count);
    uv_read_stop((uv_stream_t *)&c->tcp);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &rest, 1, on_written) < 0)
        end(c);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;
    uv_buf_t whole;
    int sent;

    (void)buffer;
    if (got == 0) /* libuv's EAGAIN */
        return;
    if (got < 0) {
        end(c);
        return;
    }
    arm(c);
    whole = uv_buf_init(reply, PREFIX_BYTES + (unsigned)got);
    sent = uv_try_write(stream, &whole, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0)
        end(c);
    else if ((size_t)sent < whole.len)
        write_rest(c, reply + sent, whole.len - (size_t)sent);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct connection *c;

    check(status, "accept");
    c = allocate(sizeof *c);
    c->handles = 2;
    c->tcp.data = c->deadline.data = c;
    check(uv_tcp_init(listener->loop, &c->tcp), "uv_tcp_init");
    check(uv_timer_init(listener->loop, &c->deadline), "uv_timer_init");
    check(uv_accept(listener, (uv_stream_t *)&c->tcp), "uv_accept");
    arm(c);
    if (uv_tcp_nodelay(&c->tcp, 1) < 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_buffer, on_read) < 0)
        end(c);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;

    check(uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &address), "uv_ip4_addr");
    check(uv_tcp_init(loop, &listener), "uv_tcp_init");
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
    check(uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection), "listen");
    check(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length), "getsockname");
    printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
