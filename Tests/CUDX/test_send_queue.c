/* Writes from call to callback (engine/send_queue.c), and the bounds of every queue on the way out. */
#include "engine/send_queue.h"
#include "engine/transmit_control.h"
#include "unit.h"

static int acks, cancels, order[8];

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  if (status == 0 && acks < 8) order[acks] = (int) (intptr_t) req->data;
  if (status == 0) acks++;
  else cancels++;
  free(req);
}

static udx_stream_write_t *
write_new (int mark, int bufs) {
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(bufs));
  req->data = (void *) (intptr_t) mark;
  return req;
}

static char bytes[] = "abcdefghijklmnopqrstuvwxyz";

/* Three writes of pieces with gaps; packets of 5 bytes; the END mark belongs to the last. */
TEST(cut_gather_credit) {
  unit_t unit = unit_new();
  sim_node_block(unit.pair->side[0].node, true);
  udx_stream_t *stream = unit.stream;
  acks = cancels = 0;
  uv_buf_t one[] = {uv_buf_init(bytes, 3), uv_buf_init(bytes, 0), uv_buf_init(bytes + 3, 4)};
  uv_buf_t two[] = {uv_buf_init(bytes + 7, 1)};
  uv_buf_t three[] = {uv_buf_init(bytes + 8, 4)};
  CHECK_EQ(udx_stream_write(write_new(1, 3), stream, one, 3, on_ack), 1);
  CHECK_EQ(udx_stream_write(write_new(2, 1), stream, two, 1, on_ack), 1);
  CHECK_EQ(udx_stream_write_end(write_new(3, 1), stream, three, 1, on_ack), 1);
  CHECK_EQ(udx_stream_write(NULL, stream, three, 1, on_ack), UV_EPIPE);
  CHECK_EQ(unit.state->queue.unsent, 12);

  udx_packet_t packets[4];
  memset(packets, 0, sizeof(packets));
  static const uint16_t lengths[] = {5, 5, 2};
  uint32_t at = 0;
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(udx__queue_cut(stream, &packets[i], 5), 1);
    CHECK_EQ(packets[i].length, lengths[i]);
    CHECK_EQ(packets[i].type, i < 2 ? UDX_HEADER_DATA : UDX_HEADER_DATA | UDX_HEADER_END);
    uint8_t copy[8];
    udx__queue_copy(&packets[i], copy);
    CHECK(memcmp(copy, bytes + at, lengths[i]) == 0);
    uv_buf_t pieces[4];
    int count = udx__queue_gather(&packets[i], pieces, 4);
    CHECK_EQ(count, i == 0 ? 2 : i == 1 ? 3 : 1);
    CHECK_EQ(udx__queue_gather(&packets[i], pieces, count), count);
    CHECK_EQ(udx__queue_gather(&packets[i], pieces, count - 1), -1);
    at += lengths[i];
  }
  CHECK_EQ(udx__queue_cut(stream, &packets[3], 5), 0);
  CHECK_EQ(unit.state->queue.unacked, 12);

  udx__queue_credit(stream, &packets[1], 1); /* completes the second write only */
  CHECK_EQ(udx__queue_report(stream), 1);
  CHECK_EQ(acks, 1);
  udx__queue_credit(stream, &packets[2], 1); /* the last, with its END */
  CHECK_EQ(udx__queue_report(stream), 1);
  CHECK_EQ(acks, 2);
  udx__queue_credit(stream, &packets[0], 0);
  CHECK_EQ(udx__queue_report(stream), 1);
  CHECK_EQ(acks, 3);
  CHECK(order[0] == 2 && order[1] == 3 && order[2] == 1);
  CHECK(unit.state->queue.head == NULL && unit.state->queue.tail == NULL);
  CHECK_EQ(unit.state->queue.unacked, 0);
  unit_free(&unit);
}

static int drains;

static void
on_drain (udx_stream_t *stream) {
  (void) stream;
  drains++;
}

/* The write that reaches the mark goes on, one byte more waits, and drain comes at the mark again. */
TEST(high_water_mark) {
  unit_t unit = unit_new();
  sim_node_block(unit.pair->side[0].node, true);
  CHECK_EQ(udx_stream_write_resume(unit.stream, on_drain), 0);
  unit.stream->cwnd = 20;
  size_t mark = UDX_WRITE_HIGH_WATER + 20 * udx__mtu_payload(unit.stream);
  CHECK_EQ(udx__queue_high_water(unit.stream), mark);
  unit.state->flow.peer_window = 1000;
  CHECK_EQ(udx__queue_high_water(unit.stream), UDX_WRITE_HIGH_WATER + 1000);
  unit.state->flow.peer_window = UDX_WINDOW_DEFAULT;
  CHECK_EQ(unit_write(&unit, mark), 1);
  CHECK_EQ(unit.state->queue.want_drain, 0);
  CHECK_EQ(unit_write(&unit, 1), 0);
  CHECK_EQ(unit.state->queue.want_drain, 1);
  drains = 0;
  CHECK_EQ(udx__queue_report(unit.stream), 1);
  CHECK_EQ(drains, 0);
  unit.state->queue.unsent--;
  CHECK_EQ(udx__queue_report(unit.stream), 1);
  CHECK_EQ(drains, 1);
  CHECK_EQ(unit.state->queue.want_drain, 0);
  unit.state->queue.unsent++;
  unit_free(&unit);
}

static int sent, cancelled;

static void
on_send (udx_socket_send_t *req, int status) {
  (void) req;
  if (status == 0) sent++;
  if (status == UV_ECANCELED) cancelled++;
}

static void
on_message (udx_stream_send_t *req, int status) {
  (void) req;
  (void) status;
}

/* A full socket takes UDX_SENDS_MAX datagrams and messages together, and UDX_CONTROLS_MAX control packets. */
TEST(socket_queues_are_bounded) {
  unit_t unit = unit_new();
  static udx_socket_send_t sends[UDX_SENDS_MAX + 1];
  static udx_stream_send_t message;
  struct sockaddr_in to = sim_address4(unit.pair->side[1].node, 9);
  uv_buf_t buf = uv_buf_init(bytes, 5);
  sent = cancelled = 0;
  sim_node_block(unit.pair->side[0].node, true);
  for (uint32_t i = 0; i < UDX_SENDS_MAX; i++) {
    CHECK_EQ(udx_socket_send(&sends[i], unit.socket, &buf, 1, (struct sockaddr *) &to, on_send), 0);
  }
  CHECK_EQ(udx_socket_send(&sends[UDX_SENDS_MAX], unit.socket, &buf, 1, (struct sockaddr *) &to, on_send), UV_ENOBUFS);
  CHECK_EQ(udx_stream_send(&message, unit.stream, &buf, 1, on_message), UV_ENOBUFS);
  uint8_t header[UDX_HEADER_SIZE] = {UDX_MAGIC_BYTE, UDX_VERSION};
  for (uint32_t i = 0; i < UDX_CONTROLS_MAX; i++) {
    CHECK_EQ(udx__transmit_control(unit.socket, &unit.state->remote, 0, header), 0);
  }
  CHECK_EQ(udx__transmit_control(unit.socket, &unit.state->remote, 0, header), UV_ENOBUFS);
  CHECK_EQ(udx__socket(unit.socket)->controls_count, UDX_CONTROLS_MAX);
  unit_flush(&unit);
  CHECK_EQ(sent, 0);
  sim_node_block(unit.pair->side[0].node, false);
  sim_run(unit.pair->sim, 100000);
  CHECK_EQ(sent, UDX_SENDS_MAX);
  CHECK_EQ(udx__socket(unit.socket)->sends_count, 0);
  CHECK_EQ(udx__socket(unit.socket)->controls_count, 0);
  unit_free(&unit);
  CHECK_EQ(cancelled, 0);
}

TEST(arguments_and_return_values) {
  unit_t unit = unit_new();
  uv_buf_t buf = uv_buf_init(bytes, 5);
  struct sockaddr_in to = sim_address4(unit.pair->side[1].node, 9);
  static udx_socket_send_t send;
  static udx_stream_send_t message;
  CHECK_EQ(udx_stream_write(NULL, unit.stream, &buf, 0, NULL), UV_EINVAL);
  CHECK_EQ(udx_stream_send(&message, unit.stream, &buf, 0, NULL), UV_EINVAL);
  CHECK_EQ(udx_stream_send(&message, unit.stream, &buf, 2, NULL), UV_EINVAL);
  CHECK_EQ(udx_socket_send(&send, unit.socket, &buf, 0, (struct sockaddr *) &to, NULL), UV_EINVAL);
  CHECK_EQ(udx_socket_send_ttl(&send, unit.socket, &buf, 1, (struct sockaddr *) &to, 256, NULL), UV_EINVAL);
  CHECK_EQ(udx_socket_send_ttl(&send, unit.socket, &buf, 1, (struct sockaddr *) &to, -1, NULL), UV_EINVAL);
  CHECK_EQ(udx_socket_set_ttl(unit.socket, 0), UV_EINVAL);
  CHECK_EQ(udx_socket_set_ttl(unit.socket, 256), UV_EINVAL);
  CHECK_EQ(udx_socket_set_ttl(unit.socket, 255), 0);
  int ttl = 0;
  CHECK_EQ(udx_socket_get_ttl(unit.socket, &ttl), 0);
  CHECK_EQ(ttl, 255);
  CHECK_EQ(udx_socket_close(unit.socket), UV_EBUSY);
  CHECK_EQ(udx_stream_write_sizeof(0), udx_stream_write_sizeof(1));
  CHECK_EQ(udx_stream_write_sizeof(2) - udx_stream_write_sizeof(1), sizeof(uv_buf_t));
  CHECK_EQ(udx_stream_recv_start(unit.stream, NULL), UV_EALREADY);
  CHECK_EQ(udx_stream_read_start(unit.stream, NULL), UV_EALREADY);
  CHECK_EQ(udx_stream_connect(unit.stream, unit.socket, 1, (struct sockaddr *) &to), UV_EISCONN);
  CHECK_EQ(udx_stream_destroy(unit.stream), 1);
  CHECK_EQ(udx_stream_destroy(unit.stream), 0);
  CHECK_EQ(udx_stream_write(NULL, unit.stream, &buf, 1, NULL), UV_ENOTCONN);
  unit_free(&unit);
}

TEST_MAIN(TEST_ENTRY(cut_gather_credit), TEST_ENTRY(high_water_mark), TEST_ENTRY(socket_queues_are_bounded),
  TEST_ENTRY(arguments_and_return_values))
