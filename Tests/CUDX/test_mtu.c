/* Path MTU discovery (engine/mtu.c), its states, and the limits of validation (engine/path_validation.c). */
#include "engine/mtu.h"
#include "engine/path_validation.h"
#include "unit.h"

static udx_packet_t
full_packet (unit_t *unit) {
  udx_packet_t packet;
  memset(&packet, 0, sizeof(packet));
  packet.type = UDX_HEADER_DATA;
  packet.length = (uint16_t) udx__mtu_payload(unit->stream);
  return packet;
}

static void
acked (unit_t *unit, udx_packet_t *packet, uint64_t now) {
  packet->state = UDX_PACKET_ACKED;
  udx__mtu_acked(unit->stream, packet, now);
}

static void
lost (unit_t *unit, udx_packet_t *packet, uint64_t now) {
  packet->state = UDX_PACKET_LOST;
  udx__mtu_lost(unit->stream, packet, now);
}

TEST(search_up_to_the_maximum) {
  unit_t unit = unit_new();
  udx_mtu_search_t *search = &unit.state->search;
  udx_packet_t packet = full_packet(&unit);
  CHECK_EQ(search->state, UDX_MTU_STATE_BASE);
  udx__mtu_probe(unit.stream, &packet);
  CHECK_EQ(packet.is_probe, 0); /* not before something is acknowledged */
  acked(&unit, &packet, 1);
  CHECK_EQ(search->state, UDX_MTU_STATE_SEARCH);
  uint16_t size = UDX_MTU_BASE;
  while (size < UDX_MTU_MAX) {
    uint16_t next = search->probe_size;
    packet = full_packet(&unit);
    udx__mtu_probe(unit.stream, &packet);
    CHECK_EQ(packet.is_probe, 1);
    CHECK_EQ(packet.padding, next - unit.stream->mtu);
    udx_packet_t second = full_packet(&unit);
    udx__mtu_probe(unit.stream, &second);
    CHECK_EQ(second.is_probe, 0); /* one at a time */
    acked(&unit, &packet, 1);
    CHECK_EQ(unit.stream->mtu, next);
    size = next;
    CHECK_EQ(search->probe_size,
      size < UDX_MTU_MAX ? (size + UDX_MTU_STEP < UDX_MTU_MAX ? size + UDX_MTU_STEP : UDX_MTU_MAX) : size);
  }
  CHECK_EQ(search->state, UDX_MTU_STATE_COMPLETE);
  CHECK_EQ(search->raise_at, UDX_NEVER); /* nothing to raise */
  unit_free(&unit);
}

TEST(search_ends_after_three_losses) {
  unit_t unit = unit_new();
  udx_mtu_search_t *search = &unit.state->search;
  udx_packet_t packet = full_packet(&unit);
  acked(&unit, &packet, 1);
  for (int i = 1; i <= UDX_MTU_PROBES; i++) {
    CHECK_EQ(search->state, UDX_MTU_STATE_SEARCH);
    packet = full_packet(&unit);
    udx__mtu_probe(unit.stream, &packet);
    CHECK_EQ(packet.is_probe, 1);
    lost(&unit, &packet, 100);
    CHECK_EQ(packet.padding, 0);
  }
  CHECK_EQ(search->state, UDX_MTU_STATE_COMPLETE);
  CHECK_EQ(unit.stream->mtu, UDX_MTU_BASE);
  CHECK_EQ(search->raise_at, 100 + UDX_MTU_RAISE_TIME);
  packet = full_packet(&unit);
  acked(&unit, &packet, 99 + UDX_MTU_RAISE_TIME);
  CHECK_EQ(search->state, UDX_MTU_STATE_COMPLETE);
  acked(&unit, &packet, 100 + UDX_MTU_RAISE_TIME);
  CHECK_EQ(search->state, UDX_MTU_STATE_SEARCH);
  CHECK_EQ(search->probe_size, UDX_MTU_BASE + UDX_MTU_STEP);
  unit_free(&unit);
}

/* A probe is padded by at most 255 bytes. */
TEST(padding_is_one_byte) {
  for (int more = 0; more <= 1; more++) {
    unit_t unit = unit_new();
    udx_packet_t packet = full_packet(&unit);
    acked(&unit, &packet, 1);
    packet = full_packet(&unit);
    packet.length = (uint16_t) (unit.state->search.probe_size - UDX_OVERHEAD_V4 - UDX_PADDING_MAX - more);
    udx__mtu_probe(unit.stream, &packet);
    CHECK_EQ(packet.is_probe, !more);
    CHECK_EQ(packet.padding, more ? 0 : UDX_PADDING_MAX);
    unit_free(&unit);
  }
}

TEST(black_hole_at_the_third_timeout) {
  unit_t unit = unit_new();
  unit.stream->mtu = 1400;
  unit.state->search.state = UDX_MTU_STATE_COMPLETE;
  udx_packet_t packet = full_packet(&unit);
  udx_packet_t small = packet;
  small.length = UDX_MTU_MIN - UDX_OVERHEAD_V4;
  for (int i = 0; i < 5; i++) udx__mtu_timeout(unit.stream, &small); /* of the least size: no sign */
  udx__mtu_timeout(unit.stream, &packet);
  udx__mtu_timeout(unit.stream, &packet);
  CHECK_EQ(unit.stream->mtu, 1400);
  CHECK_EQ(udx__mtu_exceeds(unit.stream, &packet), 0);
  acked(&unit, &packet, 1); /* a large one got through: they are not in a row */
  udx__mtu_timeout(unit.stream, &packet);
  udx__mtu_timeout(unit.stream, &packet);
  CHECK_EQ(unit.stream->mtu, 1400);
  udx__mtu_timeout(unit.stream, &packet);
  CHECK_EQ(unit.stream->mtu, UDX_MTU_BASE);
  CHECK_EQ(unit.state->search.state, UDX_MTU_STATE_SEARCH);
  CHECK_EQ(udx__mtu_exceeds(unit.stream, &packet), 1);
  CHECK_EQ(udx__mtu_exceeds(unit.stream, &small), 0);
  unit_free(&unit);
}

/* Every timeout of a packet above the least size counts until one as large arrives. */
TEST(base_is_a_black_hole) {
  unit_t unit = unit_new();
  udx_mtu_search_t *search = &unit.state->search;
  udx_packet_t packet = full_packet(&unit), larger = packet, small = packet;
  larger.length += 100; /* built when the size was larger: may be fragmented, and proves nothing */
  small.length = UDX_MTU_MIN;
  for (int i = 1; i < UDX_MTU_BLACK_HOLE; i++) udx__mtu_timeout(unit.stream, &packet);
  for (int i = 0; i < 5; i++) udx__mtu_timeout(unit.stream, &larger);
  CHECK_EQ(unit.stream->mtu, UDX_MTU_BASE);
  acked(&unit, &packet, 1);
  for (int i = 1; i < UDX_MTU_BLACK_HOLE; i++) udx__mtu_timeout(unit.stream, &packet);
  CHECK_EQ(unit.stream->mtu, UDX_MTU_BASE);
  acked(&unit, &larger, 1);
  acked(&unit, &small, 1);
  udx__mtu_timeout(unit.stream, &packet);
  CHECK_EQ(unit.stream->mtu, UDX_MTU_MIN);
  CHECK_EQ(search->state, UDX_MTU_STATE_SEARCH);
  CHECK_EQ(search->probe_size, UDX_MTU_MIN + UDX_PADDING_MAX);
  CHECK_EQ(udx__mtu_exceeds(unit.stream, &packet), 1);
  for (int i = 0; i < 10; i++) udx__mtu_timeout(unit.stream, &small);
  CHECK_EQ(unit.stream->mtu, UDX_MTU_MIN);
  unit_free(&unit);
}

/* The way back up from the least size: coarse steps, halved where probes are lost, over the base without a stop. */
TEST(search_from_the_least_size) {
  for (int path = UDX_MTU_MIN; path <= UDX_MTU_MAX; path++) {
    unit_t unit = unit_new();
    udx_mtu_search_t *search = &unit.state->search;
    unit.state->search.state = UDX_MTU_STATE_SEARCH;
    udx_packet_t packet = full_packet(&unit);
    for (int i = 0; i < UDX_MTU_BLACK_HOLE; i++) udx__mtu_timeout(unit.stream, &packet);
    int probes = 0;
    while (search->state == UDX_MTU_STATE_SEARCH) {
      packet = full_packet(&unit);
      udx__mtu_probe(unit.stream, &packet);
      CHECK_EQ(packet.is_probe, 1);
      if (packet.length + packet.padding + UDX_OVERHEAD_V4 <= path) acked(&unit, &packet, 1);
      else lost(&unit, &packet, 1);
      CHECK(++probes < 40);
    }
    CHECK(unit.stream->mtu <= path);
    CHECK(unit.stream->mtu + UDX_MTU_STEP > path || unit.stream->mtu == UDX_MTU_MAX);
    CHECK_EQ(search->proven, unit.stream->mtu);
    unit_free(&unit);
  }
}

/* A base that was only assumed is given up when its own probes are lost. */
TEST(lost_probes_of_the_base) {
  unit_t unit = unit_new();
  udx_packet_t packet = full_packet(&unit), small = packet;
  small.length = 100;
  acked(&unit, &small, 1);
  for (int i = 0; i < UDX_MTU_PROBES; i++) {
    CHECK_EQ(unit.stream->mtu, UDX_MTU_BASE);
    packet = full_packet(&unit);
    udx__mtu_probe(unit.stream, &packet);
    CHECK_EQ(packet.is_probe, 1);
    lost(&unit, &packet, 1);
  }
  CHECK_EQ(unit.stream->mtu, UDX_MTU_MIN);
  CHECK_EQ(udx__mtu_ranges(unit.stream), (UDX_MTU_MIN - UDX_OVERHEAD_V4) / 8);
  unit_free(&unit);
}

TEST(overhead_by_family) {
  unit_t unit = unit_new();
  CHECK_EQ(udx__mtu_payload(unit.stream), UDX_MTU_BASE - 48);
  unit.state->remote.any.sa_family = AF_INET6;
  CHECK_EQ(udx__mtu_payload(unit.stream), UDX_MTU_BASE - 68);
  unit.state->remote.any.sa_family = AF_INET;
  unit_free(&unit);
}

/* ---- path validation ---- */

TEST(amplification_limit) {
  unit_t unit = unit_new();
  udx_path_validation_t *validation = &unit.state->validation;
  uint32_t begin = unit.state->flight.nxt;
  udx__path_validation_begin(unit.stream);
  CHECK_EQ(validation->limit_from, begin);
  (void) unit_send(&unit, UDX_AMPLIFICATION_PACKETS - 1);
  CHECK_EQ(udx__amplification_limited(unit.stream), 0);
  (void) unit_send(&unit, 1);
  CHECK_EQ(udx__amplification_limited(unit.stream), 1);

  /* acknowledged from elsewhere: as many again, then not before the interval is over */
  uint64_t now = 1000000;
  validation->other_source = 1;
  udx__path_validation_acked(unit.stream, now);
  CHECK_EQ(validation->pending, 1);
  CHECK_EQ(udx__amplification_limited(unit.stream), 0);
  CHECK_EQ(validation->limit_from, unit.state->flight.nxt);
  CHECK_EQ(validation->next_at, now + UDX_AMPLIFICATION_INTERVAL);
  validation->limit_from -= UDX_AMPLIFICATION_PACKETS;
  udx__path_validation_acked(unit.stream, validation->next_at - 1);
  CHECK_EQ(udx__amplification_limited(unit.stream), 1);
  CHECK_EQ(validation->wake_at, validation->next_at);
  udx__path_validation_timeout(unit.stream, validation->wake_at - 1);
  CHECK_EQ(udx__amplification_limited(unit.stream), 1);
  udx__path_validation_timeout(unit.stream, validation->wake_at);
  CHECK_EQ(udx__amplification_limited(unit.stream), 0);
  CHECK_EQ(validation->wake_at, UDX_NEVER);
  validation->limit_from -= UDX_AMPLIFICATION_PACKETS;
  udx__path_validation_acked(unit.stream, validation->next_at);
  CHECK_EQ(udx__amplification_limited(unit.stream), 0);

  /* acknowledged from the remote itself: the path is valid */
  validation->other_source = 0;
  udx__path_validation_acked(unit.stream, now);
  CHECK_EQ(validation->pending, 0);
  unit_free(&unit);
}

TEST_MAIN(TEST_ENTRY(search_up_to_the_maximum), TEST_ENTRY(search_ends_after_three_losses),
  TEST_ENTRY(padding_is_one_byte), TEST_ENTRY(black_hole_at_the_third_timeout), TEST_ENTRY(base_is_a_black_hole),
  TEST_ENTRY(search_from_the_least_size), TEST_ENTRY(lost_probes_of_the_base), TEST_ENTRY(overhead_by_family),
  TEST_ENTRY(amplification_limit))
