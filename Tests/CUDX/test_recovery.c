/* RACK-TLP, retransmission timeouts and their undoing (engine/recovery.c), at the edges of each comparison. */
#include "engine/recovery.h"
#include "unit.h"

#define MS 1000u

/* Packets 0.. left one per millisecond from `begin`. */
static uint64_t
spaced (unit_t *unit, uint32_t packets) {
  uint64_t begin = unit_send(unit, packets);
  for (uint32_t seq = 0; seq < packets; seq++) unit_sent_at(unit, seq, begin + seq * MS);
  return begin;
}

/* Packet 3 is reported 8 ms after it left: lost is what left a quarter of that earlier, to the microsecond. */
TEST(rack_waits_for_the_reordering_window) {
  unit_t unit = unit_new();
  uint64_t begin = spaced(&unit, 6);
  unit_ack(&unit, begin + 11 * MS, 0, 3, 4);
  CHECK_EQ(udx__packet_at(unit.stream, 0)->state, UDX_PACKET_LOST);
  CHECK_EQ(udx__packet_at(unit.stream, 1)->state, UDX_PACKET_LOST); /* due at this very moment */
  CHECK_EQ(udx__packet_at(unit.stream, 2)->state, UDX_PACKET_FLYING);
  CHECK_EQ(udx__packet_at(unit.stream, 4)->state, UDX_PACKET_FLYING); /* sent later than what was reported */
  CHECK_EQ(unit.state->recovery.reo_at, begin + 12 * MS);
  CHECK_EQ(unit.state->recovery.state, UDX_RECOVERY_FAST);
  CHECK_EQ(unit.state->recovery.high_seq, 6);
  CHECK_EQ(udx__recovery_timeout(unit.stream, begin + 12 * MS), 1);
  CHECK_EQ(udx__packet_at(unit.stream, 2)->state, UDX_PACKET_LOST);
  CHECK_EQ(unit.stream->fast_recovery_count, 1);
  unit_free(&unit);
}

TEST(three_reported_packets_need_no_window) {
  for (uint32_t reported = UDX_REO_SACKED_MIN - 1; reported <= UDX_REO_SACKED_MIN; reported++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 6);
    for (uint32_t seq = 0; seq < 6; seq++) unit_sent_at(&unit, seq, begin + seq);
    unit_ack(&unit, begin + 8 * MS, 0, 1, 1 + reported);
    CHECK_EQ(unit.state->flight.lost.count, reported == UDX_REO_SACKED_MIN);
    unit_free(&unit);
  }
}

/* One batch has one time of transmission: the order of the seqs decides. */
TEST(rack_orders_a_batch_by_seq) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 8);
  unit_ack(&unit, begin + 8 * MS, 0, 2, 5);
  CHECK_EQ(unit.state->flight.lost.count, 2);
  CHECK_EQ(unit.state->flight.flying.count, 3);
  unit_free(&unit);
}

/* Lost probes of the path's MTU are no sign of congestion. */
TEST(lost_probes_start_no_recovery) {
  for (uint32_t probes = 1; probes <= 2; probes++) {
    unit_t unit = unit_new();
    uint64_t begin = spaced(&unit, 6);
    for (uint32_t seq = 0; seq < probes; seq++) udx__packet_at(unit.stream, seq)->is_probe = 1;
    unit_ack(&unit, begin + 11 * MS, 0, 3, 4);
    CHECK_EQ(unit.state->flight.lost.count, 2);
    CHECK_EQ(unit.state->recovery.state == UDX_RECOVERY_OPEN, probes == 2);
    unit_free(&unit);
  }
}

/* A repair that is acknowledged an eighth sooner than any round trip was needless, to the microsecond. */
TEST(needless_repairs) {
  for (uint32_t early = 0; early <= 1; early++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 3);
    unit_ack(&unit, begin + 8 * MS, 1, 0, 0);
    udx__packet_at(unit.stream, 1)->transmits = 2;
    unit_sent_at(&unit, 1, begin + 13 * MS + early);
    unit_ack(&unit, begin + 20 * MS, 2, 0, 0);
    CHECK_EQ(unit.stream->spurious_count, early);
    unit_free(&unit);
  }
}

/* An original that is reported behind a later one came out of order; a repair did not. */
TEST(only_originals_show_reordering) {
  for (uint8_t transmits = 1; transmits <= 2; transmits++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 6);
    unit_ack(&unit, begin + 8 * MS, 0, 5, 6);
    udx__packet_at(unit.stream, 2)->transmits = transmits;
    unit_ack(&unit, begin + 9 * MS, 0, 2, 3);
    CHECK_EQ(unit.state->recovery.reordering_seen, transmits == 1);
    unit_free(&unit);
  }
}

/* A timeout takes the oldest packet for lost, and others that left before this very moment. */
TEST(a_timeout_leaves_the_latest) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 4), at = begin + UDX_RTO_INITIAL;
  unit_sent_at(&unit, 1, at - 1);
  for (uint32_t seq = 2; seq < 4; seq++) unit_sent_at(&unit, seq, at);
  udx__instance(unit.udx)->now = at;
  CHECK_EQ(udx__recovery_timeout(unit.stream, at), 1);
  CHECK_EQ(unit.stream->rto_count, 1);
  for (uint32_t seq = 0; seq < 4; seq++)
    CHECK_EQ(udx__packet_at(unit.stream, seq)->state, seq < 2 ? UDX_PACKET_LOST : UDX_PACKET_FLYING);
  unit_free(&unit);
}

TEST(tail_loss_probe_timer) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 2);
  CHECK_EQ(unit.state->recovery.tlp_at, UDX_NEVER); /* without a sample the timeout is not later */
  CHECK_EQ(unit.state->recovery.rto_at, begin + UDX_RTO_INITIAL);
  unit_ack(&unit, begin + 20 * MS, 1, 0, 0);
  /* a single packet is left */
  CHECK_EQ(unit.state->recovery.tlp_at, begin + 20 * MS + 40 * MS + UDX_TLP_SINGLE);
  CHECK_EQ(unit.state->recovery.rto_at, begin + 20 * MS + UDX_RTO_MIN);
  unit_ack(&unit, begin + 21 * MS, 2, 0, 0);
  CHECK_EQ(unit.state->recovery.tlp_at, UDX_NEVER);
  CHECK_EQ(unit.state->recovery.rto_at, UDX_NEVER);
  CHECK_EQ(unit.state->flight.ring != NULL, 1);
  unit_free(&unit);
}

/* A probe repeats the tail where nothing new may leave. Without room, or if the tail waits anyway, there is none. */
TEST(tail_loss_probe_repeats) {
  enum { NEW, CLOSED, BLOCKED, LOST, CASES };
  for (int i = 0; i < CASES; i++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 2), at = begin + 100 * MS, rto_at = unit.state->recovery.rto_at;
    unit.stream->cwnd = 2; /* what is written waits */
    if (i == NEW || i == CLOSED) unit_write(&unit, 5000);
    unit_flush(&unit);
    if (i == CLOSED) unit.state->flow.peer_window = 0;
    udx__socket(unit.socket)->blocked = i == BLOCKED;
    if (i == LOST) {
      udx__flight_remove(unit.stream, 1);
      udx__lost_insert(unit.stream, 1);
    }
    udx__instance(unit.udx)->now = unit.state->recovery.tlp_at = at;
    CHECK_EQ(udx__recovery_timeout(unit.stream, at), 1);
    int sent = i == NEW || i == CLOSED;
    CHECK_EQ(unit.state->flight.nxt, i == NEW ? 3 : 2);
    CHECK_EQ(udx__packet_at(unit.stream, 1)->transmits, i == CLOSED ? 2 : 1);
    CHECK_EQ(unit.state->recovery.tlp_pending, sent);
    CHECK_EQ(unit.state->recovery.rto_at, sent ? at + UDX_RTO_INITIAL : rto_at);
    udx__socket(unit.socket)->blocked = 0;
    unit_free(&unit);
  }
}

/* 1 s, then 2 s for ever: the back-off reaches max(2 s, 2 rto) and stays. */
TEST(timeouts_back_off) {
  unit_t unit = unit_new();
  uint64_t at = unit_send(&unit, 1) + UDX_RTO_INITIAL;
  static const uint64_t spacing[] = {2 * UDX_SECOND, 2 * UDX_SECOND, 2 * UDX_SECOND};
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(unit.state->recovery.rto_at, at);
    CHECK_EQ(udx__recovery_timeout(unit.stream, at - 1), 1);
    CHECK_EQ(unit.stream->rto_count, i);
    CHECK_EQ(udx__recovery_timeout(unit.stream, at), 1);
    CHECK_EQ(unit.stream->rto_count, i + 1);
    CHECK_EQ(udx__packet_at(unit.stream, 0)->timeouts, 1 + (i > 0 ? i : 0));
    CHECK_EQ(unit.state->recovery.state, UDX_RECOVERY_LOSS);
    CHECK_EQ(unit.state->recovery.rto_at, at + spacing[i]);
    at += spacing[i];
  }
  CHECK_EQ(unit.state->recovery.backoff, 3);
  unit_free(&unit);
}

/* The seventh timeout of a packet closes the stream, but not before 13 s without progress (less a tick of grace). */
TEST(gives_up_after_thirteen_seconds) {
  for (int early = 0; early <= 1; early++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 1);
    udx__packet_at(unit.stream, 0)->timeouts = UDX_TIMEOUTS_MAX;
    uint64_t at = begin + UDX_GIVE_UP_FACTOR * (uint64_t) UDX_SECOND - UDX_MS - (uint64_t) early;
    udx__instance(unit.udx)->now = at;
    CHECK_EQ(udx__recovery_timeout(unit.stream, at), early);
    CHECK_EQ(unit.pair->side[0].closed, !early);
    if (!early) CHECK_EQ(unit.pair->side[0].close_status, UV_ETIMEDOUT);
    unit_free(&unit);
  }
}

/* A peer that was heard after the last repetition, not with it, has the grace of one that has returned. */
TEST(a_peer_that_was_heard_has_its_grace) {
  for (uint64_t heard = 0; heard <= 1; heard++) {
    for (uint64_t early = 0; early <= 1; early++) {
      unit_t unit = unit_new();
      uint64_t begin = unit_send(&unit, 1);
      udx__packet_at(unit.stream, 0)->timeouts = UDX_TIMEOUTS_MAX;
      unit_sent_at(&unit, 0, begin + 10 * UDX_SECOND);
      unit.state->flow.heard_at = begin + 10 * UDX_SECOND + heard;
      uint64_t at = begin + UDX_GIVE_UP_FACTOR * (uint64_t) UDX_SECOND - UDX_MS + heard * UDX_RETURN_GRACE - early;
      udx__instance(unit.udx)->now = at;
      CHECK_EQ(udx__recovery_timeout(unit.stream, at), early);
      CHECK_EQ(unit.pair->side[0].closed, !early);
      unit_free(&unit);
    }
  }
}

/* A peer that has answered the last repetition, and keeps its window closed, is alive: the time starts anew. */
TEST(a_peer_without_room_is_alive) {
  for (uint64_t heard = 0; heard <= 1; heard++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 1), repeated = begin + 12 * UDX_SECOND;
    udx__packet_at(unit.stream, 0)->timeouts = UDX_TIMEOUTS_MAX;
    unit_sent_at(&unit, 0, repeated);
    unit.state->flow.peer_window = 0;
    unit.state->flow.heard_at = repeated + heard;
    for (uint64_t at = begin + 14 * UDX_SECOND; at < repeated + heard + 12 * UDX_SECOND; at += 5 * UDX_SECOND) {
      udx__instance(unit.udx)->now = at;
      CHECK_EQ(udx__recovery_timeout(unit.stream, at), heard);
      if (!heard) break;
      CHECK_EQ(unit.state->recovery.stalled_since, repeated + heard);
      unit_sent_at(&unit, 0, repeated + 1);
      unit.state->recovery.rto_at = at + 5 * UDX_SECOND;
    }
    CHECK_EQ(unit.pair->side[0].closed, !heard);
    unit_free(&unit);
  }
}

/* A long timeout repeats more rarely, and ends the stream after 15 s, or after four timeouts if that is longer. */
TEST(gives_up_sooner_than_thirteen_long_timeouts) {
  static const struct {
    uint32_t rto, end, timeouts;
  } cases[] = {{250, 13000, 8}, {1000, 13000, 6}, {1100, 14300, 6}, {1200, 15000, 6}, {2000, 15000, 4},
    {3750, 15000, 2}, {5000, 20000, 2}, {10000, 40000, 2}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    unit_t unit = unit_new();
    unit.state->rtt.rto = cases[i].rto * MS;
    uint64_t begin = unit_send(&unit, 1), at = 0;
    int fired = 0;
    for (; fired < 20 && !unit.pair->side[0].closed; fired++) {
      at = unit.state->recovery.rto_at;
      udx__instance(unit.udx)->now = at;
      if (!udx__recovery_timeout(unit.stream, at)) break;
    }
    CHECK_EQ(unit.pair->side[0].close_status, UV_ETIMEDOUT);
    CHECK_EQ((at - begin) / MS, cases[i].end);
    CHECK_EQ(fired, cases[i].timeouts);
    unit_free(&unit);
  }
}

/* The acknowledgement of a packet that was given up and not sent again proves the timeout spurious (RFC 5682). */
TEST(spurious_timeout_is_undone) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 8);
  unit.stream->cwnd = 50;
  CHECK_EQ(udx__recovery_timeout(unit.stream, begin + UDX_RTO_INITIAL), 1);
  CHECK_EQ(unit.state->recovery.frto, UDX_FRTO_PENDING);
  CHECK_EQ(unit.state->flight.lost.count, 8);
  CHECK_EQ(unit.stream->cwnd, UDX_CWND_MIN);
  unit_ack(&unit, begin + UDX_RTO_INITIAL + 1, 1, 0, 0);
  CHECK_EQ(unit.state->recovery.frto, UDX_FRTO_NONE);
  CHECK_EQ(unit.state->recovery.state, UDX_RECOVERY_OPEN);
  CHECK_EQ(unit.state->flight.lost.count, 0);
  CHECK_EQ(unit.state->flight.flying.count, 7);
  CHECK_EQ(unit.stream->cwnd, 50);
  CHECK_EQ(unit.state->rtt.rto_min, 2 * UDX_RTO_MIN);
  unit_free(&unit);
}

/* After an outage one repetition brings the acknowledgement of all that had arrived before: their age is no sample. */
TEST(age_is_no_round_trip) {
  for (int fresh = 0; fresh < 2; fresh++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 6);
    unit_ack(&unit, begin + 20 * MS, 1, 0, 0);
    uint64_t repeated = begin + 8 * UDX_SECOND;
    udx__packet_at(unit.stream, 1)->transmits = 2;
    unit_sent_at(&unit, 1, repeated);
    unit_sent_at(&unit, 5, fresh ? repeated + 5 * MS : repeated);
    unit_ack(&unit, repeated + 25 * MS, 6, 0, 0);
    /* unless something newer is among it that left only once */
    CHECK_EQ(unit.state->rtt.latest, 20 * MS);
    CHECK_EQ(unit.state->rtt.var, fresh ? 7500 : 10 * MS);
    CHECK_EQ(unit.state->recovery.tlp_sampled, 1);
    unit_free(&unit);
  }
}

/* With the probe of a hole goes what left two round trips and the silence before it, to the microsecond. */
TEST(a_silent_tail_is_lost_with_its_hole) {
  for (uint32_t early = 0; early <= 1; early++) {
    unit_t unit = unit_new();
    uint64_t begin = spaced(&unit, 6);
    unit_ack(&unit, begin + 11 * MS, 0, 3, 4);
    CHECK_EQ(udx__recovery_timeout(unit.stream, begin + 12 * MS), 1);
    unit_flush(&unit);
    CHECK_EQ(unit.state->flight.flying.count, 5);
    uint64_t silence = 2 * unit.state->rtt.srtt + UDX_SILENCE;
    unit.state->recovery.tlp_at = begin + 4 * MS + silence - early;
    CHECK(unit.state->recovery.tlp_at < unit.state->recovery.rto_at);
    CHECK_EQ(udx__recovery_timeout(unit.stream, unit.state->recovery.tlp_at), 1);
    CHECK_EQ(udx__packet_at(unit.stream, 0)->state, UDX_PACKET_LOST);
    CHECK_EQ(udx__packet_at(unit.stream, 4)->state, early ? UDX_PACKET_FLYING : UDX_PACKET_LOST);
    CHECK_EQ(udx__packet_at(unit.stream, 5)->state, UDX_PACKET_FLYING);
    unit_free(&unit);
  }
}

/* What the old path has lost does not shrink the first window of the new one. */
TEST(losses_of_a_former_path_do_not_count) {
  for (int reroute = 0; reroute <= 1; reroute++) {
    unit_t unit = unit_new();
    struct sockaddr_in to = sim_address4(unit.pair->side[1].node, 5003);
    (void) unit_send(&unit, UDX_CWND_INITIAL);
    int err =
      reroute ? udx_stream_reroute(unit.stream) : udx_stream_migrate(unit.stream, unit.socket, (struct sockaddr *) &to);
    CHECK_EQ(err, 0);
    unit_flush(&unit);
    CHECK_EQ(unit.stream->retransmit_count, UDX_CWND_INITIAL);
    unit_ack(&unit, udx__instance(unit.udx)->now + 20 * UDX_MS, UDX_CWND_INITIAL / 2, 0, 0);
    udx__stream_settle(unit.stream);
    CHECK_EQ(unit.stream->cwnd, UDX_CWND_INITIAL + UDX_CWND_INITIAL / 2);
    unit_free(&unit);
  }
}

TEST_MAIN(TEST_ENTRY(rack_waits_for_the_reordering_window), TEST_ENTRY(three_reported_packets_need_no_window),
  TEST_ENTRY(rack_orders_a_batch_by_seq), TEST_ENTRY(lost_probes_start_no_recovery), TEST_ENTRY(needless_repairs),
  TEST_ENTRY(only_originals_show_reordering), TEST_ENTRY(a_timeout_leaves_the_latest),
  TEST_ENTRY(tail_loss_probe_timer), TEST_ENTRY(tail_loss_probe_repeats), TEST_ENTRY(timeouts_back_off),
  TEST_ENTRY(gives_up_sooner_than_thirteen_long_timeouts), TEST_ENTRY(gives_up_after_thirteen_seconds),
  TEST_ENTRY(a_peer_that_was_heard_has_its_grace), TEST_ENTRY(a_peer_without_room_is_alive),
  TEST_ENTRY(spurious_timeout_is_undone), TEST_ENTRY(age_is_no_round_trip),
  TEST_ENTRY(a_silent_tail_is_lost_with_its_hole), TEST_ENTRY(losses_of_a_former_path_do_not_count))
