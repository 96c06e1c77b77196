/* The operations of a program: a byte selects one, the stream slot is the next byte, arguments follow. */
#include "program.h"

#include <arpa/inet.h>

#include "sim/inside.h"

enum { DATAGRAM_MAX = 512 }; /* bytes behind the header of a made-up packet */

static uint8_t
next_u8 (void) {
  return fuzz_byte(&program.input);
}

static uint32_t
next_u32 (void) {
  return fuzz_u32(&program.input);
}

/* What an operation works on; `op` still holds the bits that choose a variant. */
typedef struct {
  uint8_t op;
  bool inside;
  program_slot_t *slot;
  udx_stream_t *stream;
  int socket_index;
  udx_socket_t *socket;
} operation_t;

static bool
socket_is_open (const operation_t *o) {
  return program.socket_state[o->socket_index] == SOCKET_OPEN;
}

static struct sockaddr_storage
next_address (void) {
  struct sockaddr_storage to;
  memset(&to, 0, sizeof(to));
  uint8_t which = next_u8();
  if (which % 8 == 7) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) &to;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(which);
    v6->sin6_addr.s6_addr[15] = 1;
    if (which % 16 == 15) v6->sin6_addr.s6_addr[10] = v6->sin6_addr.s6_addr[11] = 0xff; /* mapped */
    return to;
  }
  struct sockaddr_in *v4 = (struct sockaddr_in *) &to;
  v4->sin_family = AF_INET;
  v4->sin_port = htons((uint16_t) (which % 4));
  v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}

static program_request_t *
free_request (void) {
  for (int i = 0; i < PROGRAM_REQUESTS; i++) {
    if (program.requests[i].pending == REQUEST_FREE) return &program.requests[i];
  }
  return NULL;
}

void
program_socket_open (int index) {
  udx_socket_t *socket = &program.sockets[index];
  struct sockaddr_storage any;
  memset(&any, 0, sizeof(any));
  any.ss_family = index ? AF_INET6 : AF_INET;
  CHECK_EQ(udx_socket_init(&program.node->udx, socket, program_on_socket_closed), 0);
  program.socket_state[index] = SOCKET_OPEN;
  CHECK_EQ(udx_socket_bind(socket, (struct sockaddr *) &any, 0), 0);
  CHECK_EQ(udx_socket_recv_start(socket, program_on_socket_message), 0);
}

/* A batch of one arrives, as a turn of its own, in a block of exactly its size: an overrun is seen. */
static void
receive (const operation_t *o, const uint8_t *data, size_t length, size_t segment) {
  uint8_t *copy = malloc(length > 0 ? length : 1);
  CHECK(copy != NULL);
  if (length > 0) memcpy(copy, data, length);
  struct sockaddr_storage from = next_address();
  udx_received_t received = {
    .data = copy, .length = length, .segment_size = segment, .from = (struct sockaddr *) &from};
  udx_driver_receive(o->socket, &received, 1);
  free(copy);
}

static void
raw_datagram (const operation_t *o, size_t length) {
  if (o->inside || !socket_is_open(o)) return;
  length *= next_u8();
  if (length > program.input.len) length = program.input.len;
  const uint8_t *data = program.input.data;
  program.input.data += length;
  program.input.len -= length;
  receive(o, data, length, o->op & 32 ? 24 : 0);
}

static void
put_u32 (uint8_t *at, uint32_t v) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t) (v >> (8 * i));
}

/* A packet for the slot's stream with seq and ack near what it expects. */
static void
plausible_packet (const operation_t *o) {
  if (o->inside || !socket_is_open(o)) return;
  uint8_t packet[20 + DATAGRAM_MAX] = {0xff, 1};
  uint8_t type = next_u8(), offset = next_u8();
  int8_t seq = (int8_t) next_u8(), ack = (int8_t) next_u8();
  uint8_t shape = next_u8();
  uint32_t expected = 0, sent = 0, una = 0;
  if (o->slot->used) {
    udx_stream_get_ack(o->stream, &expected);
    udx_stream_get_seq(o->stream, &sent);
    una = inside_unacknowledged(o->stream);
  }
  packet[2] = type;
  packet[3] = shape & 1 ? offset : 0;
  put_u32(packet + 4, (uint32_t) (o->slot - program.slots) + 1);
  put_u32(packet + 8, shape & 2 ? next_u32() : 4194304);
  put_u32(packet + 12, expected + (uint32_t) (int32_t) (shape & 4 ? seq : seq % 4));
  put_u32(packet + 16, (shape & 8 ? sent : una) + (uint32_t) (int32_t) ack);
  size_t length = shape & 16 ? 16 * (size_t) (next_u8() % 32) : next_u8() % 64;
  if (type & UDX_HEADER_SACK) {
    for (size_t k = 0, at = 20; k < 6 && at + 8 <= 20 + length; k++, at += 8) {
      uint32_t start = una + next_u8() % 32;
      put_u32(packet + at, start);
      put_u32(packet + at + 4, start + next_u8() % 8);
    }
  }
  receive(o, packet, 20 + length, 0);
}

/* Time passes with its timers, or a tick comes that is not due. */
static void
pass_time (const operation_t *o) {
  if (o->inside) return;
  sim_run(program.sim, (uint64_t) next_u8() * (o->op & 32 ? 100000 : 300));
  udx_driver_tick(&program.node->udx);
}

static void
write_stream (const operation_t *o) {
  program_request_t *request = free_request();
  if (!o->slot->used || request == NULL) return;
  unsigned int count = 1 + next_u8() % 12;
  request->write = malloc((size_t) udx_stream_write_sizeof((int) count));
  CHECK(request->write != NULL);
  request->write->data = request;
  uv_buf_t bufs[12];
  for (unsigned int i = 0; i < count; i++) {
    size_t length = next_u8();
    if (length % 5 == 4) length *= 200;
    bufs[i] = uv_buf_init(program.pattern, (unsigned int) length);
  }
  request->pending = REQUEST_WRITE;
  int r = o->op & 32 ? udx_stream_write_end(request->write, o->stream, bufs, count - (count > 4), program_on_write)
                     : udx_stream_write(request->write, o->stream, bufs, count, program_on_write);
  if (r >= 0) return;
  request->pending = REQUEST_FREE;
  free(request->write);
  request->write = NULL;
}

static void
send_message (const operation_t *o) {
  program_request_t *request = free_request();
  if (!o->slot->used || request == NULL) return;
  request->message.data = request;
  request->pending = REQUEST_MESSAGE;
  uv_buf_t buf = uv_buf_init(program.pattern, next_u8());
  int r = udx_stream_send(&request->message, o->stream, &buf, 1, program_on_message_sent);
  if (r < 0) request->pending = REQUEST_FREE;
}

static void
send_datagram (const operation_t *o) {
  program_request_t *request = free_request();
  if (!socket_is_open(o) || request == NULL) return;
  request->datagram.data = request;
  request->pending = REQUEST_DATAGRAM;
  uv_buf_t buf = uv_buf_init(program.pattern, next_u8());
  struct sockaddr_storage to = next_address();
  int ttl = next_u8();
  int r =
    udx_socket_send_ttl(&request->datagram, o->socket, &buf, 1, (struct sockaddr *) &to, ttl, program_on_datagram_sent);
  if (r < 0) request->pending = REQUEST_FREE;
}

static void
connect_stream (const operation_t *o) {
  if (!o->slot->used || !socket_is_open(o)) return;
  struct sockaddr_storage to = next_address();
  (void) udx_stream_connect(o->stream, o->socket, next_u8(), (struct sockaddr *) &to);
}

static void
open_stream (const operation_t *o) {
  if (o->slot->used) {
    connect_stream(o);
    return;
  }
  o->slot->closes = 0;
  uint32_t id = (uint32_t) (o->slot - program.slots) + 1;
  int r = udx_stream_init(&program.node->udx, o->stream, id, program_on_stream_close, program_on_stream_finalize);
  if (r < 0) return;
  o->slot->used = true;
  if (o->op & 32) {
    udx_stream_set_seq(o->stream, next_u32());
    udx_stream_set_ack(o->stream, next_u32());
  }
  udx_stream_read_start(o->stream, program_on_read);
  udx_stream_recv_start(o->stream, program_on_message);
  udx_stream_write_resume(o->stream, program_on_drain);
  if (next_u8() % 2) udx_stream_firewall(o->stream, program_on_firewall);
}

static void
toggle_reading (const operation_t *o) {
  if (!o->slot->used) return;
  if (o->op & 32) (void) udx_stream_read_stop(o->stream);
  else (void) udx_stream_read_start(o->stream, program_on_read);
}

static void
change_remote (const operation_t *o) {
  if (!o->slot->used || !socket_is_open(o)) return;
  struct sockaddr_storage to = next_address();
  (void) udx_stream_change_remote(o->stream, o->socket, next_u8(), (struct sockaddr *) &to, program_on_changed);
}

static void
relay (const operation_t *o) {
  program_slot_t *other = &program.slots[next_u8() % PROGRAM_STREAMS];
  if (o->slot->used && other->used) (void) udx_stream_relay_to(o->stream, &other->stream);
}

/* The sockets take nothing, one to six datagrams a call, or all. */
static void
throttle (const operation_t *o) {
  unsigned int limit = next_u8() % 8;
  program.node->blocked = limit == 1;
  sim_node_throttle(program.node, limit > 1 ? limit - 1 : 0);
  if (!o->inside) sim_run(program.sim, 0);
}

static void
close_socket (const operation_t *o) {
  if (!socket_is_open(o) || next_u8() % 4 != 0) return;
  if (udx_socket_close(o->socket) == 0) program.socket_state[o->socket_index] = SOCKET_CLOSING;
}

static void
reopen_socket (const operation_t *o) {
  if (!o->inside) sim_run(program.sim, 0); /* a closing socket reports here */
  if (program.socket_state[o->socket_index] == SOCKET_UNUSED) program_socket_open(o->socket_index);
}

static void
set_options (const operation_t *o) {
  if (!o->slot->used) return;
  (void) udx_stream_set_rwnd_max(o->stream, next_u8() * 300u);
  (void) udx_stream_window_changed(o->stream);
  if (o->op & 32) (void) udx_stream_set_congestion(o->stream, next_u8() % 3);
}

void
program_operate (bool inside) {
  operation_t o = {.op = next_u8(), .inside = inside};
  o.slot = &program.slots[next_u8() % PROGRAM_STREAMS];
  o.stream = &o.slot->stream;
  o.socket_index = (o.op >> 6) % PROGRAM_SOCKETS;
  o.socket = &program.sockets[o.socket_index];
  switch (o.op % 22) {
  case 0:
    raw_datagram(&o, 1);
    break;
  case 1:
    raw_datagram(&o, 17);
    break;
  case 2:
  case 3:
  case 4:
  case 5:
    plausible_packet(&o);
    break;
  case 6:
    pass_time(&o);
    break;
  case 7: /* the end of the turn */
    if (!inside) sim_run(program.sim, 0);
    break;
  case 8:
    write_stream(&o);
    break;
  case 9:
    send_message(&o);
    break;
  case 10:
    send_datagram(&o);
    break;
  case 11:
    open_stream(&o);
    break;
  case 12:
    connect_stream(&o);
    break;
  case 13:
    if (o.slot->used) (void) udx_stream_destroy(o.stream);
    break;
  case 14:
    toggle_reading(&o);
    break;
  case 15:
    change_remote(&o);
    break;
  case 16:
    relay(&o);
    break;
  case 17:
    throttle(&o);
    break;
  case 18:
    close_socket(&o);
    break;
  case 19:
    reopen_socket(&o);
    break;
  case 20:
    if (o.slot->used) (void) udx_stream_set_keepalive(o.stream, next_u8());
    break;
  default:
    set_options(&o);
    break;
  }
}
