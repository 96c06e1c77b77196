#include "program.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/stream.h"
#include "engine/wire.h"

#define STREAMS 4
#define SOCKETS 2
#define REQUESTS 64

#define REQUIRE(x) \
  do { \
    if (!(x)) { \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
      abort(); \
    } \
  } while (0)

typedef struct request_s {
  udx_stream_write_t *write;
  udx_stream_send_t message;
  udx_socket_send_t datagram;
  int pending;
} request_t;

typedef struct slot_s {
  udx_stream_t stream;
  int used; /* between init and finalize */
  int closes;
} slot_t;

static udx_t udx;
static udx_socket_t sockets[SOCKETS];
static int socket_state[SOCKETS]; /* 0 unused, 1 open, 2 closing */
static slot_t slots[STREAMS];
static request_t requests[REQUESTS];
static uint64_t now;
static int deferred;
static int blocked;
static uint64_t sent_bytes;
static uint64_t random_state;
static const uint8_t *input;
static size_t left;
static uint8_t pattern[70000];

static uint8_t
next_u8 (void) {
  if (left == 0) return 0;
  left--;
  return *input++;
}

static uint32_t
next_u32 (void) {
  uint32_t v = next_u8();
  v |= (uint32_t) next_u8() << 8;
  v |= (uint32_t) next_u8() << 16;
  return v | (uint32_t) next_u8() << 24;
}

/* ---- driver ---- */

static uint64_t
driver_now (udx_t *u) {
  (void) u;
  return now;
}

static int
driver_random (udx_t *u, void *bytes, size_t length) {
  (void) u;
  for (size_t i = 0; i < length; i++) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    ((uint8_t *) bytes)[i] = (uint8_t) (random_state >> 56);
  }
  return 0;
}

static void
driver_arm (udx_t *u, uint64_t deadline) {
  (void) u;
  (void) deadline;
}

static void
driver_defer (udx_t *u) {
  (void) u;
  REQUIRE(!deferred);
  deferred = 1;
}

static int
driver_open (udx_t *u, udx_socket_t *socket) {
  (void) u;
  (void) socket;
  return 0;
}

static int
driver_bind (udx_t *u, udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags) {
  (void) u;
  (void) socket;
  (void) addr;
  (void) flags;
  return 0;
}

static void
driver_close (udx_t *u, udx_socket_t *socket) {
  (void) u;
  socket_state[socket - sockets] = 2;
}

static int
driver_name (udx_t *u, udx_socket_t *socket, struct sockaddr *name, int *name_len) {
  (void) u;
  (void) socket;
  (void) name;
  (void) name_len;
  return UV_ENOTSUP;
}

static int
driver_option (udx_t *u, udx_socket_t *socket, udx_option_t option, bool set, int *value) {
  (void) u;
  (void) socket;
  (void) option;
  (void) set;
  (void) value;
  return 0;
}

static unsigned int
driver_transmit (udx_t *u, udx_socket_t *socket, const udx_datagram_t *datagrams, unsigned int count) {
  (void) u;
  REQUIRE(socket_state[socket - sockets] == 1);
  static uint8_t scratch[70000];
  for (unsigned int i = 0; i < count; i++) {
    if (blocked && i >= (unsigned int) blocked - 1) return i;
    size_t at = 0;
    if (i > 0) REQUIRE(datagrams[i].bufs == datagrams[i - 1].bufs + datagrams[i - 1].bufs_len);
    for (uint32_t b = 0; b < datagrams[i].bufs_len; b++) {
      REQUIRE(at + datagrams[i].bufs[b].len <= sizeof(scratch));
      /* reading everything lets the sanitizer see stale pointers */
      if (datagrams[i].bufs[b].len > 0) memcpy(scratch + at, datagrams[i].bufs[b].base, datagrams[i].bufs[b].len);
      at += datagrams[i].bufs[b].len;
    }
    REQUIRE(at == datagrams[i].length);
    sent_bytes += at;
  }
  return count;
}

static const udx_driver_t driver = {
  .size = sizeof(udx_driver_t),
  .now = driver_now,
  .random = driver_random,
  .arm = driver_arm,
  .defer = driver_defer,
  .socket_open = driver_open,
  .socket_bind = driver_bind,
  .socket_close = driver_close,
  .socket_name = driver_name,
  .socket_option = driver_option,
  .transmit = driver_transmit,
};

/* ---- callbacks: some of them act, as the input says ---- */

static void operate (int depth);

static int callback_depth;

static void
maybe_act (void) {
  if (callback_depth > 2 || left == 0) return;
  if (next_u8() % 8 != 0) return;
  callback_depth++;
  operate(1);
  callback_depth--;
}

static void
on_stream_close (udx_stream_t *stream, int status) {
  slot_t *slot = (slot_t *) stream;
  REQUIRE(slot->used && slot->closes == 0);
  REQUIRE(status == 0 || status == UV_ECONNRESET || status == UV_ETIMEDOUT);
  slot->closes++;
  maybe_act();
}

static void
on_stream_finalize (udx_stream_t *stream) {
  slot_t *slot = (slot_t *) stream;
  REQUIRE(slot->used && slot->closes == 1);
  slot->used = 0;
  /* the caller frees it here */
  memset(&slot->stream, 0xee, sizeof(slot->stream));
}

static void
on_socket_closed (udx_socket_t *socket) {
  socket_state[socket - sockets] = 0;
  memset(socket, 0xee, sizeof(*socket));
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  REQUIRE(((slot_t *) stream)->closes == 0);
  REQUIRE(length == UV_EOF || (length >= 0 && (size_t) length == buf->len));
  volatile char sum = 0;
  for (ssize_t i = 0; i < length; i++) sum = (char) (sum + buf->base[i]);
  maybe_act();
}

static void
on_message (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) stream;
  REQUIRE(length >= 0 && (size_t) length == buf->len);
  maybe_act();
}

static void
on_socket_message (udx_socket_t *socket, ssize_t length, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) socket;
  REQUIRE(length >= 0 && (size_t) length == buf->len);
  REQUIRE(from->sa_family == AF_INET || from->sa_family == AF_INET6);
  maybe_act();
}

static int
on_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  (void) stream;
  (void) socket;
  (void) from;
  maybe_act();
  return left > 0 && *input % 4 == 0;
}

static void
on_drain (udx_stream_t *stream) {
  (void) stream;
  maybe_act();
}

static void
on_changed (udx_stream_t *stream) {
  (void) stream;
  maybe_act();
}

static void
on_write (udx_stream_write_t *req, int status, int unordered) {
  request_t *request = req->data;
  REQUIRE(request->pending == 1);
  REQUIRE(status == 0 || (status == UV_ECANCELED && !unordered));
  request->pending = 0;
  free(req);
  request->write = NULL;
  maybe_act();
}

static void
on_message_sent (udx_stream_send_t *req, int status) {
  request_t *request = req->data;
  REQUIRE(request->pending == 2);
  REQUIRE(status == 0 || status == UV_ECANCELED);
  request->pending = 0;
  maybe_act();
}

static void
on_datagram_sent (udx_socket_send_t *req, int status) {
  request_t *request = req->data;
  REQUIRE(request->pending == 3);
  REQUIRE(status == 0 || status == UV_ECANCELED);
  request->pending = 0;
  maybe_act();
}

/* ---- the books ---- */

static void
check_stream (udx_stream_t *stream) {
  if (stream->status & UDX_STREAM_CLOSED) {
    REQUIRE(udx__stream(stream)->flight.ring == NULL && udx__stream(stream)->queue.head == NULL && udx__stream(stream)->reorder.count == 0 && udx__stream(stream)->timer_index == 0);
    return;
  }
  uint32_t flying = 0, lost = 0, acked = 0;
  size_t bytes = 0, unacked = 0, end = udx__stream(stream)->queue.end_unsent;
  for (uint32_t seq = udx__stream(stream)->flight.una; seq != udx__stream(stream)->flight.nxt && udx__stream(stream)->flight.ring != NULL; seq++) {
    const udx_packet_t *packet = udx__packet_at(stream, seq);
    if (packet->state == UDX_PACKET_FLYING) {
      flying++;
      bytes += (size_t) packet->length + UDX_HEADER_SIZE;
    }
    if (packet->state == UDX_PACKET_LOST) lost++;
    if (packet->state == UDX_PACKET_ACKED) acked++;
    if (packet->state != UDX_PACKET_ACKED) {
      unacked += packet->length;
      if (packet->type & UDX_HEADER_END) end = 1;
    }
  }
  if (udx__stream(stream)->relay_to == NULL) REQUIRE(flying + lost + acked == udx__flight_span(stream));
  REQUIRE(flying == udx__stream(stream)->flight.flying.count && lost == udx__stream(stream)->flight.lost.count && acked == udx__stream(stream)->flight.sacked_count);
  REQUIRE(bytes == stream->inflight);
  REQUIRE(unacked == udx__stream(stream)->queue.unacked);
  REQUIRE(stream->cwnd >= 1 && stream->cwnd <= UDX_CWND_MAX);

  size_t total = 0;
  for (udx_stream_write_t *req = udx__stream(stream)->queue.head; req != NULL; req = udx__write(req)->next) {
    REQUIRE(udx__write(req)->acked <= udx__write(req)->size);
    total += udx__write(req)->size - udx__write(req)->acked;
  }
  REQUIRE(total == udx__stream(stream)->queue.unsent + udx__stream(stream)->queue.unacked + end);

  uint32_t nodes = 0;
  for (uint32_t i = 0; i < udx__stream(stream)->reorder.count; i++) {
    const udx_reorder_run_t *run = &udx__stream(stream)->reorder.runs[i];
    REQUIRE(udx__seq_before(run->start, run->end));
    if (i > 0) REQUIRE(udx__seq_before(udx__stream(stream)->reorder.runs[i - 1].end, run->start));
    uint32_t count = 0;
    for (udx_reorder_node_t *node = run->head; node != NULL; node = node->next) count++;
    REQUIRE(count == run->end - run->start);
    nodes += count;
  }
  REQUIRE(nodes == udx__stream(stream)->reorder.nodes);
}

static void
check (void) {
  for (int i = 0; i < STREAMS; i++) {
    if (slots[i].used) check_stream(&slots[i].stream);
  }
  for (uint32_t i = 1; i < udx__instance(&udx)->timers.count; i++) {
    REQUIRE(udx__stream(udx__instance(&udx)->timers.entries[(i - 1) / 2])->timer_key <= udx__stream(udx__instance(&udx)->timers.entries[i])->timer_key);
  }
}

/* ---- operations ---- */

static void
address (struct sockaddr_storage *to) {
  memset(to, 0, sizeof(*to));
  uint8_t which = next_u8();
  if (which % 8 == 7) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) to;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(which);
    v6->sin6_addr.s6_addr[15] = 1;
    if (which % 16 == 15) {
      memset(v6->sin6_addr.s6_addr, 0, 10);
      v6->sin6_addr.s6_addr[10] = v6->sin6_addr.s6_addr[11] = 0xff;
    }
    return;
  }
  struct sockaddr_in *v4 = (struct sockaddr_in *) to;
  v4->sin_family = AF_INET;
  v4->sin_port = htons((uint16_t) (which % 4));
  v4->sin_addr.s_addr = htonl(0x7f000001);
}

static request_t *
free_request (void) {
  for (int i = 0; i < REQUESTS; i++) {
    if (requests[i].pending == 0) return &requests[i];
  }
  return NULL;
}

static void
receive (udx_socket_t *socket, const uint8_t *data, size_t length, size_t segment) {
  uint8_t *copy = malloc(length + 1); /* exact size: an overrun is seen */
  if (copy == NULL) abort();
  copy = realloc(copy, length > 0 ? length : 1);
  if (length > 0) memcpy(copy, data, length);
  struct sockaddr_storage from;
  address(&from);
  udx_received_t received = {.data = copy, .length = length, .segment_size = segment, .from = (struct sockaddr *) &from};
  udx_driver_receive(socket, &received, 1);
  free(copy);
}

/* `inside` a callback: nothing that a driver must not do there. */
static void
operate (int inside) {
  uint8_t op = next_u8();
  slot_t *slot = &slots[next_u8() % STREAMS];
  udx_stream_t *stream = &slot->stream;
  int s = (op >> 6) % SOCKETS;
  udx_socket_t *socket = &sockets[s];
  switch (op % 22) {
  case 0: /* raw datagram */
  case 1: {
    if (inside || socket_state[s] != 1) break;
    size_t length = next_u8();
    if (op % 22 == 1) length *= 17;
    if (length > left) length = left;
    const uint8_t *data = input;
    input += length;
    left -= length;
    receive(socket, data, length, op & 32 ? 24 : 0);
    break;
  }
  case 2: /* plausible packet */
  case 3:
  case 4:
  case 5: {
    if (inside || socket_state[s] != 1) break;
    uint8_t packet[UDX_HEADER_SIZE + 512] = {0};
    uint8_t type = next_u8(), offset = next_u8();
    int8_t seq = (int8_t) next_u8(), ack = (int8_t) next_u8();
    uint8_t shape = next_u8();
    udx_header_t header = {
      .type = type,
      .data_offset = shape & 1 ? offset : 0,
      .id = (uint32_t) (slot - slots) + 1,
      .window = shape & 2 ? next_u32() : UDX_WINDOW_DEFAULT,
      .seq = (slot->used ? udx__stream(stream)->ack.next : 0) + (uint32_t) (int32_t) (shape & 4 ? seq : seq % 4),
      .ack = slot->used ? (shape & 8 ? udx__stream(stream)->flight.nxt : udx__stream(stream)->flight.una) + (uint32_t) (int32_t) ack : 0,
    };
    udx__header_encode(packet, &header);
    size_t length = shape & 16 ? 16 * (size_t) (next_u8() % 32) : next_u8() % 64;
    size_t at = UDX_HEADER_SIZE;
    if (type & UDX_HEADER_SACK) {
      for (size_t k = 0; k < 6 && at + 8 <= UDX_HEADER_SIZE + length; k++, at += 8) {
        uint32_t start = (slot->used ? udx__stream(stream)->flight.una : 0) + next_u8() % 32;
        udx__put_u32(packet + at, start);
        udx__put_u32(packet + at + 4, start + next_u8() % 8);
      }
    }
    receive(socket, packet, UDX_HEADER_SIZE + length, 0);
    break;
  }
  case 6: /* time */
    if (inside) break;
    now += (uint64_t) next_u8() * (op & 32 ? 100000 : 300);
    udx_driver_tick(&udx);
    break;
  case 7:
    if (inside) break;
    if (deferred) {
      deferred = 0;
      udx_driver_flush(&udx);
    }
    break;
  case 8: { /* write */
    request_t *request = free_request();
    if (!slot->used || request == NULL) break;
    unsigned int count = 1 + next_u8() % 12;
    request->write = malloc((size_t) udx_stream_write_sizeof((int) count));
    if (request->write == NULL) abort();
    request->write->data = request;
    uv_buf_t bufs[12];
    for (unsigned int i = 0; i < count; i++) {
      size_t length = next_u8();
      if (length % 5 == 4) length *= 200;
      bufs[i] = uv_buf_init((char *) pattern, (unsigned int) length);
    }
    request->pending = 1;
    int r = op & 32 ? udx_stream_write_end(request->write, stream, bufs, count - (count > 4), on_write)
                    : udx_stream_write(request->write, stream, bufs, count, on_write);
    if (r < 0) {
      request->pending = 0;
      free(request->write);
      request->write = NULL;
    }
    break;
  }
  case 9: { /* message */
    request_t *request = free_request();
    if (!slot->used || request == NULL) break;
    request->message.data = request;
    request->pending = 2;
    uv_buf_t buf = uv_buf_init((char *) pattern, next_u8());
    if (udx_stream_send(&request->message, stream, &buf, 1, on_message_sent) < 0) request->pending = 0;
    break;
  }
  case 10: { /* socket message */
    request_t *request = free_request();
    if (socket_state[s] != 1 || request == NULL) break;
    request->datagram.data = request;
    request->pending = 3;
    uv_buf_t buf = uv_buf_init((char *) pattern, next_u8());
    struct sockaddr_storage to;
    address(&to);
    if (udx_socket_send_ttl(&request->datagram, socket, &buf, 1, (struct sockaddr *) &to, next_u8(), on_datagram_sent) < 0) request->pending = 0;
    break;
  }
  case 11: /* open and connect */
    if (!slot->used) {
      slot->closes = 0;
      if (udx_stream_init(&udx, stream, (uint32_t) (slot - slots) + 1, on_stream_close, on_stream_finalize) < 0) break;
      slot->used = 1;
      if (op & 32) {
        udx_stream_set_seq(stream, next_u32());
        udx_stream_set_ack(stream, next_u32());
      }
      udx_stream_read_start(stream, on_read);
      udx_stream_recv_start(stream, on_message);
      udx_stream_write_resume(stream, on_drain);
      if (next_u8() % 2) udx_stream_firewall(stream, on_firewall);
      break;
    }
    /* fall through */
  case 12:
    if (slot->used && socket_state[s] == 1) {
      struct sockaddr_storage to;
      address(&to);
      (void) udx_stream_connect(stream, socket, next_u8(), (struct sockaddr *) &to);
    }
    break;
  case 13:
    if (slot->used) (void) udx_stream_destroy(stream);
    break;
  case 14:
    if (!slot->used) break;
    if (op & 32) (void) udx_stream_read_stop(stream);
    else (void) udx_stream_read_start(stream, on_read);
    break;
  case 15:
    if (slot->used && socket_state[s] == 1) {
      struct sockaddr_storage to;
      address(&to);
      (void) udx_stream_change_remote(stream, socket, next_u8(), (struct sockaddr *) &to, on_changed);
    }
    break;
  case 16: {
    slot_t *other = &slots[next_u8() % STREAMS];
    if (slot->used && other->used) (void) udx_stream_relay_to(stream, &other->stream);
    break;
  }
  case 17:
    blocked = next_u8() % 8;
    if (!inside && !blocked && socket_state[s] == 1) udx_driver_writable(socket);
    break;
  case 18:
    if (socket_state[s] == 1 && next_u8() % 4 == 0) (void) udx_socket_close(socket);
    break;
  case 19:
    if (!inside && socket_state[s] == 2) udx_driver_socket_closed(socket);
    if (socket_state[s] == 0 && udx_socket_init(&udx, socket, on_socket_closed) == 0) {
      socket_state[s] = 1;
      (void) udx_socket_recv_start(socket, on_socket_message);
      struct sockaddr_storage any;
      memset(&any, 0, sizeof(any));
      any.ss_family = s ? AF_INET6 : AF_INET;
      (void) udx_socket_bind(socket, (struct sockaddr *) &any, 0);
    }
    break;
  case 20:
    if (slot->used) (void) udx_stream_set_keepalive(stream, next_u8());
    break;
  case 21:
    if (slot->used) {
      (void) udx_stream_set_rwnd_max(stream, next_u8() * 300u);
      (void) udx_stream_window_changed(stream);
      if (op & 32) (void) udx_stream_set_congestion(stream, next_u8() % 3);
    }
    break;
  }
}

void
program_run (const uint8_t *data, size_t size) {
  input = data;
  left = size;
  now = 1000000;
  deferred = 0;
  blocked = 0;
  sent_bytes = 0;
  random_state = 1;
  callback_depth = 0;
  memset(&udx, 0, sizeof(udx));
  memset(socket_state, 0, sizeof(socket_state));
  memset(slots, 0, sizeof(slots));
  REQUIRE(udx_init_with_driver(&udx, &driver, NULL, NULL) == 0);
  for (int i = 0; i < SOCKETS; i++) {
    REQUIRE(udx_socket_init(&udx, &sockets[i], on_socket_closed) == 0);
    socket_state[i] = 1;
    struct sockaddr_storage any;
    memset(&any, 0, sizeof(any));
    any.ss_family = i ? AF_INET6 : AF_INET;
    REQUIRE(udx_socket_bind(&sockets[i], (struct sockaddr *) &any, 0) == 0);
    REQUIRE(udx_socket_recv_start(&sockets[i], on_socket_message) == 0);
  }
  while (left > 0) {
    operate(0);
    check();
  }
  blocked = 0;
  udx_teardown(&udx);
  for (int round = 0; round < 100 && !udx_is_idle(&udx); round++) {
    if (deferred) {
      deferred = 0;
      udx_driver_flush(&udx);
    }
    for (int i = 0; i < SOCKETS; i++) {
      if (socket_state[i] == 2) udx_driver_socket_closed(&sockets[i]);
    }
  }
  REQUIRE(udx_is_idle(&udx));
  for (int i = 0; i < STREAMS; i++) REQUIRE(!slots[i].used);
  for (int i = 0; i < REQUESTS; i++) REQUIRE(requests[i].pending == 0);
}
