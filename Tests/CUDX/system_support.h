/*
 * Two ends on one loop with real sockets on 127/8, whose system calls fail as a test says: the functions here take the
 * place of the C library's.
 */
#ifndef UDX_TEST_SYSTEM_SUPPORT_H
#define UDX_TEST_SYSTEM_SUPPORT_H

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"
#include "udx.h"

/* ---- system calls that fail ---- */

enum { ANY, WITH_SOURCE, WITHOUT_SOURCE };

static struct {
  int fd;    /* of the socket that is meant */
  int error; /* what sends fail with, 0 = they work; LOST = they seem to */
  int which; /* the ones that do */
  int times; /* so often, -1 = until changed */
  int calls; /* so far */
} fault;

enum { LOST = -1 };

static bool
has_source (const struct msghdr *msg) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR((struct msghdr *) (uintptr_t) msg, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) return true;
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) return true;
  }
  return false;
}

static bool
fails (int fd, const struct msghdr *msg) {
  if (fd != fault.fd) return false;
  fault.calls++;
  if (fault.error == 0 || fault.times == 0) return false;
  if (fault.which != ANY && has_source(msg) != (fault.which == WITH_SOURCE)) return false;
  if (fault.times > 0) fault.times--;
  return true;
}

/* They take the place of the C library's: the static library calls them. */
ssize_t
sendmsg (int fd, const struct msghdr *msg, int flags) {
  if (!fails(fd, msg)) return syscall(SYS_sendmsg, fd, msg, flags);
  if (fault.error == LOST) return 1;
  errno = fault.error;
  return -1;
}

int
sendmmsg (int fd, struct mmsghdr *msgs, unsigned int count, int flags) {
  for (unsigned int i = 0; i < count; i++) {
    ssize_t sent = sendmsg(fd, &msgs[i].msg_hdr, flags);
    if (sent < 0) return i > 0 ? (int) i : -1;
    msgs[i].msg_len = (unsigned int) sent;
  }
  return (int) count;
}

/* ---- two ends on one loop ---- */

typedef struct end_s {
  udx_t udx;
  udx_socket_t socket;
  udx_stream_t stream;
  size_t received, datagrams;
  struct sockaddr_storage from; /* of the last datagram */
  bool answers;
  int closed, status, rebound;
} end_t;

static uv_loop_t loop;
static end_t *a, *b;
static char payload[200000];

static int
port_of (const struct sockaddr *address) {
  return ntohs(((const struct sockaddr_in *) (const void *) address)->sin_port);
}

static int
port (end_t *end) {
  struct sockaddr_storage name;
  int length = sizeof(name);
  CHECK_EQ(udx_socket_getsockname(&end->socket, (struct sockaddr *) &name, &length), 0);
  return port_of((struct sockaddr *) &name);
}

static struct sockaddr_in
address (const char *host, int of_port) {
  struct sockaddr_in result;
  CHECK_EQ(uv_ip4_addr(host, of_port, &result), 0);
  return result;
}

static void
nothing (udx_socket_t *socket) {
  (void) socket;
}

static void
on_sent (udx_socket_send_t *req, int status) {
  (void) status;
  free(req);
}

static void
datagram (end_t *end, const struct sockaddr *to) {
  udx_socket_send_t *req = calloc(1, sizeof(*req));
  uv_buf_t buf = uv_buf_init(payload, 100);
  CHECK_EQ(udx_socket_send(req, &end->socket, &buf, 1, to, on_sent), 0);
}

static void
on_datagram (udx_socket_t *socket, ssize_t length, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) buf;
  end_t *end = socket->data;
  if (length != 100) return; /* a packet for a stream that is gone */
  end->datagrams++;
  memcpy(&end->from, from, from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
  if (end->answers) datagram(end, from);
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) buf;
  if (length > 0) ((end_t *) stream->data)->received += (size_t) length;
}

static void
on_close (udx_stream_t *stream, int status) {
  end_t *end = stream->data;
  end->closed++;
  end->status = status;
}

static int
on_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  end_t *end = stream->data;
  memcpy(&end->from, from, sizeof(struct sockaddr_in));
  if (!(stream->status & UDX_STREAM_CONNECTED)) CHECK_EQ(udx_stream_connect(stream, socket, 2, from), 0);
  return 0;
}

static void
on_rebind (udx_socket_t *socket) {
  ((end_t *) socket->data)->rebound++;
}

static end_t *
end_open (const char *host, uint32_t id) {
  end_t *end = calloc(1, sizeof(*end));
  end->socket.data = end->stream.data = end;
  struct sockaddr_storage to;
  memset(&to, 0, sizeof(to));
  if (strchr(host, ':') != NULL) uv_ip6_addr(host, 0, (struct sockaddr_in6 *) &to);
  else uv_ip4_addr(host, 0, (struct sockaddr_in *) &to);
  CHECK_EQ(udx_init(&loop, &end->udx, NULL), 0);
  CHECK_EQ(udx_socket_init(&end->udx, &end->socket, nothing), 0);
  CHECK_EQ(udx_socket_bind(&end->socket, (struct sockaddr *) &to, 0), 0);
  CHECK_EQ(udx_socket_recv_start(&end->socket, on_datagram), 0);
  CHECK_EQ(udx_socket_on_rebind(&end->socket, on_rebind), 0);
  CHECK_EQ(udx_stream_init(&end->udx, &end->stream, id, on_close, NULL), 0);
  CHECK_EQ(udx_stream_read_start(&end->stream, on_read), 0);
  return end;
}

static int
descriptor_of (int of_port) {
  for (int fd = 3; fd < 256; fd++) {
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    if (getsockname(fd, (struct sockaddr *) &name, &length)) continue;
    if (port_of((struct sockaddr *) &name) == of_port) return fd;
  }
  return -1;
}

/* `a` is for all addresses of the host, `b` has one and knows `a` by `at`. */
static void
open_pair (const char *all, const char *at) {
  memset(&fault, 0, sizeof(fault));
  CHECK_EQ(uv_loop_init(&loop), 0);
  a = end_open(all, 1);
  b = end_open("127.0.0.9", 2);
  fault.fd = descriptor_of(port(a));
  udx_stream_firewall(&a->stream, on_firewall);
  struct sockaddr_in to = address(at, port(a));
  CHECK_EQ(udx_stream_connect(&b->stream, &b->socket, 1, (struct sockaddr *) &to), 0);
}

static void
close_pair (void) {
  fault.error = 0;
  for (int i = 0; i < 2; i++) udx_teardown(i ? &b->udx : &a->udx);
  CHECK_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);
  free(a);
  free(b);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

static bool expired;

static void
on_timer (uv_timer_t *timer) {
  expired = true;
  uv_stop(timer->loop); /* it does not wait in this turn */
}

static void
run (uint64_t ms, bool (*done)(void)) {
  uv_timer_t timer;
  expired = false;
  uv_timer_init(&loop, &timer);
  uv_timer_start(&timer, on_timer, ms, 0);
  while (!expired && !(done != NULL && done())) uv_run(&loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *) &timer, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
}

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

static void
stream_write_to (udx_stream_t *stream, size_t length) {
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init(payload, (unsigned int) length);
  CHECK(udx_stream_write(req, stream, &buf, 1, on_ack) >= 0);
}

static void
stream_write (end_t *end, size_t length) {
  stream_write_to(&end->stream, length);
}

static size_t a_awaits, b_awaits;

static bool
arrived (void) {
  return a->received >= a_awaits && b->received >= b_awaits && a->stream.inflight == 0 && b->stream.inflight == 0;
}

/* Data both ways within `ms`. */
static bool
transfer (uint64_t ms) {
  a_awaits = a->received + sizeof(payload);
  b_awaits = b->received + sizeof(payload);
  stream_write(b, sizeof(payload));
  run(500, NULL);
  if (a->stream.status & UDX_STREAM_CONNECTED) stream_write(a, sizeof(payload));
  run(ms, arrived);
  return arrived();
}

#endif
