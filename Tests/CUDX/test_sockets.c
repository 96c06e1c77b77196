/*
 * What the system does to a socket, on 127.0.0.1: asynchronous errors, datagrams longer than a buffer, and a loop that
 * was blocked while a peer answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "engine/stream.h"
#include "engine/wire.h"
#include "io/uv_driver.h"
#include "test.h"

/* The batches of other systems: Linux runs them as well. */
#ifdef __linux__
#define udx__udp_probe posix_probe
#define udx__udp_send posix_send
#define udx__udp_receive posix_receive
#undef __linux__
#include "io/udp_batch_posix.c"
#define __linux__ 1
#undef udx__udp_probe
#undef udx__udp_send
#undef udx__udp_receive
#endif

static struct sockaddr_in
loopback (uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/* A peer without an engine. */
static int
peer_open (struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(fd >= 0);
  *address = loopback(0);
  socklen_t length = sizeof(*address);
  CHECK_EQ(bind(fd, (struct sockaddr *) address, length), 0);
  CHECK_EQ(getsockname(fd, (struct sockaddr *) address, &length), 0);
  return fd;
}

static ssize_t
peer_receive (int fd, void *bytes, size_t length) {
  return recv(fd, bytes, length, MSG_DONTWAIT);
}

typedef struct host_s {
  uv_loop_t loop;
  udx_t udx;
  udx_socket_t socket;
  udx_stream_t stream;
  struct sockaddr_in address;
  int received;
} host_t;

static void
on_host_receive (udx_socket_t *socket, ssize_t length, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) length;
  (void) buf;
  (void) from;
  ((host_t *) socket->data)->received++;
}

static void
on_host_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_host_finalize (udx_stream_t *stream) {
  (void) stream;
}

static void
host_open (host_t *host) {
  memset(host, 0, sizeof(*host));
  CHECK_EQ(uv_loop_init(&host->loop), 0);
  CHECK_EQ(udx_init(&host->loop, &host->udx, NULL), 0);
  CHECK_EQ(udx_socket_init(&host->udx, &host->socket, on_host_socket_close), 0);
  host->socket.data = host;
  struct sockaddr_in any = loopback(0);
  CHECK_EQ(udx_socket_bind(&host->socket, (struct sockaddr *) &any, 0), 0);
  int length = sizeof(host->address);
  CHECK_EQ(udx_socket_getsockname(&host->socket, (struct sockaddr *) &host->address, &length), 0);
  CHECK_EQ(udx_socket_recv_start(&host->socket, on_host_receive), 0);
}

/* Some turns that do not wait. */
static void
host_run (host_t *host, int milliseconds) {
  for (int i = 0; i <= milliseconds; i++) {
    uv_run(&host->loop, UV_RUN_NOWAIT);
    if (i < milliseconds) usleep(1000);
  }
}

static void
host_close (host_t *host) {
  CHECK_EQ(udx_socket_close(&host->socket), 0);
  uv_run(&host->loop, UV_RUN_DEFAULT);
  CHECK(udx_is_idle(&host->udx));
  CHECK_EQ(uv_loop_close(&host->loop), 0);
}

/* ---- asynchronous errors ---- */

static int
descriptor_of (const struct sockaddr_in *address) {
  for (int fd = 3; fd < 1024; fd++) {
    struct sockaddr_in other;
    socklen_t length = sizeof(other);
    if (getsockname(fd, (struct sockaddr *) &other, &length) == 0 && other.sin_family == AF_INET &&
        other.sin_port == address->sin_port)
      return fd;
  }
  CHECK(!"the socket has a descriptor");
  return -1;
}

/* Leaves ECONNREFUSED pending on a socket, which afterwards takes datagrams of the peer as before. */
static void
refuse (int fd, const struct sockaddr_in *peer) {
  struct sockaddr_in closed;
  int other = peer_open(&closed);
  close(other);
  CHECK_EQ(connect(fd, (struct sockaddr *) &closed, sizeof(closed)), 0);
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  CHECK_EQ(connect(fd, (const struct sockaddr *) peer, sizeof(*peer)), 0);
}

TEST(pending_error_does_not_stop_receiving) {
  host_t host;
  host_open(&host);
  struct sockaddr_in address;
  int peer = peer_open(&address);
  int fd = descriptor_of(&host.address);
  for (int i = 1; i <= 5; i++) {
    refuse(fd, &address);
    if (i % 2) host_run(&host, 2); /* noticed before the datagram comes, or with it */
    CHECK_EQ(sendto(peer, "hello", 5, 0, (struct sockaddr *) &host.address, sizeof(host.address)), 5);
    host_run(&host, 20);
    CHECK_EQ(host.received, i);
  }
  close(peer);
  host_close(&host);
}

static int sent;

static void
on_sent (udx_socket_send_t *req, int status) {
  (void) req;
  CHECK_EQ(status, 0);
  sent++;
}

/* The error belongs to another datagram: the one that met it leaves all the same. */
TEST(pending_error_costs_no_datagram) {
  host_t host;
  host_open(&host);
  struct sockaddr_in address;
  int peer = peer_open(&address);
  int fd = descriptor_of(&host.address);
  for (int count = 1; count <= 3; count++) {
    udx_socket_send_t reqs[3];
    refuse(fd, &address);
    sent = 0;
    for (int i = 0; i < count; i++) {
      uv_buf_t buf = uv_buf_init("hello", 5);
      CHECK_EQ(udx_socket_send(&reqs[i], &host.socket, &buf, 1, (struct sockaddr *) &address, on_sent), 0);
    }
    host_run(&host, 20);
    CHECK_EQ(sent, count);
    char bytes[16];
    for (int i = 0; i < count; i++) CHECK_EQ(peer_receive(peer, bytes, sizeof(bytes)), 5);
    CHECK_EQ(peer_receive(peer, bytes, sizeof(bytes)), -1);
  }
  close(peer);
  host_close(&host);
}

/* ---- long datagrams ---- */

typedef void (*receive_cb)(udx_udp_t *udp, udx_udp_rx_t *rx);

static void
long_datagram (receive_cb receive) {
  udx_t udx;
  udx_udp_t udp;
  memset(&udx, 0, sizeof(udx));
  memset(&udp, 0, sizeof(udp));
  struct sockaddr_in address = loopback(0), from;
  CHECK_EQ(udx__udp_bind(&udp, (struct sockaddr *) &address, 0), 0);
  udp.gro = false;
  udp.counters = &udx;
  int length = sizeof(address);
  CHECK_EQ(udx__udp_name(&udp, (struct sockaddr *) &address, &length), 0);
  int peer = peer_open(&from);
  static const size_t lengths[] = {UDX_UDP_SMALL_SIZE + 1, 10, 0, UDX_UDP_SMALL_SIZE, 60000, 20};
  static char bytes[60000];
  for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
    CHECK_EQ(sendto(peer, bytes, lengths[i], 0, (struct sockaddr *) &address, sizeof(address)), lengths[i]);
  }
  static udx_udp_rx_t rx;
  rx.slots = UDX_UDP_SLOTS;
  rx.memory = malloc((size_t) UDX_UDP_SLOTS * UDX_UDP_SLOT_SIZE);
  CHECK(rx.memory != NULL);
  receive(&udp, &rx);
  CHECK_EQ(rx.count, 4);
  CHECK_EQ(rx.received[0].length, 10);
  CHECK_EQ(rx.received[1].length, 0);
  CHECK_EQ(rx.received[2].length, UDX_UDP_SMALL_SIZE);
  CHECK_EQ(rx.received[3].length, 20);
  for (unsigned int i = 0; i < rx.count; i++)
    CHECK_EQ(((const struct sockaddr_in *) (const void *) rx.received[i].from)->sin_port, from.sin_port);
  CHECK_EQ(udx.packets_invalid, 2);
  free(rx.memory);
  close(peer);
  udx__udp_close(&udp);
}

/* A part of a datagram is none: it is dropped and counted. */
TEST(long_datagrams_are_dropped) {
  long_datagram(udx__udp_receive);
#ifdef __linux__
  long_datagram(posix_receive);
#endif
}

/* ---- hop limits ---- */

#ifdef __linux__

typedef unsigned int (*send_cb)(udx_udp_t *udp, const udx_datagram_t *datagrams, unsigned int count);

/* The hop limit that the next datagram was sent with. */
static int
peer_hop_limit (int fd) {
  char byte, control[128];
  struct iovec iov = {.iov_base = &byte, .iov_len = 1};
  struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  CHECK_EQ(recvmsg(fd, &msg, MSG_DONTWAIT), 1);
  struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
  CHECK(cmsg != NULL && cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_TTL);
  int value;
  memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
  return value;
}

static void
hop_limits (send_cb send_all) {
  udx_t udx;
  udx_udp_t udp;
  memset(&udx, 0, sizeof(udx));
  memset(&udp, 0, sizeof(udp));
  struct sockaddr_in address = loopback(0), to;
  CHECK_EQ(udx__udp_bind(&udp, (struct sockaddr *) &address, 0), 0);
  udp.counters = &udx;
  int of_socket = 40, on = 1;
  CHECK_EQ(udx__udp_option(&udp, UDX_OPTION_TTL, true, &of_socket), 0);
  int peer = peer_open(&to);
  CHECK_EQ(setsockopt(peer, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
  static const uint8_t limits[] = {3, 0, 7, 0};
  uv_buf_t buf = uv_buf_init("x", 1);
  udx_datagram_t datagrams[4];
  memset(datagrams, 0, sizeof(datagrams));
  for (int i = 0; i < 4; i++) {
    datagrams[i] = (udx_datagram_t){.to = (struct sockaddr *) &to, .bufs = &buf, .bufs_len = 1, .length = 1};
    datagrams[i].ttl = limits[i];
  }
  CHECK_EQ(send_all(&udp, datagrams, 4), 4);
  for (int i = 0; i < 4; i++) CHECK_EQ(peer_hop_limit(peer), limits[i] != 0 ? limits[i] : of_socket);
  close(peer);
  udx__udp_close(&udp);
}

#endif

/* Of one datagram; the next one leaves with that of the socket again. Systems tell a receiver in different ways. */
TEST(hop_limits_are_of_single_datagrams) {
#ifdef __linux__
  hop_limits(udx__udp_send);
  hop_limits(posix_send);
#endif
}

/* ---- a loop that was blocked ---- */

static void
on_write (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

/* The acknowledgement waits in the socket, behind more than a turn's share, while the retransmission timer expires. */
TEST(blocked_loop_reads_before_it_judges) {
  for (int others = 0; others <= 200; others += 200) {
    host_t host;
    host_open(&host);
    struct sockaddr_in address;
    int peer = peer_open(&address);
    CHECK_EQ(udx_stream_init(&host.udx, &host.stream, 1, NULL, on_host_finalize), 0);
    CHECK_EQ(udx_stream_connect(&host.stream, &host.socket, 2, (struct sockaddr *) &address), 0);
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    uv_buf_t buf = uv_buf_init("hello", 5);
    CHECK(udx_stream_write(req, &host.stream, &buf, 1, on_write) >= 0);
    host_run(&host, 2);
    uint8_t bytes[64];
    CHECK_EQ(peer_receive(peer, bytes, sizeof(bytes)), UDX_HEADER_SIZE + 5);
    for (int i = 0; i < others; i++)
      CHECK_EQ(sendto(peer, "x", 1, 0, (struct sockaddr *) &host.address, sizeof(host.address)), 1);
    udx_header_t ack = {.id = 1, .window = UDX_WINDOW_DEFAULT, .ack = 1};
    udx__header_encode(bytes, &ack);
    CHECK_EQ(sendto(peer, bytes, UDX_HEADER_SIZE, 0, (struct sockaddr *) &host.address, sizeof(host.address)),
      UDX_HEADER_SIZE);
    usleep(1500000); /* beyond the first timeout of a second */
    host_run(&host, 20);
    CHECK_EQ(udx__flight_span(&host.stream), 0);
    CHECK_EQ(host.stream.rto_count, 0);
    CHECK_EQ(host.stream.retransmit_count, 0);
    CHECK_EQ(peer_receive(peer, bytes, sizeof(bytes)), -1);
    CHECK_EQ(host.received, others);
    CHECK_EQ(udx_stream_destroy(&host.stream), 1);
    close(peer);
    host_close(&host);
  }
}

/* A stream whose first packet has no answer, and the loop asleep until it is late. */
static void
host_be_late (host_t *host, int peer, const struct sockaddr_in *address) {
  CHECK_EQ(udx_stream_init(&host->udx, &host->stream, 1, NULL, on_host_finalize), 0);
  CHECK_EQ(udx_stream_connect(&host->stream, &host->socket, 2, (const struct sockaddr *) address), 0);
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init("hello", 5);
  CHECK(udx_stream_write(req, &host->stream, &buf, 1, on_write) >= 0);
  host_run(host, 2);
  uint8_t bytes[64];
  CHECK_EQ(peer_receive(peer, bytes, sizeof(bytes)), UDX_HEADER_SIZE + 5);
  CHECK_EQ(udx__uv_driver(&host->udx)->deadline, udx__stream(&host->stream)->recovery.rto_at);
  usleep(1200000); /* the timeout of a second, and more than a tenth */
}

/* A deadline that is late waits while the sockets say that more is unread, but not for ever; one in time never does. */
TEST(late_deadline_waits_for_what_is_unread) {
  enum { POLLS = 64 };
  static const int unread[] = {0, 1, POLLS, POLLS + 1, 1};
  for (size_t i = 0; i < sizeof(unread) / sizeof(*unread); i++) {
    host_t host;
    host_open(&host);
    struct sockaddr_in address;
    int peer = peer_open(&address);
    host_be_late(&host, peer, &address);
    uv_driver_t *driver = udx__uv_driver(&host.udx);
    int early = i == 4;
    if (early) driver->deadline += 100 * (uint64_t) UDX_SECOND; /* it fires before its time */
    int turns = 0;
    while (host.stream.rto_count == 0) {
      CHECK(turns <= POLLS);
      driver->unread = turns < unread[i];
      uv_run(&host.loop, UV_RUN_NOWAIT);
      turns++;
    }
    CHECK_EQ(turns, early ? 1 : unread[i] > POLLS ? POLLS + 1 : unread[i] + 1);
    CHECK_EQ(driver->polls, 0);
    CHECK_EQ(udx_stream_destroy(&host.stream), 1);
    close(peer);
    host_close(&host);
  }
}

/* ---- a loop that gets single turns ---- */

static void
on_datagram_sent (udx_socket_send_t *req, int status) {
  CHECK_EQ(status, 0);
  req->data = NULL;
}

/* What is sent between two turns leaves in the next one, and that is due at once; then the loop may wait. */
TEST(sent_between_turns_makes_a_turn_due) {
  host_t host;
  host_open(&host);
  struct sockaddr_in address;
  int peer = peer_open(&address);
  host_run(&host, 2);
  CHECK(uv_backend_timeout(&host.loop) != 0);
  udx_socket_send_t req = {.data = &host};
  uv_buf_t buf = uv_buf_init("hello", 5);
  CHECK_EQ(udx_socket_send(&req, &host.socket, &buf, 1, (struct sockaddr *) &address, on_datagram_sent), 0);
  CHECK_EQ(uv_backend_timeout(&host.loop), 0);
  uv_run(&host.loop, UV_RUN_NOWAIT);
  uint8_t bytes[64];
  CHECK_EQ(peer_receive(peer, bytes, sizeof(bytes)), 5);
  CHECK(req.data == NULL);
  /* it counts, on the socket and in all */
  CHECK_EQ(host.socket.packets_tx, 1);
  CHECK_EQ(host.socket.bytes_tx, 5);
  CHECK_EQ(host.udx.packets_tx, 1);
  CHECK_EQ(host.udx.bytes_tx, 5);
  host_run(&host, 2);
  CHECK(uv_backend_timeout(&host.loop) != 0);
  close(peer);
  host_close(&host);
}

TEST_MAIN(TEST_ENTRY(pending_error_does_not_stop_receiving), TEST_ENTRY(pending_error_costs_no_datagram),
  TEST_ENTRY(long_datagrams_are_dropped), TEST_ENTRY(blocked_loop_reads_before_it_judges),
  TEST_ENTRY(late_deadline_waits_for_what_is_unread), TEST_ENTRY(sent_between_turns_makes_a_turn_due),
  TEST_ENTRY(hop_limits_are_of_single_datagrams))
