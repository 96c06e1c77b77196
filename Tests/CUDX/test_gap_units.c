/* When too large packets of the peer end a stream (engine/flow_control.c), at the edges of each comparison. */
#include "unit.h"

/* Of an IPv4 packet. */
static const size_t headers = UDX_OVERHEAD_V4 - UDX_HEADER_SIZE;

/* A packet of `size` bytes comes `halves` half intervals after the first one that showed a gap. */
static int
gap_packet (unit_t *unit, uint64_t begin, uint32_t halves, size_t size) {
  udx__instance(unit->udx)->now = begin + halves * (UDX_SECOND / 2);
  return udx__flow_gap(unit->stream, size - headers);
}

static unit_t
gap_unit_new (uint64_t *begin) {
  unit_t unit = unit_new();
  unit.state->rtt.rto = UDX_SECOND;
  unit.state->flow.advertised = UDX_WINDOW_DEFAULT;
  *begin = udx__instance(unit.udx)->now;
  return unit;
}

/* The stream gives up when small packets came in so many intervals, no sooner, and so long after the first. */
TEST(a_gap_ends_a_stream_to_the_interval) {
  for (uint32_t missed = 0; missed <= 3; missed++) {
    uint64_t begin;
    unit_t unit = gap_unit_new(&begin);
    CHECK_EQ(gap_packet(&unit, begin, 0, 100), 1);
    for (uint32_t interval = 1 + missed; interval < UDX_GAP_FACTOR; interval++) {
      CHECK_EQ(gap_packet(&unit, begin, 2 * interval, 100), 1);
      CHECK_EQ(gap_packet(&unit, begin, 2 * interval + 1, 100), 1); /* a second one of an interval counts for nothing */
    }
    CHECK_EQ(gap_packet(&unit, begin, 2 * UDX_GAP_FACTOR, 100), missed > UDX_GAP_FACTOR - UDX_GAP_HEARD);
    CHECK_EQ(unit.stream->status & UDX_STREAM_CLOSED ? 1 : 0, missed <= UDX_GAP_FACTOR - UDX_GAP_HEARD);
    unit_free(&unit);
  }
}

/* Whatever comes in order, and a packet of the size that every version sends, begins the time anew. */
TEST(a_gap_begins_anew) {
  for (int large = 0; large <= 1; large++) {
    uint64_t begin;
    unit_t unit = gap_unit_new(&begin);
    for (uint32_t interval = 0; interval < 4 * UDX_GAP_FACTOR; interval++) {
      CHECK_EQ(gap_packet(&unit, begin, 2 * interval, UDX_MTU_BASE - 1), 1);
      if (interval % 5 != 4) continue;
      if (large) CHECK_EQ(gap_packet(&unit, begin, 2 * interval + 1, UDX_MTU_BASE), 1);
      else unit.state->ack.next++;
    }
    unit_free(&unit);
  }
}

/* Sizes are those of IP packets: what comes from an IPv4 host to an IPv6 socket has an IPv4 header, too. */
TEST(a_gap_counts_the_header_that_is_there) {
  static const struct {
    const char *host;
    size_t headers;
  } remotes[] = {{"::ffff:10.0.0.2", 28}, {"2001:db8::2", 48}};
  for (size_t i = 0; i < sizeof(remotes) / sizeof(*remotes); i++) {
    uint64_t begin;
    unit_t unit = gap_unit_new(&begin);
    udx_address_t remote = unit.state->remote;
    CHECK_EQ(uv_ip6_addr(remotes[i].host, 5002, &unit.state->remote.v6), 0);
    CHECK_EQ(udx__flow_gap(unit.stream, 100), 1);
    CHECK_EQ(unit.state->flow.gap_since, begin);
    CHECK_EQ(udx__flow_gap(unit.stream, UDX_MTU_BASE - 1 - remotes[i].headers), 1);
    CHECK_EQ(unit.state->flow.gap_since, begin);
    CHECK_EQ(unit.state->flow.gap_size, UDX_MTU_BASE - 1);
    CHECK_EQ(udx__flow_gap(unit.stream, UDX_MTU_BASE - remotes[i].headers), 1);
    CHECK_EQ(unit.state->flow.gap_since, UDX_NEVER);
    unit.state->remote = remote;
    unit_free(&unit);
  }
}

/* The error comes with the largest packet that got through, of both directions. */
TEST(a_gap_knows_the_largest_packet) {
  static const uint16_t proven[] = {UDX_MTU_MIN, 900, UDX_MTU_BASE - 1, UDX_MTU_BASE, 1400};
  for (size_t i = 0; i < sizeof(proven) / sizeof(*proven); i++) {
    uint64_t begin;
    unit_t unit = gap_unit_new(&begin);
    unit.state->search.proven = proven[i];
    for (uint32_t interval = 0; interval < UDX_GAP_FACTOR; interval++)
      CHECK_EQ(gap_packet(&unit, begin, 2 * interval, interval == 3 ? 1000 : 100 + interval), 1);
    CHECK_EQ(gap_packet(&unit, begin, 2 * UDX_GAP_FACTOR, 200), 0);
    CHECK_EQ(unit.stream->mtu, proven[i] == UDX_MTU_BASE - 1 ? proven[i] : 1000);
    unit_free(&unit);
  }
}

/* What is dropped for want of room here is not missing for its size. */
TEST(packet_without_room_is_no_gap) {
  for (uint32_t room = 0; room <= 1; room++) {
    unit_t unit = unit_new();
    CHECK_EQ(udx_stream_set_reorder_max(unit.stream, room ? 65536 : 1), 0);
    struct sockaddr_in from = sim_address4(unit.pair->side[1].node, 5002);
    udx_header_t header = {.type = UDX_HEADER_DATA, .id = 1, .window = UDX_WINDOW_DEFAULT, .seq = 2};
    uint8_t bytes[UDX_HEADER_SIZE + 1] = {0};
    udx__header_encode(bytes, &header);
    udx__receive_datagram(unit.socket, bytes, sizeof(bytes), (const struct sockaddr *) &from);
    CHECK_EQ(unit.state->reorder.count, room);
    CHECK_EQ(unit.udx->packets_invalid, 1 - room);
    CHECK_EQ(unit.state->flow.gap_since == UDX_NEVER, !room);
    unit_free(&unit);
  }
}

TEST_MAIN(TEST_ENTRY(a_gap_ends_a_stream_to_the_interval), TEST_ENTRY(a_gap_begins_anew),
  TEST_ENTRY(a_gap_counts_the_header_that_is_there), TEST_ENTRY(a_gap_knows_the_largest_packet),
  TEST_ENTRY(packet_without_room_is_no_gap))
