/* The ways in which a stream ends: items 36 to 43, 45 and 47. */
#include "harness/conform.h"

static fixture_t f;
static ends_t q;

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
    /* the answer to its END: an END of the same turn carries it */
    WAIT(peer_last(p, 0, 0)->id == 500 + i && peer_last(p, 0, 0)->ack == 1, 500);
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
  double end = limit_ms(10000);
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
callback_order (void) {
  fixture_open(&f, true);
  for (int i = 0; i < 3; i++) side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) >= 1, 500);
  udx_stream_destroy(&f.s.stream);
  WAIT(f.s.finals == 1, 500);
  CHECK(strcmp(f.s.order, "CXXXF") == 0);
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

const test_t closing_tests[] = {
  {"UDX-36", "destroy before connect", destroy_unconnected, NULL, 0, SIMULATOR},
  {"UDX-37", "destroy sends DESTROY, status 0", destroy_connected, NULL, 0, SIMULATOR},
  {"UDX-38", "DESTROY received: ECONNRESET, writes cancelled", remote_destroy, NULL, 0, SIMULATOR},
  {"UDX-39", "old DESTROY is ignored", old_destroy, NULL, 0, SIMULATOR},
  {"UDX-40", "END and ACK in four interleavings on the wire", end_interleavings, NULL, 0, SIMULATOR},
  {"UDX-40", "40 pairs end in different orders", end_between_streams, NULL, 0, SIMULATOR},
  {"UDX-41", "EOF once after all data, writing goes on", eof_once, NULL, 0, SIMULATOR},
  {"UDX-42", "END without data, empty last buffer", end_without_data, NULL, 0, SIMULATOR},
  {"UDX-43", "DATA+END", data_and_end, NULL, 0, SIMULATOR},
  {"UDX-45", "order of close, cancelled writes, finalize", callback_order, NULL, 0, SIMULATOR},
  {"UDX-47", "destroy inside callbacks", destroy_in_callbacks, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
