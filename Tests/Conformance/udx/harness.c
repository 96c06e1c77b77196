#define _GNU_SOURCE
#include "conform.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

uv_loop_t loop;
udx_t udx;
udx_socket_t sock;
blobs_t socket_messages;
struct sockaddr_storage socket_message_from;

static peer_t *peers;
static path_t *paths;

void
test_fail (const char *file, int line, const char *format, ...) {
  const char *slash = strrchr(file, '/');
  va_list args;
  va_start(args, format);
  printf("    %s:%d: ", slash ? slash + 1 : file, line);
  vprintf(format, args);
  printf("\n");
  va_end(args);
  fflush(stdout);
  _exit(1);
}

/* ------------------------------------------------------------------ time */

/*
 * Everything here runs in one process, so its clock is virtual: tests mean the same on a machine that is slow, busy or
 * stops for a while, and need not wait. The definition overrides the C library's for the engine and libuv alike. Time
 * moves a little with every turn that had something to do, and to the next millisecond when nothing has.
 */
static uint64_t clock_us = 1000000000;
static long sends, sends_seen; /* of peers and paths, past the faults */

enum {
  BUSY_TURN = 20,          /* us */
  DELIVERY_GRACE = 500000, /* ns */
};

int
clock_gettime (clockid_t id, struct timespec *t) {
  (void) id;
  t->tv_sec = (time_t) (clock_us / 1000000);
  t->tv_nsec = (long) (clock_us % 1000000) * 1000;
  return 0;
}

double
now_ms (void) {
  return (double) clock_us * 1e-3;
}

/*
 * The driver arms its timer with absolute times of the virtual clock, which the kernel compares with the time since boot:
 * on a machine that booted minutes ago the timer would not fire. An armed timer is readable at once instead; the
 * driver looks at its clock when it wakes up, and the virtual clock decides.
 */
int
timerfd_settime (int fd, int flags, const struct itimerspec *value, struct itimerspec *old) {
  struct itimerspec due = *value;
  if (due.it_value.tv_sec != 0 || due.it_value.tv_nsec != 0) {
    due.it_value.tv_sec = 0;
    due.it_value.tv_nsec = 1;
  }
  return (int) syscall(SYS_timerfd_settime, fd, flags, &due, old);
}

/* Waits for the loop or one of the sockets, at most `ms` on the virtual clock. */
static void
clock_wait (struct pollfd *fds, nfds_t n, int ms) {
  /* a thread of libuv's looks up a name: nothing but real time helps */
  if (loop.active_reqs.count > 0) {
    poll(fds, n, 1);
    return;
  }
  if (ms == 0 || poll(fds, n, 0) > 0) {
    clock_us += BUSY_TURN;
    return;
  }
  /* the kernel may be late to deliver what was just sent: on a busy machine another thread of it does that */
  if (faults.sends + sends != sends_seen) {
    sends_seen = faults.sends + sends;
    struct timespec grace = {0, DELIVERY_GRACE};
    if (ppoll(fds, n, &grace, NULL) > 0) {
      clock_us += BUSY_TURN;
      return;
    }
  }
  clock_us += 1000 - clock_us % 1000;
}

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

/* ------------------------------------------------------------------ instances and sockets */

static void
on_socket_message (udx_socket_t *s, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) s;
  if (n < 0) return;
  memset(&socket_message_from, 0, sizeof(socket_message_from));
  memcpy(&socket_message_from, from, from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
  blobs_add(&socket_messages, buf->base, (size_t) n);
}

static void
on_socket_close (udx_socket_t *s) {
  (void) s;
}

void
instance_open (udx_t *instance) {
  CHECK_EQ(udx_init(&loop, instance, NULL), 0);
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
  CHECK_EQ(uv_loop_init(&loop), 0);
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

/* ------------------------------------------------------------------ streams under test */

static void
note (side_t *s, char c) {
  size_t n = strlen(s->order);
  if (n + 1 < sizeof(s->order)) s->order[n] = c;
}

void
on_side_close (udx_stream_t *stream, int status) {
  side_t *s = (side_t *) stream;
  s->closes++;
  s->close_status = status;
  note(s, 'C');
  if (s->on_close) s->on_close(s);
}

void
on_side_finalize (udx_stream_t *stream) {
  side_t *s = (side_t *) stream;
  s->finals++;
  note(s, 'F');
}

void
side_init (side_t *s, udx_t *instance, uint32_t id) {
  memset(s, 0, sizeof(*s));
  CHECK_EQ(udx_stream_init(instance, &s->stream, id, on_side_close, on_side_finalize), 0);
}

void
side_connect (side_t *s, udx_socket_t *socket, uint32_t remote_id, const struct sockaddr_storage *to) {
  CHECK_EQ(udx_stream_connect(&s->stream, socket, remote_id, (const struct sockaddr *) to), 0);
}

static void
on_side_read (udx_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  side_t *s = (side_t *) stream;
  if (n < 0) {
    CHECK_EQ(n, UV_EOF);
    s->eofs++;
    note(s, 'E');
  } else {
    s->reads++;
    if (s->checked) {
      for (ssize_t i = 0; i < n; i++) {
        if ((uint8_t) buf->base[i] != pattern_byte(s->total + (uint64_t) i)) s->mismatches++;
      }
    }
    s->total += (uint64_t) n;
    if (!s->discard && n > 0) {
      if (s->len + (size_t) n > s->cap) {
        s->cap = (s->len + (size_t) n) * 2;
        s->data = realloc(s->data, s->cap);
      }
      memcpy(s->data + s->len, buf->base, (size_t) n);
      s->len += (size_t) n;
    }
  }
  if (s->on_read) s->on_read(s);
}

static void
on_side_message (udx_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  side_t *s = (side_t *) stream;
  if (n >= 0) blobs_add(&s->messages, buf->base, (size_t) n);
  if (s->on_message) s->on_message(s);
}

void
side_read (side_t *s) {
  CHECK_EQ(udx_stream_read_start(&s->stream, on_side_read), 0);
  CHECK_EQ(udx_stream_recv_start(&s->stream, on_side_message), 0);
}

static void
on_side_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  side_t *s = (side_t *) req->stream;
  if (status == 0) {
    s->acks++;
    note(s, 'A');
  } else {
    CHECK_EQ(status, UV_ECANCELED);
    s->cancels++;
    note(s, 'X');
  }
  free(req->data);
  free(req);
  if (s->on_ack && status == 0) s->on_ack(s);
}

static udx_stream_write_t *
request (const void *data, size_t len, uv_buf_t *buf) {
  udx_stream_write_t *req = calloc(1, (size_t) udx_stream_write_sizeof(1));
  char *copy = malloc(len + 1);
  if (len) memcpy(copy, data, len);
  req->data = copy;
  *buf = uv_buf_init(copy, (unsigned) len);
  return req;
}

int
side_write (side_t *s, const void *data, size_t len) {
  uv_buf_t buf;
  udx_stream_write_t *req = request(data, len, &buf);
  int r = udx_stream_write(req, &s->stream, &buf, 1, on_side_ack);
  if (r < 0) {
    free(req->data);
    free(req);
  }
  return r;
}

int
side_write_pattern (side_t *s, uint64_t offset, size_t len) {
  uint8_t *bytes = malloc(len + 1);
  for (size_t i = 0; i < len; i++) bytes[i] = pattern_byte(offset + i);
  int r = side_write(s, bytes, len);
  free(bytes);
  return r;
}

int
side_end (side_t *s) {
  uv_buf_t buf;
  udx_stream_write_t *req = request("", 0, &buf);
  int r = udx_stream_write_end(req, &s->stream, &buf, 1, on_side_ack);
  if (r < 0) {
    free(req->data);
    free(req);
  }
  return r;
}

static void
on_side_sent (udx_stream_send_t *req, int status) {
  (void) status;
  free(req->data);
  free(req);
}

int
side_send (side_t *s, const void *data, size_t len) {
  udx_stream_send_t *req = calloc(1, sizeof(*req));
  char *copy = malloc(len + 1);
  if (len) memcpy(copy, data, len);
  req->data = copy;
  uv_buf_t buf = uv_buf_init(copy, (unsigned) len);
  int r = udx_stream_send(req, &s->stream, &buf, 1, on_side_sent);
  if (r < 0) {
    free(copy);
    free(req);
  }
  return r;
}

static int
on_side_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  side_t *s = (side_t *) stream;
  s->firewalls++;
  memset(&s->firewall_from, 0, sizeof(s->firewall_from));
  memcpy(&s->firewall_from, from, from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
  if (s->on_firewall) s->on_firewall(s, socket, from);
  return s->firewall_result;
}

void
side_firewall (side_t *s, int result) {
  s->firewall_result = result;
  udx_stream_firewall(&s->stream, on_side_firewall);
}

/* ------------------------------------------------------------------ raw peers */

static socklen_t
addr_len (const struct sockaddr_storage *a) {
  return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int
open_fd (int family, struct sockaddr_storage *addr) {
  int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  if (family == AF_INET) uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &a);
  else uv_ip6_addr("::1", 0, (struct sockaddr_in6 *) &a);
  CHECK_EQ(bind(fd, (struct sockaddr *) &a, addr_len(&a)), 0);
  socklen_t len = sizeof(*addr);
  memset(addr, 0, sizeof(*addr));
  CHECK_EQ(getsockname(fd, (struct sockaddr *) addr, &len), 0);
  int size = 4 << 20, on = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on));
  return fd;
}

peer_t *
peer_open (int family) {
  peer_t *p = calloc(1, sizeof(*p));
  p->family = family;
  p->fd = open_fd(family, &p->addr);
  p->window = 4194304;
  p->next = peers;
  peers = p;
  return p;
}

void
peer_to (peer_t *p, const struct sockaddr_storage *to) {
  p->to = *to;
}

void
peer_raw (peer_t *p, const void *data, size_t len) {
  sends++;
  CHECK_EQ(sendto(p->fd, data, len, 0, (struct sockaddr *) &p->to, addr_len(&p->to)), (ssize_t) len);
}

static void
put32 (uint8_t *b, uint32_t v) {
  b[0] = (uint8_t) v;
  b[1] = (uint8_t) (v >> 8);
  b[2] = (uint8_t) (v >> 16);
  b[3] = (uint8_t) (v >> 24);
}

static uint32_t
get32 (const uint8_t *b) {
  return (uint32_t) b[0] | (uint32_t) b[1] << 8 | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
}

void
peer_send_full (peer_t *p, uint8_t type, uint8_t offset, uint32_t window, uint32_t seq, uint32_t ack, const void *body,
  size_t len) {
  uint8_t b[4096];
  CHECK(len + 20 <= sizeof(b));
  b[0] = 0xff;
  b[1] = 1;
  b[2] = type;
  b[3] = offset;
  put32(b + 4, p->id);
  put32(b + 8, window);
  put32(b + 12, seq);
  put32(b + 16, ack);
  if (len) memcpy(b + 20, body, len);
  peer_raw(p, b, 20 + len);
}

void
peer_send (peer_t *p, uint8_t type, uint32_t seq, uint32_t ack, const void *body, size_t len) {
  peer_send_full(p, type, 0, p->window, seq, ack, body, len);
}

void
peer_sack (peer_t *p, uint32_t seq, uint32_t ack, const uint32_t *blocks, size_t n) {
  uint8_t body[8 * 60];
  for (size_t i = 0; i < 2 * n; i++) put32(body + 4 * i, blocks[i]);
  peer_send(p, SACK, seq, ack, body, 8 * n);
}

static void
peer_receive (peer_t *p) {
  for (;;) {
    if (p->n == p->cap) {
      p->cap = p->cap ? p->cap * 2 : 64;
      p->log = realloc(p->log, p->cap * sizeof(packet_t));
    }
    packet_t *k = &p->log[p->n];
    memset(k, 0, sizeof(*k));
    char control[256];
    struct iovec iov = {k->bytes, sizeof(k->bytes)};
    struct msghdr m = {0};
    m.msg_name = &k->from;
    m.msg_namelen = sizeof(k->from);
    m.msg_iov = &iov;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof(control);
    ssize_t n = syscall(SYS_recvmsg, p->fd, &m, 0); /* past the fault injection */
    if (n < 0) return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
      if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
          (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) memcpy(&k->ttl, CMSG_DATA(c), sizeof(int));
    }
    k->size = (size_t) n;
    k->at = now_ms();
    p->n++;
    if (n < 20 || k->bytes[0] != 0xff || k->bytes[1] != 1) continue;
    k->type = k->bytes[2];
    k->offset = k->bytes[3];
    k->id = get32(k->bytes + 4);
    k->window = get32(k->bytes + 8);
    k->seq = get32(k->bytes + 12);
    k->ack = get32(k->bytes + 16);
    size_t skip = k->type & SACK ? 0 : k->offset;
    k->body = k->bytes + 20 + skip; /* only valid until the log grows: see peer_last */
    k->len = (size_t) n - 20 - skip;
    if (p->on_packet && p->on_packet(p, k)) continue;
    if (p->auto_ack) {
      if (k->type & (DATA | END)) {
        if ((int32_t) (k->seq - p->rcv) >= 0) p->rcv = k->seq + 1;
        peer_send(p, 0, p->seq, p->rcv, NULL, 0);
      } else if (k->type & HEARTBEAT) {
        peer_send(p, 0, p->seq, p->rcv, NULL, 0);
      }
    }
  }
}

static packet_t *
fresh (packet_t *k) {
  k->body = k->bytes + 20 + (k->type & SACK ? 0 : k->offset);
  return k;
}

size_t
peer_count (const peer_t *p, uint8_t mask, uint8_t value) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++) n += p->log[i].size >= 20 && (p->log[i].type & mask) == value;
  return n;
}

packet_t *
peer_nth (peer_t *p, uint8_t mask, uint8_t value, size_t n) {
  for (size_t i = 0; i < p->n; i++) {
    if (p->log[i].size >= 20 && (p->log[i].type & mask) == value && n-- == 0) return fresh(&p->log[i]);
  }
  return NULL;
}

packet_t *
peer_last (peer_t *p, uint8_t mask, uint8_t value) {
  for (size_t i = p->n; i-- > 0;) {
    if (p->log[i].size >= 20 && (p->log[i].type & mask) == value) return fresh(&p->log[i]);
  }
  return NULL;
}

size_t
peer_count_seq (const peer_t *p, uint32_t seq) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++) n += (p->log[i].type & (DATA | END)) && p->log[i].seq == seq;
  return n;
}

bool
sack_covers (const packet_t *k, uint32_t seq) {
  if (!(k->type & SACK)) return false;
  size_t area = k->offset && k->offset < k->size - 20 ? k->offset : k->size - 20;
  for (size_t at = 0; at + 8 <= area; at += 8) {
    uint32_t start = get32(k->bytes + 20 + at), end = get32(k->bytes + 24 + at);
    if ((int32_t) (seq - start) >= 0 && (int32_t) (seq - end) < 0) return true;
  }
  return false;
}

void
fixture_open (fixture_t *f, bool connect) {
  world_open();
  f->p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(f->p, &to);
  f->p->id = LOCAL_ID;
  side_init(&f->s, &udx, LOCAL_ID);
  side_read(&f->s);
  if (connect) side_connect(&f->s, &sock, REMOTE_ID, &f->p->addr);
}

/* ------------------------------------------------------------------ path */

struct held {
  double due;
  uint64_t order;
  int towards;
  uint16_t len;
  uint8_t *data;
};

path_t *
path_open (void) {
  path_t *p = calloc(1, sizeof(*p));
  for (int i = 0; i < 2; i++) p->fd[i] = open_fd(AF_INET, &p->addr[i]);
  p->queue = 1e9;
  p->random = 88172645463325252u;
  p->next = paths;
  paths = p;
  return p;
}

double
path_uniform (path_t *p) {
  p->random ^= p->random << 13;
  p->random ^= p->random >> 7;
  p->random ^= p->random << 17;
  return (double) (p->random >> 11) / 9007199254740992.0;
}

static bool
earlier (const struct held *a, const struct held *b) {
  return a->due < b->due || (a->due <= b->due && a->order < b->order);
}

static void
path_hold (path_t *p, struct held h) { /* binary heap */
  if (p->n == p->cap) {
    p->cap = p->cap ? p->cap * 2 : 256;
    p->held = realloc(p->held, p->cap * sizeof(struct held));
  }
  size_t i = p->n++;
  while (i > 0 && earlier(&h, &p->held[(i - 1) / 2])) {
    p->held[i] = p->held[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  p->held[i] = h;
}

static struct held
path_take (path_t *p) {
  struct held top = p->held[0], last = p->held[--p->n];
  size_t i = 0;
  for (;;) {
    size_t c = 2 * i + 1;
    if (c >= p->n) break;
    if (c + 1 < p->n && earlier(&p->held[c + 1], &p->held[c])) c++;
    if (!earlier(&p->held[c], &last)) break;
    p->held[i] = p->held[c];
    i = c;
  }
  if (p->n) p->held[i] = last;
  return top;
}

static void
path_forward (path_t *p, int towards, const uint8_t *data, size_t len) {
  p->forwarded[towards]++;
  sends++;
  (void) !sendto(p->fd[towards], data, len, 0, (struct sockaddr *) &p->end[towards], addr_len(&p->end[towards]));
}

static void
path_run (path_t *p) {
  static uint64_t order;
  uint8_t buffer[65536];
  for (int side = 0; side < 2; side++) {
    int towards = 1 - side;
    for (int turn = 0; turn < 64; turn++) {
      ssize_t n = recv(p->fd[side], buffer, sizeof(buffer), 0);
      if (n < 0) break;
      if (p->drop && p->drop(p, towards, buffer, (size_t) n)) {
        p->dropped[towards]++;
        continue;
      }
      double now = now_ms(), due = now + p->delay + (p->jitter > 0 ? path_uniform(p) * p->jitter : 0);
      if (p->rate > 0 && towards == 1) {
        double begin = p->free_at > now ? p->free_at : now;
        if ((begin - now) * p->rate + (double) n > p->queue) {
          p->dropped[towards]++;
          continue;
        }
        p->free_at = begin + (double) n / p->rate;
        due += p->free_at - now;
      }
      if (due <= now && p->n == 0) {
        path_forward(p, towards, buffer, (size_t) n);
        continue;
      }
      struct held h = {due, order++, towards, (uint16_t) n, malloc((size_t) n + 1)};
      memcpy(h.data, buffer, (size_t) n);
      path_hold(p, h);
    }
  }
  double now = now_ms();
  while (p->n && p->held[0].due <= now) {
    struct held h = path_take(p);
    path_forward(p, h.towards, h.data, h.len);
    free(h.data);
  }
}

void
ends_open (ends_t *q, bool with_path, uint32_t a_id, uint32_t b_id) {
  memset(q, 0, sizeof(*q));
  world_open();
  instance_open(&q->other);
  socket_open(&q->other, &q->other_sock, "127.0.0.1", 0, 0);
  side_init(&q->a, &udx, a_id);
  side_init(&q->b, &q->other, b_id);
  struct sockaddr_storage at_a = socket_addr(&sock), at_b = socket_addr(&q->other_sock);
  struct sockaddr_storage to_b = at_b, to_a = at_a;
  if (with_path) {
    q->path = path_open();
    q->path->end[0] = at_a;
    q->path->end[1] = at_b;
    to_b = q->path->addr[0];
    to_a = q->path->addr[1];
  }
  side_connect(&q->a, &sock, b_id, &to_b);
  side_connect(&q->b, &q->other_sock, a_id, &to_a);
  side_read(&q->a);
  side_read(&q->b);
}

/* ------------------------------------------------------------------ turning */

void
step (void) {
  for (peer_t *p = peers; p; p = p->next) peer_receive(p);
  for (path_t *p = paths; p; p = p->next) path_run(p);
  uv_run(&loop, UV_RUN_NOWAIT);

  struct pollfd fds[64];
  nfds_t n = 0;
  fds[n++] = (struct pollfd){uv_backend_fd(&loop), POLLIN, 0};
  for (peer_t *p = peers; p && n < 60; p = p->next) fds[n++] = (struct pollfd){p->fd, POLLIN, 0};
  for (path_t *p = paths; p && n < 60; p = p->next) {
    fds[n++] = (struct pollfd){p->fd[0], POLLIN, 0};
    fds[n++] = (struct pollfd){p->fd[1], POLLIN, 0};
  }
  int wait = uv_backend_timeout(&loop);
  if (wait < 0 || wait > 1) wait = 1;
  clock_wait(fds, n, wait);
}

void
settle (double ms) {
  double end = now_ms() + ms;
  while (now_ms() < end) step();
}
