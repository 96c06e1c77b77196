/* Instances, sockets and time of a test, on its backend. */
#include "conform.h"

#include <unistd.h>

const backend_t *backend;
udx_t udx;
udx_socket_t sock;
blobs_t socket_messages;
struct sockaddr_storage socket_message_from;

/* ------------------------------------------------------------------ time */

double
now_ms (void) {
  return backend->now();
}

double
limit_ms (double ms) {
  return now_ms() + ms * backend->limit_factor;
}

void
step (void) {
  backend->turn(1);
}

void
settle (double ms) {
  double end = now_ms() + ms;
  while (now_ms() < end) step();
}

/* ------------------------------------------------------------------ bytes and addresses */

void
blobs_add (blobs_t *b, const void *data, size_t len) {
  b->v = realloc(b->v, (b->n + 1) * sizeof(blob_t));
  b->v[b->n].data = malloc(len + 1);
  if (len) memcpy(b->v[b->n].data, data, len);
  b->v[b->n++].len = len;
}

uint8_t
pattern_byte (uint64_t i) {
  return (uint8_t) ((i * 2654435761u) >> 13 ^ i >> 7);
}

void
address_copy (struct sockaddr_storage *to, const struct sockaddr *from) {
  memset(to, 0, sizeof(*to));
  memcpy(to, from, from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
}

/* ------------------------------------------------------------------ instances and sockets */

static void
on_socket_message (udx_socket_t *s, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) s;
  if (n < 0) return;
  address_copy(&socket_message_from, from);
  blobs_add(&socket_messages, buf->base, (size_t) n);
}

static void
on_socket_close (udx_socket_t *s) {
  (void) s;
}

void
instance_open (udx_t *instance) {
  CHECK_EQ(backend->instance_init(instance), 0);
}

void
socket_open (udx_t *instance, udx_socket_t *socket, const char *host, int port, unsigned flags) {
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  if (strchr(host, ':')) uv_ip6_addr(host, port, (struct sockaddr_in6 *) &a);
  else uv_ip4_addr(host, port, (struct sockaddr_in *) &a);
  CHECK_EQ(udx_socket_init(instance, socket, on_socket_close), 0);
  CHECK_EQ(udx_socket_bind(socket, (struct sockaddr *) &a, flags), 0);
  CHECK_EQ(udx_socket_recv_start(socket, on_socket_message), 0);
}

void
world_open (void) {
  backend->open();
  instance_open(&udx);
  socket_open(&udx, &sock, "127.0.0.1", 0, 0);
}

struct sockaddr_storage
socket_addr (udx_socket_t *socket) {
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  int len = sizeof(a);
  CHECK_EQ(udx_socket_getsockname(socket, (struct sockaddr *) &a, &len), 0);
  if (a.ss_family == AF_INET) {
    struct sockaddr_in *in = (struct sockaddr_in *) &a;
    if (in->sin_addr.s_addr == 0) in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else {
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) &a;
    if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) in6->sin6_addr = in6addr_loopback;
  }
  return a;
}

struct sockaddr_storage
socket_addr4 (udx_socket_t *socket) {
  struct sockaddr_storage a = socket_addr(socket), to;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) &a;
  if (a.ss_family == AF_INET) return a;
  memset(&to, 0, sizeof(to));
  uv_ip4_addr("127.0.0.1", ntohs(v6->sin6_port), (struct sockaddr_in *) &to);
  /* nodes of the simulator are fd00::n and 10.0.0.n */
  const uint8_t *ip = v6->sin6_addr.s6_addr;
  uint32_t node = (uint32_t) ip[14] << 8 | ip[15];
  if (ip[0] == 0xfd) ((struct sockaddr_in *) &to)->sin_addr.s_addr = htonl(0x0a000000u + node);
  return to;
}

void
require_address (const char *host) {
  if (backend->can_bind(host)) return;
  printf("this machine has no address %s\n", host);
  fflush(stdout);
  _exit(EXIT_SKIPPED);
}
