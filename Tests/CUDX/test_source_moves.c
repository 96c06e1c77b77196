/* The source check lets honest peers through: those that move, that overtake the handshake, that use two paths. */
#include "sources_support.h"

/* Side 1 is behind a NAT, which gives its one socket this port. */
static uint16_t nat_port;

static sim_verdict_t
nat (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  const pair_t *p = ctx;
  (void) sim;
  struct sockaddr_in *from = (struct sockaddr_in *) &datagram->from, *to = (struct sockaddr_in *) &datagram->to;
  if (datagram->from_node == p->side[1].node) from->sin_port = htons(nat_port);
  if (datagram->to_node != p->side[1].node) return SIM_PASS;
  if (to->sin_port != htons(nat_port)) return SIM_DROP;
  to->sin_port = htons(5002);
  return SIM_PASS;
}

static pair_t *
nat_pair (uint64_t seed, uint64_t latency) {
  pair_t *p = checked_pair(seed, latency);
  nat_port = 5002;
  sim_set_tap(p->sim, nat, p);
  return p;
}

/* The NAT has forgotten the mapping and makes another one. Neither side knows. */
static void
move (void) {
  nat_port = 7002;
}

static int
remote_is (pair_t *p, int side, const struct sockaddr_in *address) {
  return udx__address_equal(&udx__stream(&p->side[side].stream)->remote.any, (const struct sockaddr *) address);
}

/* The peer sends, receives, or both, all the time or now and then: it is followed within two timeouts. */
TEST(peer_that_moves_is_followed) {
  for (int mode = 0; mode < 4; mode++) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
      pair_t *p = nat_pair(seed, 20 * MS);
      uint64_t sends = mode != 1 ? 5000000 : 1000, receives = mode != 0 ? 5000000 : 1000;
      if (mode == 3) sends = receives = 1000;
      sim_link_t *links[2] = {sim_link(p->side[0].node, p->side[1].node), sim_link(p->side[1].node, p->side[0].node)};
      for (int i = 0; i < 2; i++) {
        links[i]->rate = 2500000;
        links[i]->loss = seed % 2 ? 0 : 0.01;
      }
      pair_write(p, 1, sends);
      pair_write(p, 0, receives);
      sim_run(p->sim, mode == 3 ? 1 * S : 500 * MS + seed * MS);
      move();
      uint64_t moved = sim_now(p->sim);
      if (mode == 1 || mode == 3) {
        sim_run(p->sim, 200 * MS);
        pair_write(p, 1, 1000); /* as a keepalive */
        sends += 1000;
      }
      struct sockaddr_in at = sim_address4(p->side[1].node, 7002);
      while (!remote_is(p, 0, &at) && sim_now(p->sim) - moved < 10 * S) sim_run(p->sim, 10 * MS);
      CHECK(remote_is(p, 0, &at));
      CHECK(sim_now(p->sim) - moved < 2500 * MS);
      CHECK(pair_run_received(p, 0, sends, 20 * S));
      CHECK(pair_run_received(p, 1, receives, 20 * S));
      pair_write(p, 0, 1000); /* and there it stays */
      CHECK(pair_run_received(p, 1, receives + 1000, 1 * S));
      CHECK_EQ(p->side[0].mismatches + p->side[1].mismatches, 0);
      CHECK_EQ(p->side[0].closed + p->side[1].closed, 0);
      CHECK(strays >= 1 && strays <= 3);
      CHECK_EQ(udx__instance(&p->side[0].node->udx)->held_memory, 0);
      pair_free(p);
    }
  }
}

/* A timeout tells the owner where the peer is, and the owner ends the stream there and then. */
TEST(peer_that_moves_is_left) {
  for (int mode = 0; mode < 2; mode++) {
    pair_t *p = nat_pair(1, 20 * MS);
    follows = mode;
    ends = 1;
    pair_write(p, 1, 1000);
    CHECK(pair_run_received(p, 0, 1000, 1 * S));
    sim_run(p->sim, 5 * S);
    move();
    pair_write(p, 0, 1000);
    pair_write(p, 1, 1000);
    sim_run(p->sim, 30 * MS);
    CHECK_EQ(p->side[0].received, 2000);
    sim_link(p->side[1].node, p->side[0].node)->down = true; /* no packet tells */
    CHECK_EQ(strays, 0);
    sim_run(p->sim, 3 * S);
    CHECK_EQ(strays, 1);
    CHECK_EQ(p->side[0].closed, 1);
    CHECK_EQ(p->side[0].finalized, 1);
    pair_free(p);
  }
}

/* A move within a message of 64 KiB: its rest is held, and shows whose it is. */
TEST(peer_that_moves_within_a_message) {
  pair_t *p = nat_pair(1, 20 * MS);
  sim_link(p->side[1].node, p->side[0].node)->rate = 2500000;
  frame_size = 65556;
  pair_write(p, 1, 100 * 65556);
  CHECK(pair_run_received(p, 0, 10 * 65556 + 10000, 5 * S));
  CHECK(udx__flight_span(&p->side[1].stream) > 57);
  move();
  CHECK(pair_run_received(p, 0, 100 * 65556, 10 * S));
  CHECK_EQ(p->side[0].mismatches, 0);
  CHECK_EQ(strays, 1);
  pair_free(p);
}

/* The peer repeats what has arrived, because the acknowledgement went to its old address; it has nothing new to prove
   itself by. It gets an acknowledgement, and the stream goes nowhere. */
TEST(repeated_packets_are_acknowledged) {
  pair_t *p = nat_pair(1, 20 * MS);
  sim_link(p->side[0].node, p->side[1].node)->down = true;
  pair_write(p, 1, 1000);
  CHECK(pair_run_received(p, 0, 1000, 1 * S));
  CHECK_EQ(udx__flight_span(&p->side[1].stream), 1);
  move();
  sim_run(p->sim, 100 * MS);
  sim_link(p->side[0].node, p->side[1].node)->down = false;
  sim_run(p->sim, 4 * S);
  CHECK_EQ(udx__flight_span(&p->side[1].stream), 0);
  CHECK_EQ(count_sources(p, 0, 1), 0);
  struct sockaddr_in home = sim_address4(p->side[1].node, 5002);
  CHECK(remote_is(p, 0, &home));
  pair_free(p);
}

/* A peer that sends from another address than it receives at: nothing is lost, and the stream stays where it is. */
TEST(peer_of_two_addresses) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    pair_t *p = checked_pair(seed, 5 * MS);
    udx_socket_t second;
    open_socket(p->side[1].node, &second, AF_INET, 7002);
    pair_write(p, 0, 2000000);
    pair_write(p, 1, 2000000);
    sim_run(p->sim, 20 * MS);
    struct sockaddr_in to = sim_address4(p->side[1].node, 7002), home = sim_address4(p->side[1].node, 5002);
    CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &to, NULL) >= 0);
    sim_run(p->sim, 20 * MS);
    CHECK_EQ(count_sources(p, 0, 1), 1); /* the former remote */
    CHECK(!remote_is(p, 0, &home));
    finish(p, 2000000, 2000000, 30 * S);
    CHECK_EQ(frames_asked, 0);
    CHECK_EQ(strays, 0);
    close_sockets(p, &second, 1);
    pair_free(p);
  }
}

/* The upgrade of a relayed stream: old packets are repeated to the old address from the new socket, new ones go to the
   new one, and the other side, which does not move, takes both. */
TEST(change_of_remote_from_a_new_socket) {
  for (uint64_t seed = 1; seed <= 8; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 10 * MS;
    link.loss = 0.02;
    link.rate = 2000000;
    pair_t *p = pair_new(seed, &link);
    check_sources(p);
    follows = 0;
    udx_socket_t second;
    open_socket(p->side[1].node, &second, AF_INET, 7002);
    pair_write(p, 1, 3000000);
    pair_write(p, 0, 3000000);
    sim_run(p->sim, 100 * MS);
    struct sockaddr_in to = sim_address4(p->side[0].node, 5001);
    CHECK_EQ(udx_stream_change_remote(&p->side[1].stream, &second, 1, (struct sockaddr *) &to, NULL), 0);
    finish(p, 3000000, 3000000, 30 * S);
    close_sockets(p, &second, 1);
    pair_free(p);
  }
}

/* What the peer has sent before it moves is under way for long, and counts. */
TEST(former_remote_is_a_path) {
  pair_t *p = checked_pair(1, 200 * MS);
  udx_socket_t second;
  open_socket(p->side[1].node, &second, AF_INET, 7002);
  pair_write(p, 1, 10000);
  sim_run(p->sim, 1 * MS);
  struct sockaddr_in a = sim_address4(p->side[0].node, 5001), b = sim_address4(p->side[1].node, 7002);
  CHECK_EQ(udx_stream_migrate(&p->side[0].stream, &p->side[0].socket, (struct sockaddr *) &b), 0);
  CHECK_EQ(udx_stream_migrate(&p->side[1].stream, &second, (struct sockaddr *) &a), 0);
  CHECK(pair_run_received(p, 0, 10000, 210 * MS));
  CHECK_EQ(frames_asked, 0);
  for (int i = 0; i < 2; i++) CHECK(udx_stream_destroy(&p->side[i].stream) >= 0);
  sim_run(p->sim, 1 * S);
  close_sockets(p, &second, 1);
  pair_free(p);
}

/* At most so many paths: the one that is silent for longest is forgotten. */
TEST(paths_are_bounded) {
  pair_t *p = checked_pair(1, 1 * MS);
  for (uint16_t i = 0; i < 40; i++) {
    struct sockaddr_in at = sim_address4(p->side[1].node, (uint16_t) (7000 + i));
    CHECK_EQ(udx_stream_migrate(&p->side[0].stream, &p->side[0].socket, (struct sockaddr *) &at), 0);
    sim_run(p->sim, 1 * MS);
  }
  CHECK_EQ(count_sources(p, 0, 1), UDX_KNOWN_PATHS_MAX);
  for (uint16_t i = 0; i < 40; i++) {
    struct sockaddr_in from = stranger_at(i + 1u, 1);
    udx_header_t header = plausible(p, 0, UDX_HEADER_DATA);
    forge(p, 0, &from, &header, pair_pattern(p->side[0].received), 1000);
    sim_run(p->sim, 1 * MS);
    CHECK_EQ(p->side[0].received, 1000u * (i + 1u));
  }
  CHECK_EQ(count_sources(p, 0, 1), UDX_KNOWN_PATHS_MAX);
  for (const udx_source_t *source = sources_of(p, 0)->list; source != NULL; source = source->next) {
    CHECK(ntohl(source->address.v4.sin_addr.s_addr) > 0xc0000200 + 40 - UDX_KNOWN_PATHS_MAX);
  }
  pair_free(p);
}

/* A packet that is late, from a former remote, is no reason to go back there; one that is repeated from there when the
   remote has been silent for long is one. */
TEST(late_packets_lead_nowhere) {
  pair_t *p = checked_pair(1, 1 * MS);
  struct sockaddr_in home = sim_address4(p->side[1].node, 5002), other = sim_address4(p->side[1].node, 7002);
  pair_write(p, 1, 1000);
  sim_run(p->sim, 100 * MS);
  CHECK_EQ(udx_stream_migrate(&p->side[0].stream, &p->side[0].socket, (struct sockaddr *) &other), 0);
  udx_header_t header = plausible(p, 0, UDX_HEADER_DATA);
  forge(p, 0, &other, &header, pair_pattern(1000), 1000);
  header.seq--;
  forge(p, 0, &home, &header, pair_pattern(0), 1000);
  sim_run(p->sim, UDX_STRAY_SILENCE - 1 * MS);
  forge(p, 0, &home, &header, pair_pattern(0), 1000);
  sim_run(p->sim, 2 * MS);
  CHECK_EQ(p->side[0].received, 2000);
  CHECK_EQ(strays, 0);
  forge(p, 0, &home, &header, pair_pattern(0), 1000);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(strays, 1);
  CHECK(remote_is(p, 0, &home));
  pair_free(p);
}

/* A message that is the peer's proves its source as bytes of the stream do, and what was held from there is taken. */
TEST(message_that_proves) {
  pair_t *p = checked_pair(1, 1 * MS);
  struct sockaddr_in from = stranger_at(1, 1);
  udx_header_t header = plausible(p, 1, UDX_HEADER_DATA), message = plausible(p, 1, UDX_HEADER_MESSAGE);
  forge(p, 1, &from, &header, pair_pattern(0), 100);
  for (int i = 0; i < 2; i++) {
    forge(p, 1, &from, &message, i ? "peer" : "pear", 4);
    sim_run(p->sim, 1 * MS);
    CHECK_EQ(p->side[1].received, i ? 100 : 0);
    CHECK_EQ(p->side[1].messages, i);
    CHECK_EQ(count_sources(p, 1, 1), i);
  }
  from = stranger_at(2, 1);
  forge(p, 1, &from, &message, "peer", 4);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(p->side[1].messages, 2);
  sim_run(p->sim, UDX_REFUSALS_INTERVAL);
  messages_asked = 0;
  for (int i = 0; i < 1000; i++) forge(p, 1, stranger(), &message, "pear", 4);
  sim_run(p->sim, 1 * MS);
  CHECK_EQ(messages_asked, UDX_REFUSALS_MAX);
  CHECK_EQ(count_sources(p, 1, 1), 2);
  pair_free(p);
}

/* What is next for a reader that pauses cannot be judged by what it has read. */
TEST(reader_that_pauses) {
  pair_t *p = checked_pair(1, 1 * MS);
  CHECK_EQ(udx_stream_read_stop(&p->side[1].stream), 0);
  pair_write(p, 0, 1000);
  sim_run(p->sim, 10 * MS);
  struct sockaddr_in from = stranger_at(1, 1);
  udx_header_t header = plausible(p, 1, UDX_HEADER_DATA);
  CHECK_EQ(header.seq, 1);
  forge(p, 1, &from, &header, pair_pattern(1000), 1000);
  sim_run(p->sim, 10 * MS);
  CHECK_EQ(frames_asked, 0);
  CHECK_EQ(p->side[1].received, 0);
  pair_read_start(p, 1);
  sim_run(p->sim, 10);
  CHECK_EQ(frames_asked, 1);
  CHECK_EQ(p->side[1].received, 2000);
  CHECK_EQ(p->side[1].mismatches, 0);
  pair_free(p);
}

/* ---- packets that overtake the handshake ---- */

static const struct sockaddr_in *connects_to;
static int firewall_asked;

static int
on_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  (void) from;
  firewall_asked++;
  if (connects_to == NULL) return 0;
  CHECK_EQ(udx_stream_connect(stream, socket, 1, (const struct sockaddr *) connects_to), 0);
  return 0;
}

/*
 * 0: the firewall connects inside the call. 1: the owner connects to the source later. 2: it connects to another
 * address of the peer, and the source has to prove itself. 3: the source is a stranger, and the firewall is not asked.
 */
TEST(packets_that_overtake_the_handshake) {
  for (int mode = 0; mode < 4; mode++) {
    pair_t *p = pair_new_unconnected(1, NULL);
    pair_bind(p);
    pair_connect(p, 0);
    frame_size = 1000;
    frames_asked = firewall_asked = 0;
    owner_is_deaf = mode < 3;
    CHECK_EQ(udx_stream_check_sources(&p->side[1].stream, on_source, NULL), 0);
    CHECK_EQ(udx_stream_firewall(&p->side[1].stream, on_firewall), 0);
    struct sockaddr_in peer = sim_address4(p->side[0].node, 5001), other = sim_address4(p->side[0].node, 5009);
    connects_to = mode == 0 ? &peer : NULL;
    if (mode == 3) {
      forge_part(p, stranger(), 0, 1000);
      forge_part(p, stranger(), 0, 10);
    } else {
      pair_write(p, 0, 3000);
    }
    sim_run(p->sim, 20 * MS);
    CHECK_EQ(firewall_asked, mode == 3 ? 0 : mode == 0 ? 1 : 3);
    CHECK_EQ(p->side[1].received, mode == 0 ? 3000 : 0);
    if (mode == 3) pair_write(p, 0, 3000);
    owner_is_deaf = 0;
    if (mode > 0) {
      const struct sockaddr *to = (const struct sockaddr *) (mode == 2 ? &other : &peer);
      CHECK_EQ(udx_stream_connect(&p->side[1].stream, &p->side[1].socket, 1, to), 0);
    }
    sim_run(p->sim, 20 * MS);
    CHECK_EQ(p->side[1].received, 3000);
    CHECK_EQ(p->side[1].mismatches, 0);
    CHECK_EQ(count_sources(p, 1, 1), mode == 2);
    pair_free(p);
  }
}

/* A socket that is gone by the time that its packets are the next. */
TEST(socket_that_is_gone) {
  pair_t *p = checked_pair(1, 1 * MS);
  udx_socket_t second;
  open_socket(p->side[1].node, &second, AF_INET, 7002);
  struct sockaddr_in from = stranger_at(1, 1), to = sim_address4(p->side[1].node, 7002);
  uint8_t bytes[UDX_HEADER_SIZE + 1000];
  udx_header_t header = plausible(p, 1, UDX_HEADER_DATA);
  header.id = 2;
  header.seq++;
  udx__header_encode(bytes, &header);
  memcpy(bytes + UDX_HEADER_SIZE, pair_pattern(1000), 1000);
  sim_inject(p->sim, (struct sockaddr *) &from, (struct sockaddr *) &to, bytes, sizeof(bytes), 0);
  sim_run(p->sim, 10);
  CHECK_EQ(sources_of(p, 1)->held, 1);
  close_sockets(p, &second, 1);
  memset(&second, 0xff, sizeof(second));
  pair_write(p, 0, 1000);
  CHECK(pair_run_received(p, 1, 1000, 1 * S));
  sim_run(p->sim, 10 * MS);
  CHECK_EQ(p->side[1].received, 1000);
  pair_free(p);
}

/*
 * The remote was only named by others, and the peer speaks from its other address: it is heard, and the three packets
 * that the remote gets are not all that it has. A stranger moves nothing.
 */
TEST(peer_that_is_not_where_it_was_said_to_be) {
  for (int is_followed = 0; is_followed <= 1; is_followed++) {
    for (int by_message = 0; by_message <= 1; by_message++) {
      pair_t *p = checked_pair(7, 5 * MS);
      follows = is_followed;
      udx_socket_t second;
      open_socket(p->side[1].node, &second, AF_INET, 7002);
      struct sockaddr_in said = sim_address4(p->side[1].node, 7002), home = sim_address4(p->side[1].node, 5002);
      CHECK(udx_stream_change_remote(&p->side[0].stream, &p->side[0].socket, 2, (struct sockaddr *) &said, NULL) >= 0);
      udx__sources_free(&p->side[0].stream); /* no address is known from before */
      CHECK_EQ(udx_stream_check_sources(&p->side[0].stream, on_source, on_stray), 0);
      CHECK_EQ(udx_stream_limit_unheard(&p->side[0].stream), 0);
      CHECK_EQ(udx_stream_path_validated(&p->side[0].stream), 0);
      udx_header_t data = plausible(p, 0, UDX_HEADER_DATA), message = plausible(p, 0, UDX_HEADER_MESSAGE);
      uint8_t other[1000] = {1};
      forge(p, 0, stranger(), &data, other, sizeof(other));
      forge(p, 0, stranger(), &message, "pear", 4);
      sim_run(p->sim, 1 * MS);
      CHECK_EQ(strays, 0);
      if (by_message) {
        forge(p, 0, &home, &message, "peer", 4);
      } else {
        pair_write(p, 1, 1000);
      }
      pair_write(p, 0, 30000);
      sim_run(p->sim, 5 * S);
      CHECK(strays >= 1);
      if (is_followed) {
        CHECK_EQ(strays, 1);
        CHECK(remote_is(p, 0, &home));
        CHECK_EQ(p->side[1].received, 30000);
        CHECK_EQ(udx_stream_path_validated(&p->side[0].stream), 1);
      } else {
        CHECK(remote_is(p, 0, &said));
        CHECK(p->side[0].stream.packets_tx <= UDX_CLAIMED_PACKETS);
      }
      close_sockets(p, &second, 1);
      pair_free(p);
    }
  }
}

TEST_MAIN(TEST_ENTRY(peer_that_moves_is_followed), TEST_ENTRY(peer_that_moves_is_left),
  TEST_ENTRY(peer_that_moves_within_a_message), TEST_ENTRY(repeated_packets_are_acknowledged),
  TEST_ENTRY(peer_of_two_addresses), TEST_ENTRY(change_of_remote_from_a_new_socket),
  TEST_ENTRY(former_remote_is_a_path), TEST_ENTRY(paths_are_bounded), TEST_ENTRY(late_packets_lead_nowhere),
  TEST_ENTRY(message_that_proves), TEST_ENTRY(reader_that_pauses), TEST_ENTRY(packets_that_overtake_the_handshake),
  TEST_ENTRY(socket_that_is_gone), TEST_ENTRY(peer_that_is_not_where_it_was_said_to_be))
