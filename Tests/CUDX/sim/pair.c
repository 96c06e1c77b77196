#include "pair.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

#define PIECE 65536
#define PATTERN_SIZE (PIECE + 251 * 4)

/* byte i of the stream is pattern[i % 1004]: any lost, repeated or moved byte shows */
static uint8_t pattern[PATTERN_SIZE];
#define PATTERN_PERIOD 1004

static void
pattern_init (void) {
  if (pattern[1] != 0) return;
  for (size_t i = 0; i < PATTERN_SIZE; i++) {
    size_t k = i % PATTERN_PERIOD;
    pattern[i] = (uint8_t) (k * 167 + k / 251 * 13 + 1);
  }
}

const uint8_t *
pair_pattern (uint64_t offset) {
  pattern_init();
  return pattern + offset % PATTERN_PERIOD;
}

static pair_side_t *
side_of (udx_stream_t *stream) {
  return stream->data;
}

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_close (udx_stream_t *stream, int status) {
  pair_side_t *side = side_of(stream);
  side->closed++;
  side->close_status = status;
  side->close_time = sim_now(side->pair->sim);
}

static void
on_finalize (udx_stream_t *stream) {
  side_of(stream)->finalized++;
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  pair_side_t *side = side_of(stream);
  if (length == UV_EOF) {
    side->eof++;
    return;
  }
  CHECK(length >= 0);
  if (memcmp(buf->base, pattern + side->received % PATTERN_PERIOD, (size_t) length) != 0) side->mismatches++;
  side->received += (uint64_t) length;
  if (side->on_data != NULL) side->on_data(side);
}

static void
on_message (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) length;
  (void) buf;
  side_of(stream)->messages++;
}

static void
side_pump (pair_side_t *side);

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  pair_side_t *side = side_of(req->stream);
  if (status == 0) side->acked++;
  else side->cancelled++;
  free(req);
}

static void
on_drain (udx_stream_t *stream) {
  pair_side_t *side = side_of(stream);
  side->drained++;
  side_pump(side);
}

static void
side_pump (pair_side_t *side) {
  int more = 1;
  while (side->to_write > 0 && more > 0 && !side->closed) {
    size_t length = side->to_write > PIECE ? PIECE : (size_t) side->to_write;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    CHECK(req != NULL);
    uv_buf_t buf = uv_buf_init((char *) pattern + side->written % PATTERN_PERIOD, (unsigned int) length);
    more = udx_stream_write(req, &side->stream, &buf, 1, on_ack);
    if (more < 0) {
      free(req);
      return;
    }
    side->written += length;
    side->to_write -= length;
  }
  if (side->to_write == 0 && side->end_when_written == 1 && !side->closed) {
    side->end_when_written = 2;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    CHECK(req != NULL);
    if (udx_stream_write_end(req, &side->stream, NULL, 0, on_ack) < 0) free(req);
  }
}

pair_t *
pair_new_unconnected (uint64_t seed, const sim_link_t *link) {
  pattern_init();
  pair_t *pair = calloc(1, sizeof(*pair));
  CHECK(pair != NULL);
  pair->sim = sim_new(seed);
  for (int i = 0; i < 2; i++) {
    pair_side_t *side = &pair->side[i];
    side->pair = pair;
    side->node = sim_node(pair->sim);
    CHECK_EQ(udx_socket_init(&side->node->udx, &side->socket, on_socket_close), 0);
    side->stream.data = side;
    CHECK_EQ(udx_stream_init(&side->node->udx, &side->stream, (uint32_t) i + 1, on_close, on_finalize), 0);
    udx_stream_read_start(&side->stream, on_read);
    udx_stream_recv_start(&side->stream, on_message);
    udx_stream_write_resume(&side->stream, on_drain);
  }
  if (link != NULL) sim_connect(pair->side[0].node, pair->side[1].node, link);
  return pair;
}

void
pair_bind (pair_t *pair) {
  for (int i = 0; i < 2; i++) {
    struct sockaddr_in any;
    memset(&any, 0, sizeof(any));
    any.sin_family = AF_INET;
    any.sin_port = htons((uint16_t) (5001 + i));
    CHECK_EQ(udx_socket_bind(&pair->side[i].socket, (const struct sockaddr *) &any, 0), 0);
  }
}

void
pair_connect (pair_t *pair, int side) {
  struct sockaddr_in to = sim_address4(pair->side[1 - side].node, (uint16_t) (5001 + 1 - side));
  pair_side_t *own = &pair->side[side];
  uint32_t remote_id = (uint32_t) (2 - side);
  CHECK_EQ(udx_stream_connect(&own->stream, &own->socket, remote_id, (const struct sockaddr *) &to), 0);
}

pair_t *
pair_new (uint64_t seed, const sim_link_t *link) {
  pair_t *pair = pair_new_unconnected(seed, link);
  pair_bind(pair);
  pair_connect(pair, 0);
  pair_connect(pair, 1);
  return pair;
}

void
pair_write (pair_t *pair, int side, uint64_t bytes) {
  pair->side[side].to_write += bytes;
  side_pump(&pair->side[side]);
}

void
pair_end (pair_t *pair, int side) {
  pair->side[side].end_when_written = 1;
  side_pump(&pair->side[side]);
}

void
pair_read_start (pair_t *pair, int side) {
  udx_stream_read_start(&pair->side[side].stream, on_read);
}

static int
both_closed (void *ctx) {
  pair_t *pair = ctx;
  return pair->side[0].closed && pair->side[1].closed;
}

int
pair_run_closed (pair_t *pair, uint64_t limit) {
  return sim_run_until(pair->sim, both_closed, pair, limit);
}

typedef struct wait_s {
  pair_side_t *side;
  uint64_t bytes;
} wait_t;

static int
has_received (void *ctx) {
  wait_t *wait = ctx;
  return wait->side->received >= wait->bytes;
}

int
pair_run_received (pair_t *pair, int side, uint64_t bytes, uint64_t limit) {
  wait_t wait = {.side = &pair->side[side], .bytes = bytes};
  return sim_run_until(pair->sim, has_received, &wait, limit);
}

void
pair_free (pair_t *pair) {
  for (int i = 0; i < 2; i++) (void) udx_stream_destroy(&pair->side[i].stream);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(udx_socket_close(&pair->side[i].socket), 0);
  }
  sim_run(pair->sim, 1000);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(pair->side[i].finalized, 1);
    CHECK_EQ(pair->side[i].closed, 1);
  }
  sim_free(pair->sim);
  free(pair);
}
