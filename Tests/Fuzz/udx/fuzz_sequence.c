/* A sequence of datagrams and API calls. Two nodes with up to eight streams each over two sockets each; every input
   byte string is a program: operation, stream, arguments. Whatever it does, every stream closes once, every request is
   answered once, and both instances end idle. Without injected or changed datagrams what is read is what was written. */
#include "fuzz.h"

#include <arpa/inet.h>

#define STREAMS 8

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static sim_t *sim;
static sim_node_t *nodes[2], *stranger;
static udx_socket_t socks[2][2];
static fuzz_stream_t streams[2][STREAMS];
static uint8_t drop_every;
static uint32_t counted;

static sim_verdict_t
tap (sim_t *s, sim_datagram_t *d, void *ctx) {
  (void) s;
  (void) d;
  (void) ctx;
  return drop_every && ++counted % drop_every == 0 ? SIM_DROP : SIM_PASS;
}

static int
firewall (udx_stream_t *s, udx_socket_t *socket, const struct sockaddr *from) {
  (void) s;
  (void) socket;
  return from->sa_family == AF_INET6;
}

static void
changed (udx_stream_t *s) {
  FUZZ_CHECK(((fuzz_stream_t *) s)->closes == 0);
}

static void
on_socket_sent (udx_socket_send_t *req, int status) {
  (void) status;
  free(req);
}

static void
operation (fuzz_input_t *in) {
  uint8_t op = fuzz_byte(in), who = fuzz_byte(in);
  int n = who & 1, k = (who >> 1) % STREAMS, way = who >> 7;
  fuzz_stream_t *s = &streams[n][k];
  bool alive = s->used && s->closes == 0;
  struct sockaddr_in there = sim_address4(nodes[1 - n], (uint16_t) (5000 + way));
  uint8_t datagram[4096];
  switch (op % 20) {
  case 0:
  case 1: { /* a datagram from the peer's address, from a stranger, or to the other socket */
    size_t len = fuzz_packet(in, s, datagram, sizeof(datagram));
    struct sockaddr_in from = op & 32 ? sim_address4(stranger, 5000) : there, to = sim_address4(nodes[n], (uint16_t) (5000 + (op >> 7)));
    sim_inject(sim, (struct sockaddr *) &from, (struct sockaddr *) &to, datagram, len, 0);
    break;
  }
  case 2:
    if (!s->used || (s->closes && s->finals)) {
      if (s->used) fuzz_stream_check(s);
      fuzz_stream_open(s, nodes[n], 100u + (uint32_t) k);
      fuzz_read(s);
    }
    break;
  case 3:
    if (alive) {
      int r = udx_stream_connect(&s->stream, &socks[n][way], 100u + (uint32_t) k, (struct sockaddr *) &there);
      if (r == 0) s->connected = true;
    }
    break;
  case 4:
  case 5:
    if (alive) fuzz_write(s, (size_t) fuzz_byte(in) * (op & 32 ? 240 : 1), false);
    break;
  case 6:
    if (alive) fuzz_write(s, fuzz_byte(in), true);
    break;
  case 7:
    if (s->used) (void) udx_stream_destroy(&s->stream);
    break;
  case 8:
    if (alive) fuzz_send(s, (size_t) fuzz_byte(in) * 8);
    break;
  case 9:
  case 10:
    sim_run(sim, (uint64_t) 1 << (fuzz_byte(in) % 25));
    break;
  case 11:
    if (alive) (void) udx_stream_read_stop(&s->stream);
    break;
  case 12:
    if (alive) fuzz_read(s);
    break;
  case 13:
    if (alive && s->connected) {
      (void) udx_stream_change_remote(&s->stream, &socks[n][fuzz_byte(in) & 1], 100u + (uint32_t) (fuzz_byte(in) % STREAMS),
        (struct sockaddr *) &there, changed);
    }
    break;
  case 14:
    if (alive) {
      fuzz_stream_t *to = &streams[n][fuzz_byte(in) % STREAMS];
      if (to->used && to != s) (void) udx_stream_relay_to(&s->stream, &to->stream);
    }
    break;
  case 15:
    if (alive) {
      uint8_t what = fuzz_byte(in);
      if (what % 4 == 0) (void) udx_stream_set_keepalive(&s->stream, fuzz_byte(in) * 4u);
      else if (what % 4 == 1) (void) udx_stream_set_rwnd_max(&s->stream, fuzz_byte(in) * 500u);
      else if (what % 4 == 2) (void) udx_stream_set_congestion(&s->stream, UDX_CONGESTION_CUBIC);
      else (void) udx_stream_firewall(&s->stream, fuzz_byte(in) & 1 ? firewall : NULL);
    }
    break;
  case 16:
    sim_node_block(nodes[n], way != 0);
    break;
  case 17:
    drop_every = fuzz_byte(in) % 16;
    if (drop_every == 1) drop_every = 0;
    break;
  case 18: {
    sim_link_t *link = sim_link(nodes[n], nodes[1 - n]);
    link->latency = (uint64_t) fuzz_byte(in) * 200;
    link->jitter = (uint64_t) fuzz_byte(in) * 100;
    link->rate = (uint64_t) fuzz_byte(in) * 20000;
    link->queue = (uint64_t) fuzz_byte(in) * 1000;
    link->duplicate = (fuzz_byte(in) & 3) * 0.1;
    break;
  }
  default: {
    udx_socket_send_t *req = malloc(sizeof(*req));
    static uint8_t text[2048]; /* has to live until the callback */
    uv_buf_t buf = uv_buf_init((char *) text, (unsigned) (fuzz_byte(in) * 8));
    if (udx_socket_send_ttl(req, &socks[n][way], &buf, 1, (struct sockaddr *) &there, fuzz_byte(in) % 70, on_socket_sent) < 0) free(req);
    break;
  }
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  if (size > 1024) return 0;
  fuzz_input_t in = {data, size};
  sim = sim_new(fuzz_byte(&in));
  drop_every = 0;
  counted = 0;
  memset(streams, 0, sizeof(streams));
  for (int n = 0; n < 2; n++) nodes[n] = sim_node(sim);
  stranger = sim_node(sim);
  for (int n = 0; n < 2; n++) {
    for (int k = 0; k < 2; k++) {
      struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t) (5000 + k))};
      FUZZ_CHECK(udx_socket_init(&nodes[n]->udx, &socks[n][k], fuzz_on_socket_close) == 0);
      FUZZ_CHECK(udx_socket_bind(&socks[n][k], (struct sockaddr *) &any, 0) == 0);
      FUZZ_CHECK(udx_socket_recv_start(&socks[n][k], fuzz_on_socket_recv) == 0);
    }
    /* the first streams are there and connected */
    struct sockaddr_in there = sim_address4(nodes[1 - n], 5000);
    fuzz_stream_open(&streams[n][0], nodes[n], 100);
    fuzz_read(&streams[n][0]);
    FUZZ_CHECK(udx_stream_connect(&streams[n][0].stream, &socks[n][0], 100, (struct sockaddr *) &there) == 0);
    streams[n][0].connected = true;
  }
  sim_set_tap(sim, tap, NULL);
  while (in.len > 0) operation(&in);

  sim_run(sim, 3000000);
  for (int n = 0; n < 2; n++) {
    sim_node_block(nodes[n], false);
    for (int k = 0; k < STREAMS; k++) {
      if (streams[n][k].used && streams[n][k].closes == 0) (void) udx_stream_destroy(&streams[n][k].stream);
    }
  }
  sim_run(sim, 1000000);
  for (int n = 0; n < 2; n++) {
    for (int k = 0; k < 2; k++) FUZZ_CHECK(udx_socket_close(&socks[n][k]) == 0);
  }
  sim_run(sim, 1000000);
  for (int n = 0; n < 2; n++) {
    for (int k = 0; k < STREAMS; k++) fuzz_stream_check(&streams[n][k]);
    FUZZ_CHECK(udx_is_idle(&nodes[n]->udx));
  }
  sim_free(sim);
  return 0;
}
