/* Lifecycle: items 30 to 52. */
#define _GNU_SOURCE
#include "conform.h"

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
  world_open();
  static udx_socket_t six;
  socket_open(&udx, &six, "::", 0, 0);
  struct sockaddr_storage a = socket_addr(&six), to;
  memset(&to, 0, sizeof(to));
  uv_ip4_addr("127.0.0.1", ntohs(((struct sockaddr_in6 *) &a)->sin6_port), (struct sockaddr_in *) &to);
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
destroy_unconnected (void) {
  fixture_open(&f, false);
  CHECK_EQ(udx_stream_destroy(&f.s.stream), 0);
  WAIT(f.s.finals == 1, 500);
  CHECK_EQ(f.s.closes, 1);
  CHECK_EQ(f.s.close_status, 0);
  settle(30);
  CHECK_EQ(f.p->n, 0);
}

static void
destroy_connected (void) {
  fixture_open(&f, true);
  side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) == 1, 500);
  CHECK_EQ(udx_stream_destroy(&f.s.stream), 1);
  WAIT(f.s.finals == 1 && peer_count(f.p, DESTROY, DESTROY) >= 1, 1000);
  CHECK_EQ(f.s.closes, 1);
  CHECK_EQ(f.s.close_status, 0);
  CHECK_EQ(f.s.cancels, 1);
  packet_t *k = peer_last(f.p, DESTROY, DESTROY);
  CHECK_EQ(k->seq, 1);
  CHECK_EQ(k->size, 20);
  CHECK_EQ(k->type, DESTROY);
}

static void
remote_destroy (void) {
  fixture_open(&f, true);
  side_write(&f.s, "x", 1);
  side_write(&f.s, "y", 1);
  WAIT(DATAS(f.p) >= 1, 500);
  peer_send(f.p, DESTROY, 0, 0, NULL, 0);
  WAIT(f.s.finals == 1, 500);
  CHECK_EQ(f.s.close_status, UV_ECONNRESET);
  CHECK_EQ(f.s.cancels, 2);
  CHECK_EQ(f.s.acks, 0);
}

static void
old_destroy (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA, 0, 0, "a", 1);
  WAIT(f.s.len == 1, 500);
  peer_send(f.p, DESTROY, 0, 0, NULL, 0);
  settle(30);
  CHECK_EQ(f.s.closes, 0);
  peer_send(f.p, DATA, 1, 0, "b", 1);
  WAIT(f.s.len == 2, 500);
}

static void
end_interleavings (void) {
  world_open();
  peer_t *p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(p, &to);
  static side_t s[4];
  for (uint32_t i = 0; i < 4; i++) {
    side_t *x = &s[i];
    p->id = 50 + i;
    side_init(x, &udx, 50 + i);
    side_connect(x, &sock, 500 + i, &p->addr);
    side_read(x);
    size_t before = p->n;
    if (i == 2) {
      peer_send(p, END, 0, 0, NULL, 0);
      WAIT(x->eofs == 1, 500);
      side_end(x);
      WAIT(peer_last(p, END, END) && peer_last(p, END, END)->id == 500 + i, 500);
      CHECK_EQ(x->closes, 0);
      peer_send(p, 0, 1, 1, NULL, 0);
    } else {
      side_end(x);
      WAIT(p->n > before, 500);
      if (i == 0) {
        peer_send(p, END, 0, 0, NULL, 0);
        WAIT(x->eofs == 1, 500);
        CHECK_EQ(x->closes, 0);
        peer_send(p, 0, 1, 1, NULL, 0);
      } else if (i == 1) {
        peer_send(p, 0, 0, 1, NULL, 0);
        settle(20);
        CHECK_EQ(x->closes, 0);
        peer_send(p, END, 0, 1, NULL, 0);
      } else {
        peer_send(p, END, 0, 1, NULL, 0);
      }
    }
    WAIT(x->finals == 1, 1000);
    CHECK_EQ(x->close_status, 0);
    CHECK_EQ(x->eofs, 1);
    CHECK_EQ(x->acks, 1);
    WAIT(ACKS(p) && peer_last(p, (uint8_t) ~SACK, 0)->id == 500 + i && peer_last(p, (uint8_t) ~SACK, 0)->ack == 1, 500);
  }
}

static void
end_between_streams (void) {
  ends_open(&q, true, 1000, 2000);
  q.path->jitter = 4;
  struct sockaddr_storage to_b = q.path->addr[0], to_a = q.path->addr[1];
  static side_t a[40], b[40];
  for (uint32_t i = 0; i < 40; i++) {
    side_init(&a[i], &udx, 1 + i);
    side_init(&b[i], &q.other, 101 + i);
    side_connect(&a[i], &sock, 101 + i, &to_b);
    side_connect(&b[i], &q.other_sock, 1 + i, &to_a);
    side_read(&a[i]);
    side_read(&b[i]);
    a[i].discard = b[i].discard = true;
    side_write_pattern(&a[i], 0, i * 97);
    if (i % 3 == 0) side_write_pattern(&b[i], 0, i * 31);
    side_end(&a[i]);
    if (i % 2 == 0) side_end(&b[i]);
  }
  bool done = false;
  double end = now_ms() + 10000;
  while (!done) {
    CHECK(now_ms() < end);
    step();
    done = true;
    for (int i = 0; i < 40; i++) {
      if (i % 2 == 1 && b[i].eofs == 1 && !(b[i].stream.status & UDX_STREAM_ENDING)) side_end(&b[i]);
      done = done && a[i].finals == 1 && b[i].finals == 1;
    }
  }
  for (uint32_t i = 0; i < 40; i++) {
    CHECK_EQ(a[i].close_status, 0);
    CHECK_EQ(b[i].close_status, 0);
    CHECK_EQ(b[i].total, i * 97);
    CHECK_EQ(a[i].eofs, 1);
    CHECK_EQ(b[i].eofs, 1);
  }
}

static void
eof_once (void) {
  fixture_open(&f, true);
  peer_send(f.p, END | DATA, 2, 0, "cc", 2);
  peer_send(f.p, DATA, 1, 0, "bb", 2);
  settle(20);
  CHECK_EQ(f.s.eofs, 0);
  peer_send(f.p, DATA, 0, 0, "aa", 2);
  WAIT(f.s.eofs == 1, 500);
  CHECK_EQ(f.s.len, 6);
  peer_send(f.p, END | DATA, 2, 0, "cc", 2);
  peer_send(f.p, DATA, 3, 0, "dd", 2);
  settle(30);
  CHECK_EQ(f.s.eofs, 1);
  CHECK_EQ(f.s.len, 6);
  CHECK_EQ(side_write(&f.s, "still", 5), 1);
  WAIT(DATAS(f.p) == 1, 500);
  peer_send(f.p, 0, 3, 1, NULL, 0);
  WAIT(f.s.acks == 1, 500);
  CHECK_EQ(f.s.closes, 0);
}

static void
on_ack_free (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

static void
end_without_data (void) {
  fixture_open(&f, true);
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  CHECK(udx_stream_write_end(req, &f.s.stream, NULL, 0, on_ack_free) >= 0);
  WAIT(peer_count(f.p, END, END) == 1, 500);
  packet_t *k = peer_last(f.p, END, END);
  CHECK_EQ(k->seq, 0);
  CHECK_EQ(k->len, 0);
  CHECK_EQ(k->type & (uint8_t) ~DATA, END);
  static side_t s;
  side_init(&s, &udx, 9);
  side_connect(&s, &sock, 90, &f.p->addr);
  CHECK(side_end(&s) >= 0);
  WAIT(peer_count(f.p, END, END) >= 2 && peer_last(f.p, END, END)->id == 90, 500);
  CHECK_EQ(peer_last(f.p, END, END)->seq, 0);
  CHECK_EQ(peer_last(f.p, END, END)->len, 0);
  f.p->id = 9;
  peer_send(f.p, END, 0, 1, NULL, 0);
  WAIT(s.closes == 1, 500);
  CHECK_EQ(s.close_status, 0);
}

static void
data_and_end (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA | END, 0, 0, "last", 4);
  WAIT(f.s.eofs == 1, 500);
  CHECK_EQ(f.s.len, 4);
  WAIT(ACKS(f.p) >= 1 && peer_last(f.p, 0xff, 0)->ack == 1, 500);
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
callback_order (void) {
  fixture_open(&f, true);
  for (int i = 0; i < 3; i++) side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) >= 1, 500);
  udx_stream_destroy(&f.s.stream);
  WAIT(f.s.finals == 1, 500);
  CHECK(strcmp(f.s.order, "CXXXF") == 0);
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
    double end = now_ms() + 500;
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
  if (growth > 100000) test_fail(__FILE__, __LINE__, "heap grew by %ld bytes in 200 streams", growth);
}

static void
destroy_on_read (void *s) {
  udx_stream_destroy(&((side_t *) s)->stream);
}

static void
destroy_on_firewall (void *s, udx_socket_t *socket, const struct sockaddr *from) {
  (void) socket;
  (void) from;
  udx_stream_destroy(&((side_t *) s)->stream);
}

static void
destroy_in_callbacks (void) {
  fixture_open(&f, false);
  static side_t s[6];
  for (uint32_t i = 0; i < 6; i++) {
    side_t *x = &s[i];
    f.p->id = 20 + i;
    side_init(x, &udx, 20 + i);
    side_read(x);
    if (i == 3) {
      x->on_firewall = destroy_on_firewall;
      side_firewall(x, 0);
      peer_send(f.p, DATA, 0, 0, "x", 1);
    } else {
      side_connect(x, &sock, 200 + i, &f.p->addr);
      if (i == 0) { /* in order data, with more behind it */
        x->on_read = destroy_on_read;
        peer_send(f.p, DATA, 1, 0, "y", 1);
        peer_send(f.p, DATA, 0, 0, "x", 1);
      } else if (i == 1) {
        x->on_ack = destroy_on_read;
        side_write_pattern(x, 0, 5000);
        side_write_pattern(x, 0, 5000);
        WAIT(DATAS(f.p) >= 5, 1000);
        peer_send(f.p, 0, 0, 5, NULL, 0);
      } else if (i == 2) {
        x->on_message = destroy_on_read;
        peer_send(f.p, MESSAGE | DATA, 0, 0, "m", 1);
      } else if (i == 4) { /* at the end */
        x->on_read = destroy_on_read;
        peer_send(f.p, END, 0, 0, NULL, 0);
      } else { /* again inside close */
        x->on_close = destroy_on_read;
        peer_send(f.p, DESTROY, 0, 0, NULL, 0);
      }
    }
    WAIT(x->finals == 1, 1000);
    CHECK_EQ(x->closes, 1);
    if (i == 0) CHECK_EQ(x->reads, 1);
    settle(20);
  }
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
  faults.block_send = true;
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
  double end = now_ms() + 55000;
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
  {"UDX-30", "connect sends nothing", connect_is_silent, NULL, 0},
  {"UDX-31", "data before connect is read and acknowledged on connect", preconnect, NULL, 0},
  {"UDX-32", "firewall judges packets on other sockets", firewall_other_socket, NULL, 0},
  {"UDX-33", "firewall sees a mapped source as IPv4", firewall_mapped, NULL, 0},
  {"UDX-34", "firewall may connect the stream", firewall_connects, NULL, 0},
  {"UDX-35", "rejecting firewall: nothing received, peer ends with ETIMEDOUT", rejecting_firewall, NULL, 25},
  {"UDX-36", "destroy before connect", destroy_unconnected, NULL, 0},
  {"UDX-37", "destroy sends DESTROY, status 0", destroy_connected, NULL, 0},
  {"UDX-38", "DESTROY received: ECONNRESET, writes cancelled", remote_destroy, NULL, 0},
  {"UDX-39", "old DESTROY is ignored", old_destroy, NULL, 0},
  {"UDX-40", "END and ACK in four interleavings on the wire", end_interleavings, NULL, 0},
  {"UDX-40", "40 pairs end in different orders", end_between_streams, NULL, 0},
  {"UDX-41", "EOF once after all data, writing goes on", eof_once, NULL, 0},
  {"UDX-42", "END without data, empty last buffer", end_without_data, NULL, 0},
  {"UDX-43", "DATA+END", data_and_end, NULL, 0},
  {"UDX-44", "EPIPE, ENOTCONN, EINVAL", write_errors, NULL, 0},
  {"UDX-45", "order of close, cancelled writes, finalize", callback_order, NULL, 0},
  {"UDX-46", "no leak of buffered data", buffered_leak, NULL, 0},
  {"UDX-47", "destroy inside callbacks", destroy_in_callbacks, NULL, 0},
  {"UDX-48", "EBUSY while streams use the socket", socket_busy, NULL, 0},
  {"UDX-49", "socket close cancels queued TTL messages", cancel_ttl_messages, NULL, 0},
  {"UDX-50", "two streams connected over one socket", same_socket, NULL, 0},
  {"UDX-51", "16 streams x 10 MB, separate sockets", many_sockets, NULL, 60},
  {"UDX-51", "16 streams x 10 MB, one socket", many_one_socket, NULL, 60},
  {"UDX-52", "small writes of one turn share packets", small_writes, NULL, 0},
  {NULL, NULL, NULL, NULL, 0},
};
