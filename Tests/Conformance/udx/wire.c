/* Wire format: items 1 to 18. */
#include "harness/conform.h"

static fixture_t f;

static void
hello (void) {
  world_open();
  peer_t *p = peer_open(AF_INET);
  static side_t s;
  side_init(&s, &udx, 2);
  side_connect(&s, &sock, 1, &p->addr);
  side_write(&s, "hello", 5);
  WAIT(p->n == 1, 500);
  static const uint8_t expected[] = {
    0xff, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'};
  CHECK_EQ(p->log[0].size, sizeof(expected));
  CHECK(memcmp(p->log[0].bytes, expected, sizeof(expected)) == 0);
}

static void
seq_per_packet (void) {
  fixture_open(&f, true);
  f.p->auto_ack = true;
  side_write_pattern(&f.s, 0, 3000);
  side_write(&f.s, "x", 1);
  WAIT(f.s.acks == 2, 2000);
  side_end(&f.s);
  WAIT(f.s.acks == 3, 2000);
  udx_stream_destroy(&f.s.stream);
  WAIT(peer_count(f.p, DESTROY, DESTROY) >= 1, 500);
  uint32_t next = 0;
  for (size_t i = 0; i < f.p->n; i++) {
    packet_t *k = &f.p->log[i];
    if (!(k->type & (DATA | END)) && k->type != DESTROY) continue;
    if (k->type == DESTROY && next == k->seq + 1) continue; /* repeated */
    CHECK_EQ(k->seq, next);
    next++;
  }
  CHECK(next >= 5);
}

static void
seq_not_consumed (void) {
  fixture_open(&f, false);
  udx_stream_set_keepalive(&f.s.stream, 30);
  side_connect(&f.s, &sock, REMOTE_ID, &f.p->addr);
  side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) == 1, 500);
  peer_send(f.p, 0, 0, 1, NULL, 0);
  WAIT(f.s.acks == 1, 500);
  peer_send(f.p, DATA, 0, 1, "a", 1);
  WAIT(peer_count(f.p, 0xff, 0) >= 1, 500);
  CHECK_EQ(peer_last(f.p, 0xff, 0)->seq, 1);
  peer_send(f.p, DATA, 2, 1, "b", 1);
  WAIT(peer_count(f.p, 0xff, SACK) >= 1, 500);
  CHECK_EQ(peer_last(f.p, 0xff, SACK)->seq, 1);
  side_send(&f.s, "m", 1);
  WAIT(peer_count(f.p, 0xff, MESSAGE) >= 1, 500);
  CHECK_EQ(peer_last(f.p, 0xff, MESSAGE)->seq, 1);
  WAIT(peer_count(f.p, 0xff, HEARTBEAT) >= 1, 1000);
  CHECK_EQ(peer_last(f.p, 0xff, HEARTBEAT)->seq, 1);
  side_write(&f.s, "y", 1);
  WAIT(DATAS(f.p) >= 2, 500);
  CHECK_EQ(peer_last(f.p, DATA, DATA)->seq, 1);
}

static void
ack_is_next (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA, 0, 0, "a", 1);
  WAIT(ACKS(f.p) >= 1, 500);
  CHECK_EQ(peer_last(f.p, (uint8_t) ~SACK, 0)->ack, 1);
  CHECK_EQ(peer_last(f.p, (uint8_t) ~SACK, 0)->id, REMOTE_ID);
}

static void
ids (void) {
  static ends_t q;
  ends_open(&q, false, 0xfffffffe, 0xfffffffe);
  side_write(&q.a, "ping", 4);
  side_write(&q.b, "pong!", 5);
  WAIT(q.b.len == 4 && q.a.len == 5, 1000);
  static side_t c, d;
  side_init(&c, &udx, 0x80000000u);
  side_init(&d, &q.other, 0xc0000000u);
  struct sockaddr_storage to_d = socket_addr(&q.other_sock), to_c = socket_addr(&sock);
  side_connect(&c, &sock, 0xc0000000u, &to_d);
  side_connect(&d, &q.other_sock, 0x80000000u, &to_c);
  side_read(&d);
  side_write(&c, "top", 3);
  WAIT(d.len == 3, 1000);
}

static void
expect_message (const void *data, size_t len) {
  size_t before = socket_messages.n;
  peer_raw(f.p, data, len);
  WAIT(socket_messages.n == before + 1, 500);
  CHECK_EQ(socket_messages.v[before].len, len);
  if (len) CHECK(memcmp(socket_messages.v[before].data, data, len) == 0);
}

static void
build (uint8_t *b, uint32_t id) {
  memset(b, 0, 30);
  b[0] = 0xff;
  b[1] = 1;
  b[2] = DATA;
  for (int i = 0; i < 4; i++) b[4 + i] = (uint8_t) (id >> (8 * i));
  b[10] = 0x40;
}

static void
short_datagram (void) {
  fixture_open(&f, true);
  uint8_t b[30];
  build(b, LOCAL_ID);
  expect_message(b, 19);
  expect_message(b, 1);
  CHECK_EQ(f.s.reads, 0);
}

static void
wrong_magic (void) {
  fixture_open(&f, true);
  uint8_t b[30];
  build(b, LOCAL_ID);
  b[0] = 0xfe;
  expect_message(b, 30);
  build(b, LOCAL_ID);
  b[1] = 2;
  expect_message(b, 30);
  b[1] = 0;
  expect_message(b, 30);
  settle(20);
  CHECK_EQ(f.s.reads, 0);
  CHECK_EQ(f.p->n, 0);
}

static void
unknown_id (void) {
  fixture_open(&f, true);
  uint8_t b[30];
  build(b, LOCAL_ID + 1);
  expect_message(b, 30);
  build(b, LOCAL_ID & 0xffff);
  expect_message(b, 30);
  settle(50);
  CHECK_EQ(f.p->n, 0);
}

static void
closed_stream (void) {
  fixture_open(&f, true);
  peer_send(f.p, DESTROY, 0, 0, NULL, 0);
  WAIT(f.s.closes == 1, 500);
  CHECK_EQ(f.s.close_status, UV_ECONNRESET);
  size_t before = f.p->n;
  uint8_t b[30];
  build(b, LOCAL_ID);
  expect_message(b, 30);
  settle(50);
  CHECK_EQ(f.p->n, before);
}

static void
empty_datagram (void) {
  fixture_open(&f, true);
  expect_message("", 0);
}

static void
offset_too_big (void) {
  fixture_open(&f, true);
  peer_send_full(f.p, DATA, 11, 4194304, 0, 0, "0123456789", 10);
  settle(60);
  CHECK_EQ(f.p->n, 0);
  CHECK_EQ(f.s.reads, 0);
  peer_send_full(f.p, DATA, 10, 4194304, 0, 0, "0123456789", 10); /* exactly the body: an empty payload */
  WAIT(ACKS(f.p) == 1, 500);
  CHECK_EQ(f.s.total, 0);
}

static void
padding (void) {
  fixture_open(&f, true);
  uint8_t body[255 + 5];
  memset(body, 0, 32);
  memcpy(body + 32, "first", 5);
  peer_send_full(f.p, DATA, 32, 4194304, 0, 0, body, 37);
  memset(body, 0xaa, 255); /* the content of padding is not looked at */
  memcpy(body + 255, "secon", 5);
  peer_send_full(f.p, DATA, 255, 4194304, 1, 0, body, 260);
  WAIT(f.s.len == 10, 500);
  CHECK(memcmp(f.s.data, "firstsecon", 10) == 0);
}

static void
unknown_bits (void) {
  fixture_open(&f, true);
  peer_send(f.p, DATA | 0x40, 0, 0, "ab", 2);
  peer_send(f.p, 0x80, 1, 0, NULL, 0);
  peer_send(f.p, DATA | 0xc0, 1, 0, "cd", 2);
  WAIT(f.s.len == 4, 500);
  CHECK(memcmp(f.s.data, "abcd", 4) == 0);
  settle(20);
  for (size_t i = 0; i < f.p->n; i++) CHECK_EQ(f.p->log[i].type & 0xc0, 0);
}

static void
block (uint8_t *b, uint32_t start, uint32_t end) {
  for (int i = 0; i < 4; i++) {
    b[i] = (uint8_t) (start >> (8 * i));
    b[4 + i] = (uint8_t) (end >> (8 * i));
  }
}

static void
data_and_sack (void) {
  fixture_open(&f, true);
  side_write_pattern(&f.s, 0, 3000);
  WAIT(DATAS(f.p) == 3, 500);
  uint8_t body[8 + 5];
  block(body, 1, 2);
  memcpy(body + 8, "hello", 5);
  peer_send_full(f.p, DATA | SACK, 8, 4194304, 0, 0, body, sizeof(body));
  WAIT(f.s.len == 5, 500);
  CHECK(memcmp(f.s.data, "hello", 5) == 0);
  WAIT(peer_count_seq(f.p, 0) >= 2, 3000);
  settle(300);
  CHECK_EQ(peer_count_seq(f.p, 1), 1); /* applied: never sent again */
}

/* Everything is sent again, one after another if the sender wants to see acknowledgements first. */
static void
none_was_acknowledged (uint32_t packets) {
  for (uint32_t i = 0; i < packets; i++) {
    CHECK_EQ(f.s.acks, 0);
    WAIT(peer_count_seq(f.p, i) >= 2, 5000);
    peer_send(f.p, 0, 1, i + 1, NULL, 0);
  }
  WAIT(f.s.acks == 1, 500);
}

static void
reversed_block (void) {
  fixture_open(&f, true);
  side_write_pattern(&f.s, 0, 3000);
  WAIT(DATAS(f.p) == 3, 500);
  uint8_t body[24 + 4];
  block(body, 2, 1);
  block(body + 8, 2, 2);
  block(body + 16, 3, 0);
  memcpy(body + 24, "data", 4);
  peer_send_full(f.p, DATA | SACK, 24, 4194304, 0, 0, body, sizeof(body));
  WAIT(f.s.len == 4, 500);
  WAIT(ACKS(f.p) >= 1, 500);
  CHECK_EQ(f.s.acks, 0);
  none_was_acknowledged(3);
}

static void
block_past_next (void) {
  fixture_open(&f, true);
  side_write_pattern(&f.s, 0, 2000);
  WAIT(DATAS(f.p) == 2, 500);
  uint32_t b[] = {1, 5};
  peer_sack(f.p, 0, 0, b, 1);
  none_was_acknowledged(2);
}

static void
block_before_ack (void) {
  fixture_open(&f, true);
  side_write_pattern(&f.s, 0, 3400);
  WAIT(DATAS(f.p) == 3, 500);
  uint32_t b[] = {1, 3};
  peer_sack(f.p, 0, 2, b, 1);
  WAIT(peer_count_seq(f.p, 2) >= 2, 5000);
  CHECK_EQ(f.s.acks, 0);
  peer_send(f.p, 0, 0, 3, NULL, 0);
  WAIT(f.s.acks == 1, 500);
}

static void
ack_of_unsent (void) {
  fixture_open(&f, true);
  side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) == 1, 500);
  peer_send(f.p, 0, 0, 2, NULL, 0);
  peer_send(f.p, 0, 0, 0x7fffffff, NULL, 0);
  settle(50);
  CHECK_EQ(f.s.acks, 0);
  peer_send(f.p, 0, 0, 1, NULL, 0);
  WAIT(f.s.acks == 1, 500);
  side_write(&f.s, "y", 1);
  WAIT(peer_count_seq(f.p, 1) == 1, 500);
}

const test_t wire_tests[] = {
  {"UDX-1", "data packet bytes", hello, NULL, 0, BOTH},
  {"UDX-2", "seq rises by one per DATA, END, DESTROY", seq_per_packet, NULL, 0, SIMULATOR},
  {"UDX-3", "ACK, SACK, MESSAGE, HEARTBEAT carry the next seq", seq_not_consumed, NULL, 0, SIMULATOR},
  {"UDX-4", "ack field is the next expected seq", ack_is_next, NULL, 0, SIMULATOR},
  {"UDX-5", "ids with the top bit, equal ids", ids, NULL, 0, SIMULATOR},
  {"UDX-6", "short datagram is a socket message", short_datagram, NULL, 0, SIMULATOR},
  {"UDX-7", "wrong magic or version is a socket message", wrong_magic, NULL, 0, SIMULATOR},
  {"UDX-8", "unknown id is a socket message, no answer", unknown_id, NULL, 0, SIMULATOR},
  {"UDX-9", "packet for a closed stream is a socket message, no answer", closed_stream, NULL, 0, SIMULATOR},
  {"UDX-10", "empty datagram is a socket message", empty_datagram, NULL, 0, SIMULATOR},
  {"UDX-11", "data offset beyond the body is dropped", offset_too_big, NULL, 0, SIMULATOR},
  {"UDX-12", "padding is skipped", padding, NULL, 0, SIMULATOR},
  {"UDX-13", "unknown type bits are ignored", unknown_bits, NULL, 0, SIMULATOR},
  {"UDX-14", "DATA+SACK delivers the rest and applies the block", data_and_sack, NULL, 0, SIMULATOR},
  {"UDX-15", "reversed SACK block is skipped, data delivered", reversed_block, NULL, 0, SIMULATOR},
  {"UDX-16", "SACK block past the next seq is skipped", block_past_next, NULL, 0, SIMULATOR},
  {"UDX-17", "SACK block before the cumulative ack is skipped", block_before_ack, NULL, 0, SIMULATOR},
  {"UDX-18", "ack of unsent seqs does not move una", ack_of_unsent, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
