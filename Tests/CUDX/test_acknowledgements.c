/* When an acknowledgement leaves: what answers a packet in the same turn carries it. */
#include "engine/instance.h"
#include "unit.h"

/* Packets `first` to `first + count - 1`, each of one byte, in one batch of the driver. */
static void
arrive (unit_t *unit, uint32_t first, uint32_t count) {
  static uint8_t bytes[8][UDX_HEADER_SIZE + 1];
  udx_received_t batch[8];
  struct sockaddr_in from = sim_address4(unit->pair->side[1].node, 5002);
  CHECK(count <= 8);
  memset(batch, 0, sizeof(batch));
  for (uint32_t i = 0; i < count; i++) {
    udx_header_t header = {.type = UDX_HEADER_DATA, .id = 1, .window = UDX_WINDOW_DEFAULT, .seq = first + i};
    udx__header_encode(bytes[i], &header);
    batch[i].data = bytes[i];
    batch[i].length = sizeof(bytes[i]);
    batch[i].from = (const struct sockaddr *) &from;
  }
  udx_driver_receive(unit->socket, batch, count);
}

/* What has left since the last call: datagrams, and acknowledgements among them. */
static void
check_left (unit_t *unit, uint64_t packets, uint64_t acks) {
  static uint64_t seen_packets, seen_acks;
  if (packets != UINT64_MAX) {
    CHECK_EQ(unit->udx->packets_tx - seen_packets, packets);
    CHECK_EQ(unit->udx->acks_tx - seen_acks, acks);
  }
  seen_packets = unit->udx->packets_tx;
  seen_acks = unit->udx->acks_tx;
}

static unit_t
quiet (void) {
  unit_t unit = unit_new();
  check_left(&unit, UINT64_MAX, 0);
  return unit;
}

TEST(an_answer_of_the_same_turn_carries_it) {
  unit_t unit = quiet();
  arrive(&unit, 0, 1);
  check_left(&unit, 0, 0);
  unit_write(&unit, 100);
  unit_flush(&unit);
  check_left(&unit, 1, 0);
  CHECK(!unit.state->ack.owed);
  unit_free(&unit);
}

TEST(one_without_an_answer_leaves_at_the_end_of_the_turn) {
  unit_t unit = quiet();
  for (uint32_t turn = 0; turn < 3; turn++) {
    arrive(&unit, turn, 1);
    check_left(&unit, 0, 0);
    unit_flush(&unit);
    check_left(&unit, 1, 1);
  }
  unit_flush(&unit);
  check_left(&unit, 0, 0);
  unit_free(&unit);
}

/* The simulator runs the end of a turn only when the engine has asked for it. */
TEST(the_end_of_the_turn_is_asked_for) {
  unit_t unit = quiet();
  arrive(&unit, 0, 1);
  CHECK(unit.pair->side[0].node->flush_pending);
  sim_run(unit.pair->sim, 0);
  check_left(&unit, 1, 1);
  unit_free(&unit);
}

TEST(two_packets_are_acknowledged_at_once) {
  unit_t unit = quiet();
  arrive(&unit, 0, 2);
  check_left(&unit, 1, 1);
  /* one after the other in one turn */
  arrive(&unit, 2, 1);
  check_left(&unit, 0, 0);
  arrive(&unit, 3, 1);
  check_left(&unit, 1, 1);
  unit_flush(&unit);
  check_left(&unit, 0, 0);
  unit_free(&unit);
}

TEST(gaps_are_told_at_once) {
  unit_t unit = quiet();
  arrive(&unit, 1, 1);
  check_left(&unit, 1, 1);
  arrive(&unit, 0, 1);
  unit_flush(&unit);
  check_left(&unit, 1, 1);
  arrive(&unit, 2, 1);
  unit_flush(&unit);
  check_left(&unit, 1, 1);
  unit_free(&unit);
}

/* A socket whose acknowledgements wait has them sent before it closes, or not at all: nothing is left behind. */
TEST(a_stream_that_ends_meanwhile_takes_it_along) {
  unit_t unit = quiet();
  arrive(&unit, 0, 1);
  check_left(&unit, 0, 0);
  CHECK_EQ(udx_stream_destroy(unit.stream), 1);
  unit_flush(&unit);
  CHECK(udx__list_empty(&udx__instance(unit.udx)->late));
  unit_free(&unit);
}

TEST_MAIN(TEST_ENTRY(an_answer_of_the_same_turn_carries_it),
  TEST_ENTRY(one_without_an_answer_leaves_at_the_end_of_the_turn), TEST_ENTRY(the_end_of_the_turn_is_asked_for),
  TEST_ENTRY(two_packets_are_acknowledged_at_once), TEST_ENTRY(gaps_are_told_at_once),
  TEST_ENTRY(a_stream_that_ends_meanwhile_takes_it_along))
