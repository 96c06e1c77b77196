/* Bounds and counters that no transfer reaches, each at both sides of its edge. */
#include "engine/address.h"
#include "engine/receive.h"
#include "engine/relay.h"
#include "engine/rtt.h"
#include "engine/time_wait.h"
#include "engine/transmit.h"
#include "engine/transmit_control.h"
#include "io/udp.h"
#include "unit.h"

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

/* A second socket of the instance, bound to `port`. */
static void
second_socket (unit_t *unit, udx_socket_t *other, uint16_t port) {
  memset(other, 0, sizeof(*other));
  CHECK_EQ(udx_socket_init(unit->udx, other, on_socket_close), 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
  CHECK_EQ(udx_socket_bind(other, (const struct sockaddr *) &any, 0), 0);
}

static struct sockaddr_in
stranger (void) {
  struct sockaddr_in from;
  CHECK_EQ(uv_ip4_addr("192.0.2.66", 666, &from), 0);
  return from;
}

/* A packet with one byte for the stream of `unit`, over whichever socket. */
static void
unit_receive (unit_t *unit, udx_socket_t *socket, uint32_t ack, const struct sockaddr_in *from) {
  udx_header_t header = {
    .type = UDX_HEADER_DATA, .id = 1, .window = UDX_WINDOW_DEFAULT, .seq = unit->state->ack.next, .ack = ack};
  uint8_t bytes[UDX_HEADER_SIZE + 1] = {0};
  udx__header_encode(bytes, &header);
  udx__receive_datagram(socket, bytes, sizeof(bytes), (const struct sockaddr *) from);
}

/* From another address an acknowledgement may be old, but not older than that. */
TEST(old_acknowledgements_of_another_address) {
  for (uint32_t beyond = 0; beyond <= 1; beyond++) {
    unit_t unit = unit_new();
    (void) unit_send(&unit, 3);
    struct sockaddr_in from = stranger();
    uint64_t invalid = unit.udx->packets_invalid;
    unit_receive(&unit, unit.socket, 0 - UDX_ACK_BEHIND_MAX - beyond, &from);
    CHECK_EQ(unit.state->ack.next, 1 - beyond);
    CHECK_EQ(unit.udx->packets_invalid - invalid, beyond);
    /* the peer itself may say what it likes */
    from = sim_address4(unit.pair->side[1].node, 5002);
    unit_receive(&unit, unit.socket, 0 - UDX_ACK_BEHIND_MAX - beyond, &from);
    CHECK_EQ(unit.state->ack.next, 2 - beyond);
    unit_free(&unit);
  }
}

static int reads;

static void
destroy_at_second (pair_side_t *side) {
  if (++reads == 2) CHECK_EQ(udx_stream_destroy(&side->stream), 1);
}

/* The reader ends the stream with what was waiting for a gap to close: nothing more is done for it, or owed. */
TEST(stream_ends_while_a_gap_closes) {
  unit_t unit = unit_new();
  struct sockaddr_in from = sim_address4(unit.pair->side[1].node, 5002);
  unit.pair->side[0].on_data = destroy_at_second;
  reads = 0;
  udx_header_t header = {.type = UDX_HEADER_DATA, .id = 1, .window = UDX_WINDOW_DEFAULT, .seq = 3};
  uint8_t bytes[UDX_HEADER_SIZE + 1] = {0};
  for (; header.seq + 1 > 0; header.seq--) {
    udx__header_encode(bytes, &header);
    udx__receive_datagram(unit.socket, bytes, sizeof(bytes), (const struct sockaddr *) &from);
  }
  CHECK_EQ(reads, 2);
  CHECK(unit.stream->status & UDX_STREAM_CLOSED);
  CHECK(udx__list_empty(&unit.state->owing) && udx__list_empty(&unit.state->touched));
  unit_free(&unit);
}

static int refuses, asked;

static int
on_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  (void) stream;
  (void) socket;
  CHECK_EQ(from->sa_family, AF_INET);
  asked++;
  return refuses;
}

/* What the firewall refuses has arrived, and counts as that, but does nothing. */
TEST(refused_packets_are_counted) {
  unit_t unit = unit_new();
  udx_socket_t other;
  second_socket(&unit, &other, 7001);
  CHECK_EQ(udx_stream_firewall(unit.stream, on_firewall), 0);
  struct sockaddr_in from = stranger();
  for (refuses = 1; refuses >= 0; refuses--) {
    uint64_t packets = unit.stream->packets_rx, bytes = unit.stream->bytes_rx;
    unit_receive(&unit, &other, 0, &from);
    CHECK_EQ(unit.stream->packets_rx - packets, 1);
    CHECK_EQ(unit.stream->bytes_rx - bytes, UDX_HEADER_SIZE + 1);
    CHECK_EQ(unit.state->ack.next, !refuses);
  }
  CHECK_EQ(asked, 2);
  /* over the stream's own socket it is asked only where that was wished for */
  static const uint8_t guards[] = {0, (uint8_t) ~UDX_GUARD_FIREWALL, UDX_GUARD_FIREWALL};
  for (int i = 0; i < 3; i++) {
    unit.state->guards = guards[i];
    unit_receive(&unit, unit.socket, 0, &from);
    CHECK_EQ(asked, i == 2 ? 3 : 2);
  }
  unit.state->guards = 0;
  CHECK_EQ(udx_socket_close(&other), 0);
  unit_free(&unit);
}

/* A stream that changes its socket owes over the new one what it owed over the old one, and nothing else. */
TEST(debts_move_to_the_new_socket) {
  for (int owed = 0; owed <= 1; owed++) {
    for (uint8_t heartbeat = UDX_HEARTBEAT_NONE; heartbeat <= UDX_HEARTBEAT_ANSWERED; heartbeat++) {
      unit_t unit = unit_new();
      udx_socket_t other;
      second_socket(&unit, &other, 7001);
      udx__transmit_all(unit.udx, 1);
      if (owed) udx__owe_ack(unit.stream);
      if (heartbeat) udx__owe_heartbeat(unit.stream, heartbeat);
      struct sockaddr_in to = sim_address4(unit.pair->side[1].node, 5002);
      int at_once = udx_stream_change_remote(unit.stream, &other, 2, (const struct sockaddr *) &to, NULL);
      CHECK_EQ(at_once, 1);
      CHECK_EQ(unit.state->ack.owed, owed);
      CHECK_EQ(unit.state->ack.heartbeat, heartbeat);
      CHECK_EQ(!udx__list_empty(&unit.state->owing), owed || heartbeat);
      CHECK(udx__list_empty(&udx__socket(unit.socket)->owing));
      CHECK_EQ(udx_stream_destroy(unit.stream), 1);
      sim_run(unit.pair->sim, 10);
      CHECK_EQ(udx_socket_close(&other), 0);
      unit_free(&unit);
    }
  }
}

static void
on_sent (udx_socket_send_t *req, int status) {
  CHECK_EQ(status, 0);
  req->data = NULL;
}

/* A hop limit is one byte; 0 is the socket's own. */
TEST(hop_limits) {
  static const struct { int ttl, result; } cases[] = {{-1, UV_EINVAL}, {0, 0}, {1, 0}, {255, 0}, {256, UV_EINVAL}};
  unit_t unit = unit_new();
  struct sockaddr_in to = stranger();
  uv_buf_t buf = uv_buf_init("x", 1);
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    udx_socket_send_t req = {.data = &unit};
    const struct sockaddr *address = (const struct sockaddr *) &to;
    CHECK_EQ(udx_socket_send_ttl(&req, unit.socket, &buf, 1, address, cases[i].ttl, on_sent), cases[i].result);
    sim_run(unit.pair->sim, 10);
    CHECK_EQ(req.data == NULL, cases[i].result == 0);
  }
  unit_free(&unit);
}

/* Control packets wait while the socket takes nothing, up to a bound; the resets of streams find room beyond it. */
TEST(waiting_control_packets) {
  unit_t unit = unit_new();
  sim_node_block(unit.pair->side[0].node, true);
  udx__mark_dirty(unit.socket);
  udx__socket(unit.socket)->blocked = 1;
  uint8_t header[UDX_HEADER_SIZE] = {0};
  const udx_address_t *to = &unit.state->remote;
  for (int i = 0; i < UDX_CONTROLS_MAX; i++) CHECK_EQ(udx__transmit_control(unit.socket, to, 0, header), 0);
  CHECK_EQ(udx__transmit_control(unit.socket, to, 0, header), UV_ENOBUFS);
  CHECK_EQ(udx__socket(unit.socket)->controls_count, UDX_CONTROLS_MAX);
  CHECK_EQ(udx__transmit_reset(unit.stream, header), 0);
  CHECK_EQ(udx__socket(unit.socket)->controls_count, UDX_CONTROLS_MAX + 1);
  sim_node_block(unit.pair->side[0].node, false);
  sim_run(unit.pair->sim, 10 * UDX_MS);
  CHECK_EQ(udx__socket(unit.socket)->controls_count, 0);
  unit_free(&unit);
}

/* A reset that finds the queue full sends it first, if the socket takes anything. */
TEST(a_full_queue_leaves_before_a_reset) {
  for (uint32_t free = 0; free <= 1; free++) {
    unit_t unit = unit_new();
    uint8_t header[UDX_HEADER_SIZE] = {0};
    uint32_t before = UDX_CONTROLS_MAX - free;
    for (uint32_t i = 0; i < before; i++)
      CHECK_EQ(udx__transmit_control(unit.socket, &unit.state->remote, 0, header), 0);
    CHECK_EQ(udx__transmit_reset(unit.stream, header), 0);
    CHECK_EQ(udx__socket(unit.socket)->controls_count, free ? UDX_CONTROLS_MAX : 1);
    unit_free(&unit);
  }
}

/* What a relay may pass on grows with time, to the burst and not beyond. */
TEST(relay_quota_fills_to_its_burst) {
  static const struct {
    uint32_t ms, level;
  } steps[] = {{0, 980}, {0, 960}, {10, 950}, {20, 950}, {900, 980}, {100000, 980}};
  unit_t unit = unit_new();
  udx_stream_t partner;
  CHECK_EQ(udx_stream_init(unit.udx, &partner, 77, NULL, NULL), 0);
  CHECK_EQ(udx_stream_relay_to(unit.stream, &partner), 0);
  udx_relay_quota_t quota;
  udx_relay_quota_init(unit.udx, &quota, 1000, 1000);
  CHECK_EQ(udx_stream_add_relay_quota(unit.stream, &quota), 0);
  udx_header_t header = {.type = UDX_HEADER_DATA};
  uint8_t data[UDX_HEADER_SIZE] = {0};
  quota.filled_at = udx__instance(unit.udx)->now;
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    udx__instance(unit.udx)->now += steps[i].ms * UDX_MS;
    CHECK_EQ(udx__relay_forward(unit.stream, &header, data, sizeof(data)), 1);
    CHECK_EQ(quota.level, steps[i].level);
  }
  quota.level = sizeof(data) - 1;
  CHECK_EQ(udx__relay_forward(unit.stream, &header, data, sizeof(data)), 1);
  CHECK_EQ(quota.packets_dropped, 1);
  (void) udx_stream_destroy(unit.stream);
  (void) udx_stream_destroy(&partner);
  sim_run(unit.pair->sim, 10);
  unit_free(&unit);
}

/* A closed stream answers for 15 s, to the microsecond. */
TEST(closed_streams_answer_until_they_expire) {
  for (uint64_t late = 0; late <= 1; late++) {
    unit_t unit = unit_new();
    unit.state->ack.next = 1;
    udx__time_wait_add(unit.stream, 0);
    udx__instance(unit.udx)->now += UDX_TIME_WAIT - 1 + late;
    udx_header_t header = {.type = UDX_HEADER_DATA, .id = 1, .seq = 0};
    CHECK_EQ(udx__time_wait_answer(unit.socket, &header, &unit.state->remote.any), !late);
    unit.state->ack.next = 0;
    unit_free(&unit);
  }
}

/* Of all that have closed within that time, up to a bound; then the oldest one goes. */
TEST(many_closed_streams_answer) {
  unit_t unit = unit_new();
  uint32_t id = unit.stream->local_id;
  unit.state->ack.next = 1;
  for (uint32_t count = 1; count <= UDX_TIME_WAIT_MAX + 1; count++) {
    unit.stream->local_id = 1000 + count;
    udx__time_wait_add(unit.stream, 0);
    if (count != 16 && count != 17 && count != 33 && count < UDX_TIME_WAIT_MAX) continue; /* the edges of its growth */
    udx__instance(unit.udx)->now += UDX_TIME_WAIT_SPACING;
    for (uint32_t i = 1; i <= count; i++) {
      udx_header_t header = {.type = UDX_HEADER_DATA, .id = 1000 + i, .seq = 0};
      int answers = udx__time_wait_answer(unit.socket, &header, &unit.state->remote.any);
      CHECK_EQ(answers, i + UDX_TIME_WAIT_MAX > count);
    }
  }
  unit.stream->local_id = id;
  unit.state->ack.next = 0;
  unit_free(&unit);
}

/* The count of a packet's timeouts is a byte, and stays at its end however often a stream is rerouted. */
TEST(timeouts_are_counted_to_the_end) {
  unit_t unit = unit_new();
  CHECK_EQ(udx_stream_reroute(unit.stream), 0); /* nothing is under way that could time out */
  (void) unit_send(&unit, 1);
  CHECK_EQ(udx__packet_at(unit.stream, 0)->timeouts, 0);
  udx__packet_at(unit.stream, 0)->timeouts = UINT8_MAX - 1;
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(udx_stream_reroute(unit.stream), 0);
    CHECK_EQ(udx__packet_at(unit.stream, 0)->timeouts, UINT8_MAX);
  }
  unit_free(&unit);
}

/* The window that a recovery goes back to is that of before, but not the four packets of a probe for the least RTT. */
TEST(window_before_a_recovery) {
  static const uint8_t states[] = {UDX_BBR_STATE_PROBE_BW, UDX_BBR_STATE_PROBE_RTT};
  for (int i = 0; i < 2; i++) {
    unit_t unit = unit_new();
    unit.stream->bbr.state = states[i];
    unit.state->bbr.previous_recovery = UDX_RECOVERY_OPEN;
    unit.state->bbr.prior_cwnd = 100;
    unit.stream->cwnd = UDX_CWND_MIN;
    unit.state->recovery.state = UDX_RECOVERY_FAST;
    unit.state->congestion->recovery(unit.stream, udx__instance(unit.udx)->now);
    CHECK_EQ(unit.state->bbr.prior_cwnd, i == 0 ? UDX_CWND_MIN : 100);
    unit.state->recovery.state = UDX_RECOVERY_OPEN;
    unit_free(&unit);
  }
}

/* Whole milliseconds are rounded up, so that 0 keeps meaning that there was no sample. */
TEST(round_trips_in_milliseconds) {
  static const uint32_t cases[][2] = {{1, 1}, {999, 1}, {1000, 1}, {1001, 2}, {5000, 5}, {5001, 6}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    unit_t unit = unit_new();
    uint32_t least;
    CHECK_EQ(udx_stream_get_min_rtt(unit.stream, &least), 0);
    CHECK_EQ(least, UINT32_MAX);
    udx__rtt_sample(unit.stream, cases[i][0], udx__instance(unit.udx)->now);
    CHECK_EQ(udx_stream_get_min_rtt(unit.stream, &least), 0);
    CHECK_EQ(least, cases[i][1]);
    CHECK_EQ(udx_rtt_min(unit.stream), cases[i][1]);
    CHECK_EQ(unit.stream->srtt, cases[i][1]);
    unit_free(&unit);
  }
}

/* ---- addresses of the host ---- */

/* Each has a number of its own, the same every time; those beyond the last one have none. */
TEST(numbers_of_local_addresses) {
  udx_udp_t udp;
  memset(&udp, 0, sizeof(udp));
  udp.family = AF_INET;
  for (int round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < UDX_UDP_LOCALS_MAX + 2; i++) {
      struct in_addr address = {.s_addr = htonl(0x0a000001 + i)};
      uint32_t number = i < UDX_UDP_LOCALS_MAX ? i + 1 : 0;
      for (int again = 0; again < 2; again++) CHECK_EQ(udx__udp_local(&udp, &address), number);
      if (number > 0) CHECK(memcmp(udx__udp_source(&udp, (uint8_t) number), &address, sizeof(address)) == 0);
    }
  }
  CHECK_EQ(udp.locals_count, UDX_UDP_LOCALS_MAX);
  CHECK(udx__udp_source(&udp, 0) == NULL);
  free(udp.locals);
}

/* ---- users of an instance ---- */

static int looked_up, watched_closed;

static void
on_lookup (udx_lookup_t *lookup, int status, const struct sockaddr *address, int length) {
  (void) lookup;
  CHECK_EQ(status, 0);
  CHECK_EQ(address->sa_family, AF_INET);
  CHECK_EQ(length, (int) sizeof(struct sockaddr_in));
  looked_up++;
}

static void
on_watch_close (udx_interface_event_t *watch) {
  (void) watch;
  watched_closed++;
}

/* A look-up and a watch of the interfaces hold the instance while they last, and no longer. */
TEST(an_instance_without_users_is_idle) {
  uv_loop_t loop;
  udx_t udx;
  CHECK_EQ(uv_loop_init(&loop), 0);
  CHECK_EQ(udx_init(&loop, &udx, NULL), 0);
  CHECK(udx_is_idle(&udx));
  udx_lookup_t lookup;
  CHECK_EQ(udx_lookup(&udx, &lookup, "127.0.0.1", UDX_LOOKUP_FAMILY_IPV4, on_lookup), 0);
  CHECK(!udx_is_idle(&udx));
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_EQ(looked_up, 1);
  CHECK(udx_is_idle(&udx));
  CHECK_EQ(udx_lookup(&udx, &lookup, "127.0.0.1", UDX_LOOKUP_FAMILY_IPV4, NULL), UV_EINVAL);
  CHECK(udx_is_idle(&udx));
  udx_interface_event_t watch;
  CHECK_EQ(udx_interface_event_init(&udx, &watch, on_watch_close), 0);
  CHECK(!udx_is_idle(&udx));
  CHECK_EQ(udx_interface_event_close(&watch), 0);
  CHECK_EQ(udx_interface_event_close(&watch), UV_EINVAL);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_EQ(watched_closed, 1);
  CHECK(udx_is_idle(&udx));
  CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST_MAIN(TEST_ENTRY(old_acknowledgements_of_another_address), TEST_ENTRY(stream_ends_while_a_gap_closes),
  TEST_ENTRY(refused_packets_are_counted), TEST_ENTRY(debts_move_to_the_new_socket), TEST_ENTRY(hop_limits),
  TEST_ENTRY(waiting_control_packets), TEST_ENTRY(a_full_queue_leaves_before_a_reset),
  TEST_ENTRY(relay_quota_fills_to_its_burst), TEST_ENTRY(closed_streams_answer_until_they_expire),
  TEST_ENTRY(many_closed_streams_answer), TEST_ENTRY(timeouts_are_counted_to_the_end),
  TEST_ENTRY(window_before_a_recovery), TEST_ENTRY(round_trips_in_milliseconds), TEST_ENTRY(numbers_of_local_addresses),
  TEST_ENTRY(an_instance_without_users_is_idle))
