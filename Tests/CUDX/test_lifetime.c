/* What a callback may free while packets that refer to it wait in the batch. */
#include "engine/stream.h"
#include "sim/sim.h"
#include "test.h"

#define PAYLOAD 700

typedef struct victim_s {
  udx_stream_t stream;
  udx_stream_write_t *req;
  char *payload;
  int cancelled;
  int finalized;
} victim_t;

static sim_node_t *nodes[2];
static udx_socket_t sockets[2];
static victim_t *victim;
static int victims_destroyed;
static int foreign_bytes;

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_victim_finalize (udx_stream_t *stream) {
  victim_t *v = (victim_t *) stream;
  memset(v, 0xdd, sizeof(*v));
  free(v);
  victim = NULL;
}

static void
on_victim_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  victim_t *v = (victim_t *) req->stream;
  CHECK_EQ(status, UV_ECANCELED);
  v->cancelled++;
  /* the write is over: its buffer is the application's again */
  memset(v->payload, 0xdd, PAYLOAD);
  free(v->payload);
  free(req);
}

static void
on_dead_close (udx_stream_t *stream, int status) {
  (void) stream;
  CHECK_EQ(status, UV_ETIMEDOUT);
  if (victim == NULL) return;
  victims_destroyed++;
  udx_stream_destroy(&victim->stream);
}

static sim_verdict_t
no_foreign_bytes (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) ctx;
  if (datagram->length == UDX_HEADER_SIZE + PAYLOAD) {
    for (size_t i = UDX_HEADER_SIZE; i < datagram->length; i++) foreign_bytes += datagram->data[i] != 0x41;
  }
  return SIM_PASS;
}

static void
ignore_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) req;
  (void) status;
  (void) unordered;
}

static void
ignore_close (udx_stream_t *stream, int status) {
  (void) stream;
  (void) status;
}

static udx_stream_t dead[2], peer;
static union {
  udx_stream_write_t req;
  char room[256];
} dead_write[2], first_write;

/*
 * In one tick a stream's tail loss probe is put into the batch and another stream gives up; its close
 * callback destroys the first one, which frees the probe's payload before the batch leaves.
 */
TEST(a_probe_in_the_batch_of_a_stream_that_is_destroyed) {
  sim_t *sim = sim_new(1);
  sim_link_t link = sim_link_default();
  link.latency = 10000;
  for (int i = 0; i < 2; i++) {
    nodes[i] = sim_node(sim);
    struct sockaddr_in any = sim_address4(nodes[i], (uint16_t) (5001 + i));
    CHECK_EQ(udx_socket_init(&nodes[i]->udx, &sockets[i], on_socket_close), 0);
    CHECK_EQ(udx_socket_bind(&sockets[i], (struct sockaddr *) &any, 0), 0);
  }
  sim_connect(nodes[0], nodes[1], &link);
  sim_set_tap(sim, no_foreign_bytes, NULL);
  struct sockaddr_in from = sim_address4(nodes[0], 5001), to = sim_address4(nodes[1], 5002);

  /* these get no answer: they give up 13 s after their only write; the first one only shuffles the timer heap */
  uv_buf_t one = uv_buf_init("x", 1);
  uint64_t begin = sim_now(sim);
  for (uint32_t i = 0; i < 2; i++) {
    CHECK_EQ(udx_stream_init(&nodes[0]->udx, &dead[i], 10 + i, i == 0 ? ignore_close : on_dead_close, NULL), 0);
    CHECK_EQ(udx_stream_connect(&dead[i], &sockets[0], 99, (struct sockaddr *) &to), 0);
    CHECK(udx_stream_write(&dead_write[i].req, &dead[i], &one, 1, ignore_ack) >= 0);
  }

  /* this one has measured a round trip when the path breaks */
  victim = calloc(1, sizeof(*victim));
  CHECK_EQ(udx_stream_init(&nodes[0]->udx, &victim->stream, 2, NULL, on_victim_finalize), 0);
  CHECK_EQ(udx_stream_connect(&victim->stream, &sockets[0], 3, (struct sockaddr *) &to), 0);
  CHECK_EQ(udx_stream_init(&nodes[1]->udx, &peer, 3, ignore_close, NULL), 0);
  CHECK_EQ(udx_stream_connect(&peer, &sockets[1], 2, (struct sockaddr *) &from), 0);
  CHECK(udx_stream_write(&first_write.req, &victim->stream, &one, 1, ignore_ack) >= 0);
  sim_run(sim, 1000000);
  CHECK(udx__stream(&victim->stream)->rtt.srtt > 0);
  sim_link(nodes[0], nodes[1])->down = true;

  /* its probe is due exactly when the other one gives up */
  uint64_t write_at = begin + 13000000 - (2 * (uint64_t) udx__stream(&victim->stream)->rtt.srtt + 2000);
  sim_run(sim, write_at - sim_now(sim));
  victim->payload = malloc(PAYLOAD);
  memset(victim->payload, 0x41, PAYLOAD);
  victim->req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init(victim->payload, PAYLOAD);
  CHECK(udx_stream_write(victim->req, &victim->stream, &buf, 1, on_victim_ack) >= 0);
  sim_run(sim, 1000000);
  CHECK(victim == NULL);
  CHECK_EQ(victims_destroyed, 1);
  CHECK_EQ(foreign_bytes, 0);

  udx_stream_destroy(&peer);
  sim_run(sim, 1000000);
  udx_socket_close(&sockets[0]);
  udx_socket_close(&sockets[1]);
  CHECK(sim_drain(sim, 60000000));
  sim_free(sim);
}

TEST_MAIN(TEST_ENTRY(a_probe_in_the_batch_of_a_stream_that_is_destroyed))
