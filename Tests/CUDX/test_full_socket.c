/*
 * What a full socket gives back is as if it had never left: it is owed in the same form, counts nowhere, and takes
 * nothing from what a remote may get that was not heard.
 */
#include "engine/batch.h"
#include "engine/transmit.h"
#include "engine/transmit_control.h"
#include "unit.h"

typedef struct counts_s {
  uint64_t packets, bytes, acks;
} counts_t;

static counts_t
counts (const unit_t *unit) {
  counts_t now = {.packets = unit->udx->packets_tx, .bytes = unit->udx->bytes_tx, .acks = unit->udx->acks_tx};
  CHECK_EQ(unit->socket->packets_tx, now.packets);
  CHECK_EQ(unit->socket->bytes_tx, now.bytes);
  return now;
}

static void
block (unit_t *unit, bool blocked) {
  sim_node_block(unit->pair->side[0].node, blocked);
  if (!blocked) udx_driver_writable(unit->socket);
  unit_flush(unit);
}

enum { ACK, PLAIN, ANSWERED, CONTROL, DATA, KINDS };

static void
owe (unit_t *unit, int kind) {
  uint8_t header[UDX_HEADER_SIZE] = {0};
  if (kind == ACK) udx__owe_ack(unit->stream);
  if (kind == PLAIN) udx__owe_heartbeat(unit->stream, UDX_HEARTBEAT_PLAIN);
  if (kind == ANSWERED) udx__owe_heartbeat(unit->stream, UDX_HEARTBEAT_ANSWERED);
  if (kind == CONTROL) CHECK_EQ(udx__transmit_control(unit->socket, &unit->state->remote, 0, header), 0);
  if (kind == DATA) (void) unit_write(unit, 1);
}

TEST(what_comes_back_counts_once) {
  for (int kind = 0; kind < KINDS; kind++) {
    unit_t unit = unit_new();
    sim_node_t *node = unit.pair->side[0].node;
    CHECK_EQ(udx_stream_limit_unheard(unit.stream), 0);
    counts_t before = counts(&unit);
    uint64_t sent = node->datagrams_sent, packets = unit.stream->packets_tx, bytes = unit.stream->bytes_tx;
    for (int tries = 0; tries < 3; tries++) {
      block(&unit, true);
      udx__socket(unit.socket)->blocked = 0;
      if (tries == 0) owe(&unit, kind);
      udx__mark_dirty(unit.socket);
      unit_flush(&unit);
      CHECK_EQ(udx__socket(unit.socket)->blocked, 1);
      counts_t after = counts(&unit);
      CHECK_EQ(after.packets, before.packets);
      CHECK_EQ(after.bytes, before.bytes);
      CHECK_EQ(after.acks, before.acks);
      CHECK_EQ(unit.stream->packets_tx, packets);
      CHECK_EQ(unit.stream->bytes_tx, bytes);
      CHECK_EQ(unit.state->validation.claimed_left, UDX_CLAIMED_PACKETS);
      CHECK_EQ(unit.state->ack.owed, kind == ACK);
      uint8_t form = kind == PLAIN ? UDX_HEARTBEAT_PLAIN : kind == ANSWERED ? UDX_HEARTBEAT_ANSWERED : 0;
      CHECK_EQ(unit.state->ack.heartbeat, form);
    }
    block(&unit, false);
    counts_t after = counts(&unit);
    uint32_t length = UDX_HEADER_SIZE + (kind == DATA);
    CHECK_EQ(node->datagrams_sent - sent, 1);
    CHECK_EQ(after.packets - before.packets, 1);
    CHECK_EQ(after.bytes - before.bytes, length);
    CHECK_EQ(after.acks - before.acks, kind == ACK);
    CHECK_EQ(unit.stream->packets_tx - packets, kind != CONTROL);
    CHECK_EQ(unit.stream->bytes_tx - bytes, kind == CONTROL ? 0 : length);
    CHECK_EQ(unit.state->validation.claimed_left, UDX_CLAIMED_PACKETS - (kind != CONTROL));
    CHECK_EQ(unit.state->ack.heartbeat, UDX_HEARTBEAT_NONE);
    unit_free(&unit);
  }
}

/* A heartbeat in its plain form does not take the place of one that every version answers. */
TEST(stronger_heartbeat_counts) {
  unit_t unit = unit_new();
  udx__owe_heartbeat(unit.stream, UDX_HEARTBEAT_PLAIN);
  udx__owe_heartbeat(unit.stream, UDX_HEARTBEAT_ANSWERED);
  udx__owe_heartbeat(unit.stream, UDX_HEARTBEAT_PLAIN);
  CHECK_EQ(unit.state->ack.heartbeat, UDX_HEARTBEAT_ANSWERED);
  unit_free(&unit);
}

TEST_MAIN(TEST_ENTRY(what_comes_back_counts_once), TEST_ENTRY(stronger_heartbeat_counts))
