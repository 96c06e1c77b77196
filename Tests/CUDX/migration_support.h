/* What the tests of a change of remote share. */
#ifndef UDX_TEST_MIGRATION_SUPPORT_H
#define UDX_TEST_MIGRATION_SUPPORT_H

#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/pair.h"
#include "test.h"

#define MS 1000ull
#define S 1000000ull

static inline void
finish (pair_t *p, uint64_t bytes0, uint64_t bytes1, uint64_t limit) {
  pair_end(p, 0);
  pair_end(p, 1);
  if (!pair_run_closed(p, limit)) {
    printf(
      "  seed %llu at %.1f s:", (unsigned long long) sim_seed(p->sim), (double) (sim_now(p->sim) - SIM_EPOCH) / 1e6);
    for (int i = 0; i < 2; i++) {
      pair_side_t *side = &p->side[i];
      printf(" %llu of %llu, %u outstanding, closed %d (%d);", (unsigned long long) side->received,
        (unsigned long long) (i ? bytes0 : bytes1), side->closed ? 0 : udx__flight_span(&side->stream), side->closed,
        side->close_status);
    }
    printf("\n");
    CHECK(!"closed in time");
  }
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(p->side[i].received, i ? bytes0 : bytes1);
    CHECK_EQ(p->side[i].mismatches, 0);
    CHECK_EQ(p->side[i].eof, 1);
    CHECK_EQ(p->side[i].close_status, 0);
  }
}

static inline void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static inline void
open_socket (sim_node_t *node, udx_socket_t *socket, int family, uint16_t port) {
  memset(socket, 0, sizeof(*socket));
  CHECK_EQ(udx_socket_init(&node->udx, socket, on_socket_close), 0);
  udx_address_t any;
  memset(&any, 0, sizeof(any));
  any.any.sa_family = (sa_family_t) family;
  if (family == AF_INET) any.v4.sin_port = htons(port);
  else any.v6.sin6_port = htons(port);
  CHECK_EQ(udx_socket_bind(socket, &any.any, 0), 0);
}

static inline void
close_sockets (pair_t *p, udx_socket_t *sockets, int count) {
  for (int i = 0; i < count; i++) CHECK_EQ(udx_socket_close(&sockets[i]), 0);
  sim_run(p->sim, 1 * MS);
}

#endif
