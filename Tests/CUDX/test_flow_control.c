/* Windows in both directions (engine/flow_control.c), at the edges of each comparison. */
#include "engine/flow_control.h"
#include "unit.h"

static uint32_t held;

static uint32_t
held_bytes (udx_stream_t *stream) {
  (void) stream;
  return held;
}

/* What is offered is the window less what the application holds, and never between 1 and 1,499 bytes. */
TEST(offered_window) {
  unit_t unit = unit_new();
  unit.stream->get_read_buffer_size = held_bytes;
  CHECK_EQ(udx_stream_set_rwnd_max(unit.stream, 100000), 0);
  static const uint32_t cases[][2] = {{0, 100000}, {1, 99999}, {98500, 1500}, {98501, 0}, {100000, 0}, {200000, 0}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    held = cases[i][0];
    CHECK_EQ(udx__flow_advertise(unit.stream), cases[i][1]);
    CHECK_EQ(unit.state->flow.advertised, cases[i][1]);
  }
  /* a closed window is looked at again */
  CHECK_EQ(unit.state->flow.reopen_at, udx__instance(unit.udx)->now + UDX_REOPEN_POLL_MIN);
  udx_header_t header;
  held = 40000;
  udx__stream_header(unit.stream, &header, 0);
  CHECK_EQ(header.window, 60000);
  unit_free(&unit);
}

/* A paused reader's packets count with their share of the memory, if that is more than their bytes. */
TEST(paused_reader_closes_the_offered_window) {
  unit_t unit = unit_new();
  CHECK_EQ(udx_stream_set_rwnd_max(unit.stream, 100000), 0);
  unit.state->ack.paused = 1;
  unit.state->reorder.bytes = 10000;
  unit.state->reorder.memory = 40000;
  CHECK_EQ(udx__flow_advertise(unit.stream), 90000);
  unit.state->reorder.memory = 80000;
  CHECK_EQ(udx__flow_advertise(unit.stream), 80000);
  unit.state->ack.paused = 0;
  CHECK_EQ(udx__flow_advertise(unit.stream), 100000);
  unit.state->reorder.bytes = unit.state->reorder.memory = 0;
  unit_free(&unit);
}

/* With a bound of its own the memory is full when the window is closed, whatever the packets' size. */
TEST(memory_of_its_own) {
  unit_t unit = unit_new();
  CHECK_EQ(udx_stream_set_rwnd_max(unit.stream, 16384), 0);
  static const uint32_t rounded[][2] = {{0, 0}, {1, 1}, {1024, 1}, {1025, 2}, {32768, 32}, {UINT32_MAX, 65535}};
  for (size_t i = 0; i < sizeof(rounded) / sizeof(*rounded); i++) {
    CHECK_EQ(udx_stream_set_reorder_max(unit.stream, rounded[i][0]), 0);
    CHECK_EQ(unit.state->reorder.limit, rounded[i][1]);
  }
  CHECK_EQ(udx_stream_set_reorder_max(unit.stream, 32768), 0);
  unit.state->ack.paused = 1;
  unit.state->reorder.bytes = 100;
  unit.state->reorder.memory = 16384;
  CHECK_EQ(udx__flow_advertise(unit.stream), 8192);
  unit.state->reorder.memory = 32768;
  CHECK_EQ(udx__flow_advertise(unit.stream), 0);
  unit.state->reorder.bytes = 16000;
  unit.state->reorder.memory = 0;
  CHECK_EQ(udx__flow_advertise(unit.stream), 0);
  unit.state->ack.paused = 0;
  unit.state->reorder.bytes = 0;
  unit_free(&unit);
}

/* What finds no room is dropped: behind a gap and for a paused reader, for a bound of the caller's or our own. */
TEST(packets_beyond_the_memory) {
  static const uint32_t limits[] = {0, 32768};
  for (int i = 0; i < 2; i++) {
    unit_t unit = unit_new();
    static uint8_t data[1200];
    CHECK_EQ(udx_stream_set_rwnd_max(unit.stream, 16384), 0);
    CHECK_EQ(udx_stream_set_reorder_max(unit.stream, limits[i]), 0);
    uint32_t room = limits[i] == 0 ? UDX_REORDER_BYTES_MIN : limits[i], kept = 0, seq = unit.state->ack.next + 1;
    while (kept < 1000 && udx__reorder_insert(unit.stream, seq + kept, UDX_HEADER_DATA, data, sizeof(data)) == 1)
      kept++;
    CHECK_EQ(kept, room / UDX_REORDER_BLOCK);
    CHECK(unit.state->reorder.memory <= room);
    unit_free(&unit);
  }
}

/* Room is counted to the byte, in the stream and in the instance; without it a paused reader's window is closed. */
TEST(room_for_one_more_packet) {
  for (int i = 0; i < 4; i++) {
    unit_t unit = unit_new();
    CHECK_EQ(udx_stream_set_rwnd_max(unit.stream, 16384), 0);
    CHECK_EQ(udx_stream_set_reorder_max(unit.stream, 32768), 0);
    unit.state->ack.paused = 1;
    uint32_t over = i % 2;
    if (i < 2) unit.state->reorder.memory = 32768 - UDX_REORDER_BLOCK + over;
    else udx__instance(unit.udx)->reorder_memory = UDX_REORDER_TOTAL_MAX - UDX_REORDER_BLOCK + over;
    CHECK_EQ(udx__reorder_has_room(unit.stream, UDX_REORDER_BLOCK), !over);
    if (i >= 2) CHECK_EQ(udx__flow_advertise(unit.stream), over ? 0 : 16384);
    unit.state->ack.paused = 0;
    unit.state->reorder.memory = 0;
    udx__instance(unit.udx)->reorder_memory = 0;
    unit_free(&unit);
  }
}

/* An acknowledgement announces a window that opened, or that doubled to at least half of all. */
TEST(window_announcements) {
  static const struct {
    uint32_t advertised, window;
    int owed;
  } cases[] = {{0, 0, 0}, {0, 1500, 1}, {0, 100000, 1}, {1500, 49999, 0}, {1500, 50000, 1}, {30000, 59999, 0},
    {30000, 60000, 1}, {50000, 99999, 0}, {50000, 100000, 1}, {50001, 100000, 0}, {100000, 100000, 0}};
  unit_t unit = unit_new();
  unit.stream->get_read_buffer_size = held_bytes;
  CHECK_EQ(udx_stream_set_rwnd_max(unit.stream, 100000), 0);
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    unit.state->ack.owed = 0;
    unit.state->flow.advertised = cases[i].advertised;
    unit.state->flow.reopen_at = 5;
    held = 100000 - cases[i].window;
    CHECK_EQ(udx_stream_window_changed(unit.stream), 0);
    CHECK_EQ(unit.state->ack.owed, cases[i].owed);
    CHECK_EQ(unit.state->flow.reopen_at, cases[i].owed ? UDX_NEVER : 5);
  }
  unit.state->flow.reopen_at = UDX_NEVER;
  unit_free(&unit);
}

/* The peer's window is taken from the newest packet: by seq, then by ack. */
TEST(peer_window_of_the_newest_packet) {
  static const struct {
    uint32_t seq, ack;
    int taken;
  } cases[] = {{100, 2, 1}, {99, 3, 0}, {100, 1, 0}, {100, 2, 1}, {100, 3, 1}, {101, 2, 1}, {101, 1, 0}, {102, 0, 1}};
  unit_t unit = unit_new();
  (void) unit_send(&unit, 3);
  unit.state->flow.wl_seq = 100;
  unit.state->flow.wl_ack = 1;
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    udx_header_t header = {.seq = cases[i].seq, .ack = cases[i].ack, .window = 10000 + (uint32_t) i};
    unit.state->flow.peer_window = 1;
    udx__flow_update(unit.stream, &header);
    CHECK_EQ(unit.state->flow.peer_window, cases[i].taken ? 10000 + (int) i : 1);
  }
  unit_free(&unit);
}

TEST(packets_that_the_window_allows) {
  unit_t unit = unit_new();
  uint32_t payload = udx__mtu_payload(unit.stream);
  const uint32_t cases[][2] = {{0, 0}, {1, 1}, {payload, 1}, {2 * payload - 1, 1}, {2 * payload, 2}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    unit.state->flow.peer_window = cases[i][0];
    CHECK_EQ(udx__flow_packets(unit.stream), cases[i][1]);
  }
  unit.state->flow.peer_window = 1u << 26;
  CHECK_EQ(udx__flow_span(unit.stream), UDX_FLIGHT_MAX);
  unit.state->flow.peer_window = 1;
  CHECK_EQ(udx__flow_span(unit.stream), 1);
  unit_free(&unit);
}

/* A closed window is probed: at once by an idle write and one RTO later, then every two, to the microsecond. */
TEST(zero_window_probes) {
  unit_t unit = unit_new();
  unit.state->flow.peer_window = 0;
  unit_write(&unit, 5000);
  unit_flush(&unit);
  uint64_t now = udx__instance(unit.udx)->now;
  CHECK_EQ(unit.state->flight.nxt, 0);
  CHECK_EQ(unit.state->flow.probe_at, now);
  uint64_t wait = 1;
  for (uint32_t i = 1; i <= 5; i++) {
    udx__flow_timeout(unit.stream, now - 1);
    CHECK_EQ(unit.stream->zwp_count, i - 1);
    udx__flow_timeout(unit.stream, now);
    CHECK_EQ(unit.stream->zwp_count, i);
    /* the first one without an answer was a HEARTBEAT, which old peers do not answer */
    CHECK_EQ(unit.state->ack.heartbeat, i <= UDX_ZWP_HEARTBEATS ? UDX_HEARTBEAT_PLAIN : UDX_HEARTBEAT_ANSWERED);
    CHECK_EQ(unit.state->flight.nxt, 0);
    CHECK_EQ(unit.state->flow.probe_at, now + wait * UDX_RTO_INITIAL);
    CHECK_EQ(unit.state->flow.silent_since, unit.state->flow.probe_at - (2 * i - 1) * UDX_RTO_INITIAL);
    now = unit.state->flow.probe_at;
    wait = 2;
  }
  /* another keepalive is no sign of life: the time to give up goes on */
  CHECK_EQ(udx_stream_set_keepalive(unit.stream, 7), 0);
  CHECK_EQ(unit.state->flow.silent_probes, 5);
  CHECK_EQ(unit.state->flow.probe_at, now);
  unit_free(&unit);
}

/* On paths with long timeouts the probes are as frequent as the default keepalive, the first one included. */
TEST(zero_window_probes_of_long_timeouts) {
  unit_t unit = unit_new();
  unit.state->flow.peer_window = 0;
  unit_write(&unit, 5000);
  unit.state->rtt.rto = 8 * UDX_SECOND;
  uint64_t now = udx__instance(unit.udx)->now;
  udx__flow_rearm(unit.stream, 0, now);
  for (uint64_t i = 1; i <= 3; i++) {
    CHECK_EQ(unit.state->flow.probe_at, now + UDX_ZWP_SPACING_MAX);
    now = unit.state->flow.probe_at;
    CHECK_EQ(udx__flow_timeout(unit.stream, now), 1);
  }
  unit_free(&unit);
}

/* The stream gives up when the peer has been silent for the time and for the number of probes, less a tick of grace. */
TEST(probes_without_answer_end_the_stream) {
  static const struct {
    uint32_t probes;
    uint64_t early;
    int alive;
  } cases[] = {{UDX_TIMEOUTS_MAX, 0, 0}, {UDX_TIMEOUTS_MAX, 1, 1}, {UDX_TIMEOUTS_MAX - 1, 0, 1}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    for (int ended = 0; ended <= 1; ended++) {
      unit_t unit = unit_new();
      uint64_t now = udx__instance(unit.udx)->now + 20 * UDX_SECOND;
      udx__instance(unit.udx)->now = now;
      udx_flow_t *flow = &unit.state->flow;
      flow->silent_probes = (uint8_t) cases[i].probes;
      flow->silent_since = now - UDX_GIVE_UP_FACTOR * UDX_SECOND + UDX_MS + cases[i].early;
      if (ended) {
        unit.stream->status |= UDX_STREAM_ENDING | UDX_STREAM_ENDED;
        flow->keepalive = 1000;
        flow->keepalive_at = now;
      } else {
        flow->peer_window = 0;
        unit_write(&unit, 5000);
        flow->probe_at = now;
      }
      CHECK_EQ(udx__flow_timeout(unit.stream, now), cases[i].alive);
      CHECK_EQ(unit.pair->side[0].closed, !cases[i].alive);
      if (!cases[i].alive) CHECK_EQ(unit.pair->side[0].close_status, UV_ETIMEDOUT);
      else CHECK_EQ(flow->silent_probes, cases[i].probes + 1);
      unit_free(&unit);
    }
  }
}

/* What was heard when the first probe left is no answer to it; what comes later is one. */
TEST(an_answer_comes_after_the_probe) {
  for (uint64_t later = 0; later <= 1; later++) {
    unit_t unit = unit_new();
    uint64_t now = udx__instance(unit.udx)->now;
    udx_flow_t *flow = &unit.state->flow;
    flow->silent_probes = 1;
    flow->silent_since = now;
    flow->heard_at = now + later;
    flow->keepalive = 5;
    udx__flow_heard(unit.stream, now + 1);
    CHECK_EQ(flow->silent_probes, !later);
    CHECK_EQ(flow->keepalive_at, later ? now + 1 + 5 * UDX_MS : UDX_NEVER);
    unit_free(&unit);
  }
}

/* With packets under way, an open window, or nothing to send there is nothing to ask for. */
TEST(needless_zero_window_probes) {
  for (int i = 0; i < 3; i++) {
    unit_t unit = unit_new();
    if (i == 0) (void) unit_send(&unit, 1);
    unit.state->flow.peer_window = i == 1 ? 1 : 0;
    if (i < 2) unit_write(&unit, 5000);
    unit.state->flow.probe_at = udx__instance(unit.udx)->now;
    CHECK_EQ(udx__flow_timeout(unit.stream, udx__instance(unit.udx)->now), 1);
    CHECK_EQ(unit.stream->zwp_count, 0);
    CHECK_EQ(unit.state->flow.silent_probes, 0);
    CHECK_EQ(unit.state->flow.probe_at, UDX_NEVER);
    unit_free(&unit);
  }
}

/* After our END the probe is due one interval after the last packet of the peer, not of ours. */
TEST(end_probe_is_due_after_the_peer_was_heard) {
  unit_t unit = unit_new();
  uint64_t now = udx__instance(unit.udx)->now;
  unit.stream->status |= UDX_STREAM_ENDING | UDX_STREAM_ENDED;
  unit.state->flow.keepalive = 1000;
  unit.state->flow.keepalive_at = now;
  unit.state->flow.heard_at = now - 400 * UDX_MS;
  CHECK_EQ(udx__flow_timeout(unit.stream, now), 1);
  CHECK_EQ(unit.state->flow.keepalive_at, now + 600 * UDX_MS);
  CHECK_EQ(unit.state->flow.silent_probes, 0);
  udx__instance(unit.udx)->now = now + 600 * UDX_MS;
  CHECK_EQ(udx__flow_timeout(unit.stream, now + 600 * UDX_MS), 1);
  CHECK_EQ(unit.state->flow.silent_probes, 1);
  CHECK_EQ(unit.state->flow.silent_since, now + 600 * UDX_MS);
  CHECK_EQ(unit.state->flow.keepalive_at, now + 600 * UDX_MS + 2 * UDX_SECOND);
  unit_free(&unit);
}

TEST(keepalive_rearms) {
  unit_t unit = unit_new();
  CHECK_EQ(udx_stream_set_keepalive(unit.stream, 7), 0);
  uint64_t at = sim_now(unit.pair->sim) + 7 * UDX_MS;
  CHECK_EQ(unit.state->flow.keepalive_at, at);
  udx__flow_timeout(unit.stream, at - 1);
  CHECK_EQ(unit.state->ack.heartbeat, UDX_HEARTBEAT_NONE);
  udx__flow_timeout(unit.stream, at);
  CHECK_EQ(unit.state->ack.heartbeat, UDX_HEARTBEAT_PLAIN);
  CHECK_EQ(unit.state->flow.keepalive_at, at + 7 * UDX_MS);
  unit.state->flow.silent_probes = 3;
  CHECK_EQ(udx_stream_set_keepalive(unit.stream, 0), 0);
  CHECK_EQ(unit.state->flow.silent_probes, 0); /* the time to give up starts anew */
  CHECK_EQ(unit.state->flow.keepalive_at, UDX_NEVER);
  unit_free(&unit);
}

TEST_MAIN(TEST_ENTRY(offered_window), TEST_ENTRY(paused_reader_closes_the_offered_window),
  TEST_ENTRY(memory_of_its_own), TEST_ENTRY(packets_beyond_the_memory), TEST_ENTRY(room_for_one_more_packet),
  TEST_ENTRY(window_announcements), TEST_ENTRY(peer_window_of_the_newest_packet),
  TEST_ENTRY(packets_that_the_window_allows), TEST_ENTRY(zero_window_probes),
  TEST_ENTRY(zero_window_probes_of_long_timeouts), TEST_ENTRY(probes_without_answer_end_the_stream),
  TEST_ENTRY(an_answer_comes_after_the_probe), TEST_ENTRY(needless_zero_window_probes),
  TEST_ENTRY(end_probe_is_due_after_the_peer_was_heard), TEST_ENTRY(keepalive_rearms))
