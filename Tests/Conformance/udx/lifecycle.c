/* Lifecycle: items 30 to 52 without those of closing.c. */
#include "harness/conform.h"

#include <malloc.h>

static fixture_t f;
static ends_t q;

static void
connect_is_silent (void) {
  fixture_open(&f, true);
  settle(150);
  CHECK_EQ(f.p->n, 0);
  CHECK_EQ(udx_stream_connect(&f.s.stream, &sock, 5, (struct sockaddr *) &f.p->addr), UV_EISCONN);
}

static void
preconnect (void) {
  fixture_open(&f, false);
  peer_send(f.p, DATA, 0, 0, "early", 5);
  WAIT(f.s.len == 5, 500);
  peer_send(f.p, MESSAGE, 1, 0, "m", 1);
  WAIT(f.s.messages.n == 1, 500);
  CHECK_EQ(f.p->n, 0);
  side_connect(&f.s, &sock, REMOTE_ID, &f.p->addr);
  WAIT(ACKS(f.p) == 1, 500);
  CHECK_EQ(peer_last(f.p, 0xff, 0)->ack, 1);
  CHECK_EQ(peer_last(f.p, 0xff, 0)->id, REMOTE_ID);
}

static void
firewall_other_socket (void) {
  fixture_open(&f, true);
  static udx_socket_t second;
  socket_open(&udx, &second, "127.0.0.1", 0, 0);
  struct sockaddr_storage first = f.p->to, other = socket_addr(&second);
  side_firewall(&f.s, 1);
  peer_send(f.p, DATA, 0, 0, "own", 3);
  WAIT(f.s.len == 3, 500);
  CHECK_EQ(f.s.firewalls, 0);
  peer_to(f.p, &other);
  peer_send(f.p, DATA, 1, 0, "no", 2);
  WAIT(f.s.firewalls == 1, 500);
  settle(30);
  CHECK_EQ(f.s.len, 3);
  f.s.firewall_result = 0;
  peer_send(f.p, DATA, 1, 0, "yes", 3);
  WAIT(f.s.len == 6, 500);
  CHECK(memcmp(f.s.data, "ownyes", 6) == 0);
  CHECK_EQ(f.s.firewalls, 2);
  peer_to(f.p, &first);
}

static void
firewall_mapped (void) {
  require_address("::");
  world_open();
  static udx_socket_t six;
  socket_open(&udx, &six, "::", 0, 0);
  struct sockaddr_storage to = socket_addr4(&six);
  peer_t *p = peer_open(AF_INET);
  peer_to(p, &to);
  p->id = LOCAL_ID;
  static side_t s;
  side_init(&s, &udx, LOCAL_ID);
  side_read(&s);
  side_firewall(&s, 0);
  peer_send(p, DATA, 0, 0, "x", 1);
  WAIT(s.firewalls == 1, 500);
  CHECK_EQ(s.firewall_from.ss_family, AF_INET);
  struct sockaddr_in *from = (struct sockaddr_in *) &s.firewall_from, *own = (struct sockaddr_in *) &p->addr;
  CHECK_EQ(from->sin_port, own->sin_port);
  CHECK_EQ(from->sin_addr.s_addr, own->sin_addr.s_addr);
  WAIT(s.len == 1, 500);
}

static void
connect_now (void *arg, udx_socket_t *socket, const struct sockaddr *from) {
  side_t *s = arg;
  if (!(s->stream.status & UDX_STREAM_CONNECTED)) {
    CHECK_EQ(udx_stream_connect(&s->stream, socket, REMOTE_ID, from), 0);
  }
}

static void
firewall_connects (void) {
  fixture_open(&f, false);
  f.s.on_firewall = connect_now;
  side_firewall(&f.s, 0);
  peer_send(f.p, DATA, 0, 0, "first", 5);
  WAIT(f.s.len == 5, 500);
  CHECK_EQ(f.s.firewalls, 1);
  WAIT(ACKS(f.p) == 1, 500);
  CHECK_EQ(peer_last(f.p, 0xff, 0)->ack, 1);
  side_write(&f.s, "reply", 5);
  WAIT(DATAS(f.p) == 1, 500);
}

static void
rejecting_firewall (void) {
  world_open();
  instance_open(&q.other);
  socket_open(&q.other, &q.other_sock, "127.0.0.1", 0, 0);
  side_init(&q.a, &udx, 1);
  side_init(&q.b, &q.other, 2);
  struct sockaddr_storage to_b = socket_addr(&q.other_sock);
  side_connect(&q.a, &sock, 2, &to_b);
  side_read(&q.b);
  side_firewall(&q.b, 1);
  side_write(&q.a, "x", 1);
  WAIT(q.a.closes == 1, 16000);
  CHECK_EQ(q.a.close_status, UV_ETIMEDOUT);
  CHECK_EQ(q.b.reads, 0);
  CHECK(q.b.firewalls >= 2);
}

static void
on_ack_free (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

static void
write_errors (void) {
  fixture_open(&f, false);
  CHECK_EQ(side_write(&f.s, "x", 1), UV_ENOTCONN);
  CHECK_EQ(side_end(&f.s), UV_ENOTCONN);
  CHECK_EQ(side_send(&f.s, "x", 1), UV_ENOTCONN);
  side_connect(&f.s, &sock, REMOTE_ID, &f.p->addr);
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  CHECK_EQ(udx_stream_write(req, &f.s.stream, NULL, 0, on_ack_free), UV_EINVAL);
  free(req);
  side_end(&f.s);
  CHECK_EQ(side_write(&f.s, "x", 1), UV_EPIPE);
  CHECK_EQ(side_end(&f.s), UV_EPIPE);
}

static void
buffered_leak (void) {
  fixture_open(&f, false);
  uint8_t body[1000] = {0};
  size_t middle = 0;
  for (int round = 0; round < 400; round++) {
    side_t *s = malloc(sizeof(*s));
    f.p->id = 7;
    side_init(s, &udx, 7);
    side_read(s);
    s->discard = true;
    side_connect(s, &sock, 70, &f.p->addr);
    for (uint32_t i = 1; i < 30; i++) peer_send(f.p, DATA, i * 2, 0, body, sizeof(body));
    double end = limit_ms(500);
    while (s->stream.packets_rx < 29) {
      CHECK(now_ms() < end);
      step();
    }
    udx_stream_destroy(&s->stream);
    WAIT(s->finals == 1, 500);
    free(s);
    f.p->n = 0;
    if (round == 199) middle = mallinfo2().uordblks;
  }
  long growth = (long) mallinfo2().uordblks - (long) middle;
  if (growth > 100000) check_failed(__FILE__, __LINE__, "heap grew by %ld bytes in 200 streams", growth);
}

static int socket_closes;

static void
on_closed (udx_socket_t *s) {
  (void) s;
  socket_closes++;
}

static void
socket_busy (void) {
  fixture_open(&f, true);
  static udx_socket_t second;
  static side_t s;
  struct sockaddr_storage any;
  uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &any);
  CHECK_EQ(udx_socket_init(&udx, &second, on_closed), 0);
  CHECK_EQ(udx_socket_bind(&second, (struct sockaddr *) &any, 0), 0);
  side_init(&s, &udx, 6);
  side_connect(&s, &second, 60, &f.p->addr);
  CHECK_EQ(udx_socket_close(&second), UV_EBUSY);
  udx_stream_destroy(&s.stream);
  WAIT(s.finals == 1, 500);
  CHECK_EQ(udx_socket_close(&second), 0);
  WAIT(socket_closes == 1, 500);
}

static int sent_status[3], sent_count;

static void
on_socket_sent (udx_socket_send_t *req, int status) {
  (void) req;
  if (sent_count < 3) sent_status[sent_count++] = status;
}

static void
cancel_ttl_messages (void) {
  fixture_open(&f, false);
  static udx_socket_t second;
  static udx_socket_send_t req[3];
  struct sockaddr_storage any;
  uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &any);
  CHECK_EQ(udx_socket_init(&udx, &second, on_closed), 0);
  CHECK_EQ(udx_socket_bind(&second, (struct sockaddr *) &any, 0), 0);
  backend->block_sends(true);
  uv_buf_t buf = uv_buf_init("x", 1);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(udx_socket_send_ttl(&req[i], &second, &buf, 1, (struct sockaddr *) &f.p->addr, 5, on_socket_sent), 0);
  }
  step();
  CHECK_EQ(sent_count, 0);
  CHECK_EQ(udx_socket_close(&second), 0);
  WAIT(socket_closes == 1, 500);
  CHECK_EQ(sent_count, 3);
  for (int i = 0; i < 3; i++) CHECK_EQ(sent_status[i], UV_ECANCELED);
  CHECK_EQ(f.p->n, 0);
}

static void
same_socket (void) {
  world_open();
  static side_t a, b;
  side_init(&a, &udx, 1);
  side_init(&b, &udx, 2);
  struct sockaddr_storage self = socket_addr(&sock);
  side_connect(&a, &sock, 2, &self);
  side_connect(&b, &sock, 1, &self);
  side_read(&a);
  side_read(&b);
  a.checked = b.checked = true;
  side_write_pattern(&a, 0, 100000);
  side_write_pattern(&b, 0, 50000);
  WAIT(b.total == 100000 && a.total == 50000, 5000);
  CHECK_EQ(a.mismatches + b.mismatches, 0);
  side_end(&a);
  side_end(&b);
  WAIT(a.finals == 1 && b.finals == 1, 2000);
}

#define MANY 16

static void
many (bool one_socket) {
  ends_open(&q, false, 1000, 2000);
  static udx_socket_t from[MANY], to[MANY];
  static side_t a[MANY], b[MANY];
  const size_t each = 10000000, chunk = 500000;
  for (uint32_t i = 0; i < MANY; i++) {
    udx_socket_t *sa = &sock, *sb = &q.other_sock;
    if (!one_socket) {
      sa = &from[i];
      sb = &to[i];
      socket_open(&udx, sa, "127.0.0.1", 0, 0);
      socket_open(&q.other, sb, "127.0.0.1", 0, 0);
    }
    struct sockaddr_storage at_a = socket_addr(sa), at_b = socket_addr(sb);
    side_init(&a[i], &udx, 1 + i);
    side_init(&b[i], &q.other, 101 + i);
    side_connect(&a[i], sa, 101 + i, &at_b);
    side_connect(&b[i], sb, 1 + i, &at_a);
    side_read(&b[i]);
    b[i].checked = b[i].discard = true;
  }
  uint64_t offset[MANY] = {0};
  bool done = false;
  double end = limit_ms(55000);
  while (!done) {
    CHECK(now_ms() < end);
    step();
    done = true;
    for (int i = 0; i < MANY; i++) {
      while (offset[i] < each && offset[i] < b[i].total + 2 * chunk) {
        side_write_pattern(&a[i], offset[i], chunk);
        offset[i] += chunk;
        if (offset[i] == each) side_end(&a[i]);
      }
      done = done && b[i].eofs == 1;
    }
  }
  for (int i = 0; i < MANY; i++) {
    CHECK_EQ(b[i].total, each);
    CHECK_EQ(b[i].mismatches, 0);
  }
}

static void
many_sockets (void) {
  many(false);
}

static void
many_one_socket (void) {
  many(true);
}

static void
small_writes (void) {
  fixture_open(&f, true);
  f.p->auto_ack = true;
  uint8_t bytes[60];
  memset(bytes, 'x', sizeof(bytes));
  for (int i = 0; i < 100; i++) side_write(&f.s, bytes, sizeof(bytes));
  WAIT(f.s.acks == 100, 2000);
  size_t packets = DATAS(f.p);
  CHECK(packets <= 7);
  CHECK(peer_nth(f.p, DATA, DATA, 1)->len >= 1100);
}

const test_t lifecycle_tests[] = {
  {"UDX-30", "connect sends nothing", connect_is_silent, NULL, 0, SIMULATOR},
  {"UDX-31", "data before connect is read and acknowledged on connect", preconnect, NULL, 0, SIMULATOR},
  {"UDX-32", "firewall judges packets on other sockets", firewall_other_socket, NULL, 0, SIMULATOR},
  {"UDX-33", "firewall sees a mapped source as IPv4", firewall_mapped, NULL, 0, BOTH},
  {"UDX-34", "firewall may connect the stream", firewall_connects, NULL, 0, SIMULATOR},
  {"UDX-35", "rejecting firewall: nothing received, peer ends with ETIMEDOUT", rejecting_firewall, NULL, 25, SIMULATOR},
  {"UDX-44", "EPIPE, ENOTCONN, EINVAL", write_errors, NULL, 0, SIMULATOR},
  {"UDX-46", "no leak of buffered data", buffered_leak, NULL, 0, SIMULATOR},
  {"UDX-48", "EBUSY while streams use the socket", socket_busy, NULL, 0, SIMULATOR},
  {"UDX-49", "socket close cancels queued TTL messages", cancel_ttl_messages, NULL, 0, BOTH},
  {"UDX-50", "two streams connected over one socket", same_socket, NULL, 0, BOTH},
  {"UDX-51", "16 streams x 10 MB, separate sockets", many_sockets, NULL, 60, BOTH},
  {"UDX-51", "16 streams x 10 MB, one socket", many_one_socket, NULL, 60, BOTH},
  {"UDX-52", "small writes of one turn share packets", small_writes, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
