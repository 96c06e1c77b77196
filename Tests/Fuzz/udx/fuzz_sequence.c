/* A sequence of datagrams and API calls. Two nodes with up to eight streams each over two sockets each; every input
   byte string is a program: operation, stream, arguments. Whatever it does, every stream closes once, every request is
   answered once, both instances end idle. Without injected or changed datagrams what is read is what was written. */
#include "fuzz.h"

#include <arpa/inet.h>

#define STREAMS 8

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
  CHECK(((fuzz_stream_t *) s)->closes == 0);
}

static void
on_socket_sent (udx_socket_send_t *req, int status) {
  (void) status;
  free(req);
}

/* What an operation works on. */
typedef struct {
  fuzz_input_t *in;
  uint8_t op;
  int n, k, way; /* node, stream of it, socket of it */
  fuzz_stream_t *s;
  struct sockaddr_in there; /* the other node's socket `way` */
} operation_t;

/* A datagram from the peer's address, from a stranger, or to the other socket. */
static void
inject (const operation_t *o) {
  uint8_t datagram[4096];
  size_t len = fuzz_packet(o->in, o->s, datagram, sizeof(datagram));
  struct sockaddr_in from = o->op & 32 ? sim_address4(stranger, 5000) : o->there;
  struct sockaddr_in to = sim_address4(nodes[o->n], (uint16_t) (5000 + (o->op >> 7)));
  sim_inject(sim, (struct sockaddr *) &from, (struct sockaddr *) &to, datagram, len, 0);
}

static void
open_stream (const operation_t *o) {
  if (o->s->used && !(o->s->closes && o->s->finals)) return;
  if (o->s->used) fuzz_stream_check(o->s);
  fuzz_stream_open(o->s, nodes[o->n], 100u + (uint32_t) o->k);
  fuzz_read(o->s);
}

static void
connect_stream (const operation_t *o) {
  uint32_t remote_id = 100u + (uint32_t) o->k;
  int r = udx_stream_connect(&o->s->stream, &socks[o->n][o->way], remote_id, (const struct sockaddr *) &o->there);
  if (r == 0) o->s->connected = true;
}

static void
change_remote (const operation_t *o) {
  if (!o->s->connected) return;
  udx_socket_t *socket = &socks[o->n][fuzz_byte(o->in) & 1];
  uint32_t remote_id = 100u + (uint32_t) (fuzz_byte(o->in) % STREAMS);
  (void) udx_stream_change_remote(&o->s->stream, socket, remote_id, (const struct sockaddr *) &o->there, changed);
}

static void
relay (const operation_t *o) {
  fuzz_stream_t *to = &streams[o->n][fuzz_byte(o->in) % STREAMS];
  if (to->used && to != o->s) (void) udx_stream_relay_to(&o->s->stream, &to->stream);
}

static void
set_option (const operation_t *o) {
  udx_stream_t *stream = &o->s->stream;
  switch (fuzz_byte(o->in) % 4) {
  case 0:
    (void) udx_stream_set_keepalive(stream, fuzz_byte(o->in) * 4u);
    break;
  case 1:
    (void) udx_stream_set_rwnd_max(stream, fuzz_byte(o->in) * 500u);
    break;
  case 2:
    (void) udx_stream_set_congestion(stream, UDX_CONGESTION_CUBIC);
    break;
  default:
    (void) udx_stream_firewall(stream, fuzz_byte(o->in) & 1 ? firewall : NULL);
    break;
  }
}

static void
change_link (const operation_t *o) {
  sim_link_t *link = sim_link(nodes[o->n], nodes[1 - o->n]);
  link->latency = (uint64_t) fuzz_byte(o->in) * 200;
  link->jitter = (uint64_t) fuzz_byte(o->in) * 100;
  link->rate = (uint64_t) fuzz_byte(o->in) * 20000;
  link->queue = (uint64_t) fuzz_byte(o->in) * 1000;
  link->duplicate = (fuzz_byte(o->in) & 3) * 0.1;
}

static void
send_datagram (const operation_t *o) {
  udx_socket_send_t *req = malloc(sizeof(*req));
  static uint8_t text[2048]; /* has to live until the callback */
  uv_buf_t buf = uv_buf_init((char *) text, (unsigned) (fuzz_byte(o->in) * 8));
  int ttl = fuzz_byte(o->in) % 70;
  udx_socket_t *socket = &socks[o->n][o->way];
  int r = udx_socket_send_ttl(req, socket, &buf, 1, (const struct sockaddr *) &o->there, ttl, on_socket_sent);
  if (r < 0) free(req);
}

/* The operations on a stream that is not closed. */
static void
stream_operation (const operation_t *o) {
  switch (o->op % 20) {
  case 3:
    connect_stream(o);
    break;
  case 4:
  case 5:
    fuzz_write(o->s, (size_t) fuzz_byte(o->in) * (o->op & 32 ? 240 : 1), false);
    break;
  case 6:
    fuzz_write(o->s, fuzz_byte(o->in), true);
    break;
  case 8:
    fuzz_send(o->s, (size_t) fuzz_byte(o->in) * 8);
    break;
  case 11:
    (void) udx_stream_read_stop(&o->s->stream);
    break;
  case 12:
    fuzz_read(o->s);
    break;
  case 13:
    change_remote(o);
    break;
  case 14:
    relay(o);
    break;
  default:
    set_option(o);
    break;
  }
}

static void
operation (fuzz_input_t *in) {
  operation_t o = {.in = in, .op = fuzz_byte(in)};
  uint8_t which = fuzz_byte(in);
  o.n = which & 1;
  o.k = (which >> 1) % STREAMS;
  o.way = which >> 7;
  o.s = &streams[o.n][o.k];
  o.there = sim_address4(nodes[1 - o.n], (uint16_t) (5000 + o.way));
  switch (o.op % 20) {
  case 0:
  case 1:
    inject(&o);
    break;
  case 2:
    open_stream(&o);
    break;
  case 7:
    if (o.s->used) (void) udx_stream_destroy(&o.s->stream);
    break;
  case 9:
  case 10:
    sim_run(sim, (uint64_t) 1 << (fuzz_byte(in) % 25));
    break;
  case 16:
    sim_node_block(nodes[o.n], o.way != 0);
    break;
  case 17:
    drop_every = fuzz_byte(in) % 16;
    if (drop_every == 1) drop_every = 0;
    break;
  case 18:
    change_link(&o);
    break;
  case 19:
    send_datagram(&o);
    break;
  default:
    if (o.s->used && o.s->closes == 0) stream_operation(&o);
  }
}

static void
open_world (uint64_t seed) {
  sim = sim_new(seed);
  drop_every = 0;
  counted = 0;
  memset(streams, 0, sizeof(streams));
  for (int n = 0; n < 2; n++) nodes[n] = sim_node(sim);
  stranger = sim_node(sim);
  for (int n = 0; n < 2; n++) {
    for (int k = 0; k < 2; k++) {
      struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t) (5000 + k))};
      CHECK_EQ(udx_socket_init(&nodes[n]->udx, &socks[n][k], fuzz_on_socket_close), 0);
      CHECK_EQ(udx_socket_bind(&socks[n][k], (struct sockaddr *) &any, 0), 0);
      CHECK_EQ(udx_socket_recv_start(&socks[n][k], fuzz_on_socket_recv), 0);
    }
    /* the first streams are there and connected */
    struct sockaddr_in there = sim_address4(nodes[1 - n], 5000);
    fuzz_stream_open(&streams[n][0], nodes[n], 100);
    fuzz_read(&streams[n][0]);
    CHECK_EQ(udx_stream_connect(&streams[n][0].stream, &socks[n][0], 100, (struct sockaddr *) &there), 0);
    streams[n][0].connected = true;
  }
  sim_set_tap(sim, tap, NULL);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  if (size > 1024) return 0;
  fuzz_input_t in = {data, size};
  open_world(fuzz_byte(&in));
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
    for (int k = 0; k < 2; k++) CHECK_EQ(udx_socket_close(&socks[n][k]), 0);
  }
  sim_run(sim, 1000000);
  for (int n = 0; n < 2; n++) {
    for (int k = 0; k < STREAMS; k++) fuzz_stream_check(&streams[n][k]);
    CHECK(udx_is_idle(&nodes[n]->udx));
  }
  sim_free(sim);
  return 0;
}
