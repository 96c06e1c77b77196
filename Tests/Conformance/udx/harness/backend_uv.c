/* The backend on libuv: sockets of the system on loopback, in real time. */
#include "conform.h"

#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  DESCRIPTORS_MAX = 64,     /* of the loop and the endpoints of one test */
  RECEIVE_BUFFER = 4 << 20, /* bytes asked for; the system gives what it allows */
  DATAGRAM_MAX = 65536,
  DATAGRAMS_A_TURN = 64, /* per endpoint, so that the loop gets its turn as well */
};

uv_loop_t loop;

static endpoint_t *endpoints;

/* Datagrams that a path holds back: a binary heap by (due, order). */
typedef struct {
  double due; /* ms */
  uint64_t order;
  endpoint_t *from;
  struct sockaddr_storage to;
  uint8_t *data;
  size_t len;
} held_t;

static held_t *held;
static size_t held_len, held_cap;
static uint64_t held_order;

static double
now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec * 1e3 + (double) t.tv_nsec * 1e-6;
}

static void
open_world (void) {
  CHECK_EQ(uv_loop_init(&loop), 0);
}

static int
instance_init (udx_t *instance) {
  return udx_init(&loop, instance, NULL);
}

/* ------------------------------------------------------------------ endpoints */

static socklen_t
addr_len (const struct sockaddr_storage *a) {
  return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static void
endpoint_open (endpoint_t *e, int family) {
  e->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(e->fd >= 0);
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  if (family == AF_INET) uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &a);
  else uv_ip6_addr("::1", 0, (struct sockaddr_in6 *) &a);
  CHECK_EQ(bind(e->fd, (struct sockaddr *) &a, addr_len(&a)), 0);
  socklen_t len = sizeof(e->addr);
  memset(&e->addr, 0, sizeof(e->addr));
  CHECK_EQ(getsockname(e->fd, (struct sockaddr *) &e->addr, &len), 0);
  int size = RECEIVE_BUFFER, on = 1;
  setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  setsockopt(e->fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
  if (family == AF_INET6) setsockopt(e->fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on));
  e->next = endpoints;
  endpoints = e;
}

static void
send_now (endpoint_t *e, const struct sockaddr_storage *to, const void *data, size_t len) {
  (void) !sendto(e->fd, data, len, 0, (const struct sockaddr *) to, addr_len(to)); /* the network may lose anything */
}

static bool
earlier (const held_t *a, const held_t *b) {
  return a->due < b->due || (a->due <= b->due && a->order < b->order);
}

static void
hold (held_t h) {
  if (held_len == held_cap) {
    held_cap = held_cap ? held_cap * 2 : 256;
    held = realloc(held, held_cap * sizeof(held_t));
  }
  size_t i = held_len++;
  while (i > 0 && earlier(&h, &held[(i - 1) / 2])) {
    held[i] = held[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  held[i] = h;
}

static held_t
take (void) {
  held_t top = held[0], last = held[--held_len];
  size_t i = 0;
  for (;;) {
    size_t c = 2 * i + 1;
    if (c >= held_len) break;
    if (c + 1 < held_len && earlier(&held[c + 1], &held[c])) c++;
    if (!earlier(&held[c], &last)) break;
    held[i] = held[c];
    i = c;
  }
  if (held_len) held[i] = last;
  return top;
}

static void
endpoint_send (endpoint_t *e, const struct sockaddr_storage *to, const void *data, size_t len, double delay) {
  if (delay <= 0) {
    send_now(e, to, data, len);
    return;
  }
  held_t h = {now() + delay, held_order++, e, *to, malloc(len + 1), len};
  memcpy(h.data, data, len);
  hold(h);
}

static void
release_held (void) {
  double t = now();
  while (held_len && held[0].due <= t) {
    held_t h = take();
    send_now(h.from, &h.to, h.data, h.len);
    free(h.data);
  }
}

static bool
receive_one (endpoint_t *e) {
  static uint8_t data[DATAGRAM_MAX];
  char control[256];
  struct sockaddr_storage from;
  memset(&from, 0, sizeof(from));
  struct iovec iov = {data, sizeof(data)};
  struct msghdr m = {.msg_name = &from,
    .msg_namelen = sizeof(from),
    .msg_iov = &iov,
    .msg_iovlen = 1,
    .msg_control = control,
    .msg_controllen = sizeof(control)};
  ssize_t n = syscall(SYS_recvmsg, e->fd, &m, 0); /* past the fault injection */
  if (n < 0) return false;
  int ttl = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
      memcpy(&ttl, CMSG_DATA(c), sizeof(int));
  }
  e->on_datagram(e, data, (size_t) n, &from, ttl);
  return true;
}

/* ------------------------------------------------------------------ turns */

static void
turn (double ms) {
  for (endpoint_t *e = endpoints; e; e = e->next) {
    for (int i = 0; i < DATAGRAMS_A_TURN && receive_one(e); i++) {}
  }
  release_held();
  uv_run(&loop, UV_RUN_NOWAIT);

  struct pollfd fds[DESCRIPTORS_MAX];
  nfds_t n = 0;
  fds[n++] = (struct pollfd){uv_backend_fd(&loop), POLLIN, 0};
  for (endpoint_t *e = endpoints; e && n < DESCRIPTORS_MAX; e = e->next) fds[n++] = (struct pollfd){e->fd, POLLIN, 0};
  int timeout = uv_backend_timeout(&loop);
  if (timeout < 0 || timeout > (int) ms) timeout = (int) ms;
  poll(fds, n, timeout);
}

static void
block_sends (bool block) {
  faults.block_send = block;
}

static bool
can_bind (const char *host) {
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  if (strchr(host, ':')) uv_ip6_addr(host, 0, (struct sockaddr_in6 *) &a);
  else uv_ip4_addr(host, 0, (struct sockaddr_in *) &a);
  int fd = socket(a.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool ok = fd >= 0 && bind(fd, (struct sockaddr *) &a, addr_len(&a)) == 0;
  if (fd >= 0) close(fd);
  return ok;
}

const backend_t uv_backend = {
  .name = "sockets",
  .limit_factor = 20,
  .open = open_world,
  .instance_init = instance_init,
  .now = now,
  .turn = turn,
  .endpoint_open = endpoint_open,
  .endpoint_send = endpoint_send,
  .block_sends = block_sends,
  .can_bind = can_bind,
};
