/* One datagram into a live stream. Byte 0 chooses the state of the stream, byte 1 whether the id is made to fit and
   where the datagram comes from, the rest is the datagram. */
#include "fuzz.h"

#include <arpa/inet.h>

#define ID 0x11223344u

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  uint8_t state = data[0], how = data[1];
  data += 2;
  size -= 2;

  sim_t *sim = sim_new(1);
  sim_node_t *node = sim_node(sim), *peer = sim_node(sim), *stranger = sim_node(sim);
  static udx_socket_t sock, peer_sock;
  static fuzz_stream_t a, b, c;
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(5000)};
  FUZZ_CHECK(udx_socket_init(&node->udx, &sock, fuzz_on_socket_close) == 0);
  FUZZ_CHECK(udx_socket_bind(&sock, (struct sockaddr *) &any, 0) == 0);
  FUZZ_CHECK(udx_socket_recv_start(&sock, fuzz_on_socket_recv) == 0);
  FUZZ_CHECK(udx_socket_init(&peer->udx, &peer_sock, fuzz_on_socket_close) == 0);
  FUZZ_CHECK(udx_socket_bind(&peer_sock, (struct sockaddr *) &any, 0) == 0);
  struct sockaddr_in at_node = sim_address4(node, 5000), at_peer = sim_address4(peer, 5000),
                     at_stranger = sim_address4(stranger, 5000);

  fuzz_stream_open(&a, node, ID);
  fuzz_stream_open(&b, peer, 7);
  memset(&c, 0, sizeof(c));
  fuzz_read(&a);
  fuzz_read(&b);
  if (state & 1) {
    udx_stream_set_seq(&a.stream, 0xfffffff0u);
    udx_stream_set_ack(&b.stream, 0xfffffff0u);
  }
  if (!(state & 2)) FUZZ_CHECK(udx_stream_connect(&a.stream, &sock, 7, (struct sockaddr *) &at_peer) == 0);
  FUZZ_CHECK(udx_stream_connect(&b.stream, &peer_sock, ID, (struct sockaddr *) &at_node) == 0);
  fuzz_write(&b, 3000, false);
  fuzz_write(&a, 8000, false);
  if (state & 4) sim_link(peer, node)->down = true; /* everything of a stays in flight */
  if (state & 8) fuzz_write(&a, 10, true);
  if (state & 16) fuzz_write(&b, 10, true);
  if (state & 32) {
    fuzz_stream_open(&c, node, ID + 1);
    (void) udx_stream_connect(&c.stream, &sock, 9, (struct sockaddr *) &at_stranger);
    (void) udx_stream_relay_to(&a.stream, &c.stream);
  }
  sim_run(sim, state & 64 ? 3500 : 500000);

  uint8_t datagram[4096];
  memcpy(datagram, data, size);
  if (how & 1 && size >= 8) {
    datagram[0] = 0xff;
    datagram[1] = 1;
    for (int i = 0; i < 4; i++) datagram[4 + i] = (uint8_t) (ID >> (8 * i));
  }
  const struct sockaddr_in *from = how & 2 ? &at_stranger : &at_peer;
  uint64_t before = node->udx.bytes_tx;
  for (int i = 0; i <= (how >> 6); i++) {
    sim_inject(sim, (const struct sockaddr *) from, (const struct sockaddr *) &at_node, datagram, size, 0);
  }
  sim_run(sim, 100);
  /* one datagram may release a window of queued data, not more than what the application wrote twice over */
  FUZZ_CHECK(node->udx.bytes_tx - before < 2 * (8010 + 40 * 20) + 4 * size + 4096);
  sim_link(peer, node)->down = false;
  sim_run(sim, 2000000);

  udx_stream_destroy(&a.stream);
  udx_stream_destroy(&b.stream);
  if (c.used) udx_stream_destroy(&c.stream);
  FUZZ_CHECK(udx_socket_close(&sock) == 0 && udx_socket_close(&peer_sock) == 0);
  sim_run(sim, 100000);
  fuzz_stream_check(&a);
  fuzz_stream_check(&b);
  fuzz_stream_check(&c);
  FUZZ_CHECK(udx_is_idle(&node->udx) && udx_is_idle(&peer->udx));
  sim_free(sim);
  return 0;
}
