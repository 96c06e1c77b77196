/* One datagram into a live stream. Byte 0 chooses the state of the stream, byte 1 whether the id is made to fit and
   where the datagram comes from, the rest is the datagram. */
#include "fuzz.h"

#include <arpa/inet.h>

#define ID 0x11223344u

typedef struct {
  sim_t *sim;
  sim_node_t *node, *peer, *stranger;
  udx_socket_t sock, peer_sock;
  fuzz_stream_t a, b, c; /* a on node is under test, b on peer answers it, c on node is what a may be relayed to */
  struct sockaddr_in at_node, at_peer, at_stranger;
} world_t;

static world_t w;

static void
open_world (void) {
  w.sim = sim_new(1);
  w.node = sim_node(w.sim);
  w.peer = sim_node(w.sim);
  w.stranger = sim_node(w.sim);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5000)};
  CHECK_EQ(udx_socket_init(&w.node->udx, &w.sock, fuzz_on_socket_close), 0);
  CHECK_EQ(udx_socket_bind(&w.sock, (struct sockaddr *) &any, 0), 0);
  CHECK_EQ(udx_socket_recv_start(&w.sock, fuzz_on_socket_recv), 0);
  CHECK_EQ(udx_socket_init(&w.peer->udx, &w.peer_sock, fuzz_on_socket_close), 0);
  CHECK_EQ(udx_socket_bind(&w.peer_sock, (struct sockaddr *) &any, 0), 0);
  w.at_node = sim_address4(w.node, 5000);
  w.at_peer = sim_address4(w.peer, 5000);
  w.at_stranger = sim_address4(w.stranger, 5000);
  fuzz_stream_open(&w.a, w.node, ID);
  fuzz_stream_open(&w.b, w.peer, 7);
  memset(&w.c, 0, sizeof(w.c));
  fuzz_read(&w.a);
  fuzz_read(&w.b);
}

/* Bits of `state`: sequence wrap, not connected, everything in flight, ENDs, relayed, early. */
static void
reach (uint8_t state) {
  if (state & 1) {
    udx_stream_set_seq(&w.a.stream, 0xfffffff0u);
    udx_stream_set_ack(&w.b.stream, 0xfffffff0u);
  }
  if (!(state & 2)) CHECK_EQ(udx_stream_connect(&w.a.stream, &w.sock, 7, (struct sockaddr *) &w.at_peer), 0);
  CHECK_EQ(udx_stream_connect(&w.b.stream, &w.peer_sock, ID, (struct sockaddr *) &w.at_node), 0);
  fuzz_write(&w.b, 3000, false);
  fuzz_write(&w.a, 8000, false);
  if (state & 4) sim_link(w.peer, w.node)->down = true; /* everything of a stays in flight */
  if (state & 8) fuzz_write(&w.a, 10, true);
  if (state & 16) fuzz_write(&w.b, 10, true);
  if (state & 32) {
    fuzz_stream_open(&w.c, w.node, ID + 1);
    (void) udx_stream_connect(&w.c.stream, &w.sock, 9, (struct sockaddr *) &w.at_stranger);
    (void) udx_stream_relay_to(&w.a.stream, &w.c.stream);
  }
  sim_run(w.sim, state & 64 ? 3500 : 500000);
}

static void
close_world (void) {
  udx_stream_destroy(&w.a.stream);
  udx_stream_destroy(&w.b.stream);
  if (w.c.used) udx_stream_destroy(&w.c.stream);
  CHECK_EQ(udx_socket_close(&w.sock), 0);
  CHECK_EQ(udx_socket_close(&w.peer_sock), 0);
  sim_run(w.sim, 100000);
  fuzz_stream_check(&w.a);
  fuzz_stream_check(&w.b);
  fuzz_stream_check(&w.c);
  CHECK(udx_is_idle(&w.node->udx) && udx_is_idle(&w.peer->udx));
  sim_free(w.sim);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  uint8_t state = data[0], how = data[1];
  data += 2;
  size -= 2;
  open_world();
  reach(state);

  uint8_t datagram[4096];
  memcpy(datagram, data, size);
  if (how & 1 && size >= 8) {
    datagram[0] = 0xff;
    datagram[1] = 1;
    for (int i = 0; i < 4; i++) datagram[4 + i] = (uint8_t) (ID >> (8 * i));
  }
  const struct sockaddr_in *from = how & 2 ? &w.at_stranger : &w.at_peer;
  uint64_t before = w.node->udx.bytes_tx;
  for (int i = 0; i <= (how >> 6); i++) {
    sim_inject(w.sim, (const struct sockaddr *) from, (const struct sockaddr *) &w.at_node, datagram, size, 0);
  }
  sim_run(w.sim, 100);
  /* one datagram may release a window of queued data, not more than what the application wrote twice over */
  CHECK(w.node->udx.bytes_tx - before < 2 * (8010 + 40 * 20) + 4 * size + 4096);
  sim_link(w.peer, w.node)->down = false;
  sim_run(w.sim, 2000000);
  close_world();
  return 0;
}
