/* The libuv driver: two instances on one loop, real sockets on 127.0.0.1 and ::1. */
#include "test.h"
#include "udx.h"

typedef struct end_s {
  udx_t udx;
  udx_socket_t socket;
  udx_stream_t stream;
  uint64_t received;
  uint64_t hash;
  int eof, closed, finalized, socket_closed, idle, status;
} end_t;

static uint8_t *payload;
static size_t payload_size;

static uint64_t
hash_bytes (uint64_t hash, const void *data, size_t length) {
  const uint8_t *bytes = data;
  for (size_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

static void
on_idle (udx_t *udx) {
  ((end_t *) udx->data)->idle++;
}

static void
on_socket_close (udx_socket_t *socket) {
  ((end_t *) socket->data)->socket_closed++;
}

static void
on_close (udx_stream_t *stream, int status) {
  end_t *end = stream->data;
  end->closed++;
  end->status = status;
  CHECK_EQ(udx_socket_close(&end->socket), 0);
}

static void
on_finalize (udx_stream_t *stream) {
  ((end_t *) stream->data)->finalized++;
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  end_t *end = stream->data;
  if (length == UV_EOF) {
    end->eof++;
    return;
  }
  end->received += (uint64_t) length;
  end->hash = hash_bytes(end->hash, buf->base, (size_t) length);
}

static int acks;
static size_t acked_bytes;

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  CHECK_EQ(status, 0);
  acks++;
  acked_bytes += req->bytes_acked;
  free(req);
}

static void
end_open (end_t *end, uv_loop_t *loop, uint32_t id, const struct sockaddr *bind_to) {
  memset(end, 0, sizeof(*end));
  end->hash = 0xcbf29ce484222325u;
  end->udx.data = end->socket.data = end->stream.data = end;
  CHECK_EQ(udx_init(loop, &end->udx, on_idle), 0);
  CHECK_EQ(udx_socket_init(&end->udx, &end->socket, on_socket_close), 0);
  CHECK_EQ(udx_socket_bind(&end->socket, bind_to, 0), 0);
  CHECK_EQ(udx_stream_init(&end->udx, &end->stream, id, on_close, on_finalize), 0);
  CHECK_EQ(udx_stream_read_start(&end->stream, on_read), 0);
}

static void
write_end (end_t *end, size_t length) {
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init((char *) payload, (unsigned int) length);
  CHECK(udx_stream_write_end(req, &end->stream, &buf, length > 0, on_ack) >= 0);
}

static void
transfer (const char *address, size_t bytes) {
  uv_loop_t loop;
  CHECK_EQ(uv_loop_init(&loop), 0);
  struct sockaddr_storage bind_to;
  memset(&bind_to, 0, sizeof(bind_to));
  if (strchr(address, ':') != NULL) uv_ip6_addr(address, 0, (struct sockaddr_in6 *) &bind_to);
  else uv_ip4_addr(address, 0, (struct sockaddr_in *) &bind_to);

  payload_size = bytes;
  payload = malloc(bytes + 1);
  for (size_t i = 0; i < bytes; i++) payload[i] = (uint8_t) (i * 2654435761u >> 13);
  acks = 0;
  acked_bytes = 0;

  end_t *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));
  end_open(a, &loop, 1, (struct sockaddr *) &bind_to);
  end_open(b, &loop, 2, (struct sockaddr *) &bind_to);
  CHECK_EQ(a->stream.recv_rwnd_max, b->stream.send_rwnd);
  CHECK_EQ(udx_stream_set_rwnd_max(&b->stream, 3 << 20), 0);
  CHECK_EQ(b->stream.recv_rwnd_max, 3 << 20);
  /* known, or unknown, for the instance and its one socket alike */
  CHECK_EQ(a->udx.packets_dropped_by_kernel, a->socket.packets_dropped_by_kernel);
  struct sockaddr_storage name;
  int length = sizeof(name);
  CHECK_EQ(udx_socket_getsockname(&b->socket, (struct sockaddr *) &name, &length), 0);
  CHECK_EQ(udx_stream_connect(&a->stream, &a->socket, 2, (struct sockaddr *) &name), 0);
  length = sizeof(name);
  CHECK_EQ(udx_socket_getsockname(&a->socket, (struct sockaddr *) &name, &length), 0);
  CHECK_EQ(udx_stream_connect(&b->stream, &b->socket, 1, (struct sockaddr *) &name), 0);
  write_end(a, bytes);
  write_end(b, 0);
  CHECK_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);

  CHECK_EQ(b->received, bytes);
  CHECK(b->hash == hash_bytes(0xcbf29ce484222325u, payload, bytes));
  CHECK_EQ(acks, 2);
  CHECK_EQ(acked_bytes, bytes);
  CHECK_EQ(a->stream.dropped_sacks, 0);
  CHECK_EQ(b->udx.packets_dropped_by_kernel, b->socket.packets_dropped_by_kernel);
  if (bytes > 1000000) {
    /* what the peer's last packet offered, and what the last sample and the pacing were */
    CHECK(a->stream.send_rwnd > 0 && a->stream.send_rwnd <= 3 << 20);
    CHECK(a->stream.pacing_bytes_per_ms > 0);
    CHECK(a->stream.rate_delivered > 0 && a->stream.rate_interval_ms > 0);
  }
  for (int i = 0; i < 2; i++) {
    end_t *end = i ? b : a;
    CHECK_EQ(end->eof, 1);
    CHECK_EQ(end->closed, 1);
    CHECK_EQ(end->status, 0);
    CHECK_EQ(end->finalized, 1);
    CHECK_EQ(end->socket_closed, 1);
    CHECK_EQ(end->idle, 1);
  }
  printf("  %zu bytes to %s: %llu packets, %u retransmitted, mtu %u\n", bytes, address,
    (unsigned long long) a->udx.packets_tx, a->stream.retransmit_count, a->stream.mtu);
  free(a);
  free(b);
  free(payload);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST(ipv4) {
  transfer("127.0.0.1", 0);
  transfer("127.0.0.1", 5);
  transfer("127.0.0.1", 50000000);
}

TEST(ipv6) {
  struct sockaddr_in6 loopback6;
  CHECK_EQ(uv_ip6_addr("::1", 0, &loopback6), 0);
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *) &loopback6, sizeof(loopback6)) == 0;
  if (fd >= 0) close(fd);
  if (has_ipv6) transfer("::1", 10000000);
  else printf("  skipped: this machine has no address ::1\n");
}

static void
connect_to (end_t *from, end_t *to) {
  struct sockaddr_storage name;
  int length = sizeof(name);
  CHECK_EQ(udx_socket_getsockname(&to->socket, (struct sockaddr *) &name, &length), 0);
  CHECK_EQ(udx_stream_connect(&from->stream, &from->socket, to->stream.local_id, (struct sockaddr *) &name), 0);
}

/* UDX-77: the two halves of a relay may belong to different instances of one loop. */
TEST(relay_across_instances) {
  uv_loop_t loop;
  CHECK_EQ(uv_loop_init(&loop), 0);
  struct sockaddr_storage bind_to;
  memset(&bind_to, 0, sizeof(bind_to));
  uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &bind_to);
  payload_size = 1000000;
  payload = calloc(1, payload_size);
  acks = 0;
  end_t *end[4]; /* end[0] <-> end[1] = relay = end[2] <-> end[3] */
  for (uint32_t i = 0; i < 4; i++) end_open(end[i] = malloc(sizeof(end_t)), &loop, i + 1, (struct sockaddr *) &bind_to);
  for (int i = 0; i < 4; i++) connect_to(end[i], end[i ^ 1]);
  CHECK_EQ(udx_stream_relay_to(&end[1]->stream, &end[2]->stream), 0);
  CHECK_EQ(udx_stream_relay_to(&end[2]->stream, &end[1]->stream), 0);
  write_end(end[0], payload_size);
  write_end(end[3], 0);
  while (!(end[0]->closed && end[3]->closed)) CHECK(uv_run(&loop, UV_RUN_ONCE) != 0);
  CHECK_EQ(end[3]->received, payload_size);
  CHECK_EQ(end[0]->status, 0);
  CHECK_EQ(end[3]->status, 0);
  udx_stream_destroy(&end[1]->stream);
  CHECK_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);
  for (int i = 0; i < 4; i++) {
    CHECK_EQ(end[i]->finalized, 1);
    free(end[i]);
  }
  free(payload);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

static void
on_close_only (udx_stream_t *stream, int status) {
  (void) status;
  ((end_t *) stream->data)->closed++;
}

static void
on_finalize_destroy_next (udx_stream_t *stream) {
  end_t *end = stream->data;
  end->finalized++;
  if (end[1].udx.loop != NULL) udx_stream_destroy(&end[1].stream);
}

/* UDX-45: streams destroyed when another is finalized, one after the other, with nothing else to wake the loop. */
TEST(destroy_in_finalize) {
  enum { CHAIN = 12 };
  uv_loop_t loop;
  CHECK_EQ(uv_loop_init(&loop), 0);
  udx_t udx;
  memset(&udx, 0, sizeof(udx));
  CHECK_EQ(udx_init(&loop, &udx, NULL), 0);
  end_t *end = calloc(CHAIN + 1, sizeof(*end));
  for (uint32_t i = 0; i < CHAIN; i++) {
    end[i].udx.loop = &loop; /* marks the members of the chain */
    end[i].stream.data = &end[i];
    CHECK_EQ(udx_stream_init(&udx, &end[i].stream, i + 1, on_close_only, on_finalize_destroy_next), 0);
  }
  udx_stream_destroy(&end[0].stream);
  CHECK_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);
  for (int i = 0; i < CHAIN; i++) {
    CHECK_EQ(end[i].closed, 1);
    CHECK_EQ(end[i].finalized, 1);
  }
  CHECK(udx_is_idle(&udx));
  free(end);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST_MAIN(TEST_ENTRY(ipv4), TEST_ENTRY(ipv6), TEST_ENTRY(relay_across_instances), TEST_ENTRY(destroy_in_finalize))
