/* Seeded random scenarios on the simulator: a transfer in both directions over a path with random rate, latency,
   queue, loss of several kinds, reordering, duplication, corruption, an MTU black hole, a change of remote, outages of
   one direction, and readers that pause. Every byte arrives once and in order, or the stream ends with the documented
   error. Everything follows from the seed:
     udx_scenarios [-v] [FIRST [COUNT]]      prints the seed of a failure and exits with 1 */
#include "scenarios.h"
#include "harness/inspect.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID_A 0x80000001u
#define ID_B 0x00000007u
#define PERIOD 1009

typedef struct {
  udx_stream_t stream; /* first */
  sim_node_t *node;
  udx_socket_t socket, second;
  uint64_t to_write, written, received, mismatches;
  bool end_asked, end_sent, paused;
  int eofs, closes, finals, status, remote_changes, cancels;
  uint64_t messages, acks, writes;
} end_t;

static sim_t *sim;
static end_t ends[2];
static uint64_t seed, counted;
static uint8_t pattern[65536 + PERIOD];
static bool verbose, moved;

static void
report (void) {
  plan_describe(stderr, seed);
  for (int i = 0; i < 2; i++) {
    end_t *e = &ends[i];
    fprintf(stderr, "  %c: written %llu received %llu mismatches %llu eofs %d closes %d status %d rto %u at %.3f s\n",
      "ab"[i], (unsigned long long) e -> written, (unsigned long long) e -> received,
      (unsigned long long) e -> mismatches, e -> eofs, e -> closes, e -> status, stream_rto_count(&e->stream),
      (double) (sim_now(sim) - SIM_EPOCH) / 1e6);
  }
}

#define FAIL(what) check_failed(__FILE__, __LINE__, "%s", what)

static void
on_signal (int s) {
  char text[64];
  int n = snprintf(text, sizeof(text), "seed %llu: signal %d\n", (unsigned long long) seed, s);
  (void) !write(2, text, (size_t) n);
  _exit(1);
}

/* ------------------------------------------------------------------ the application */

static void
pump (end_t *e);

static void
on_socket_close (udx_socket_t *s) {
  (void) s;
}

static void
on_close (udx_stream_t *s, int status) {
  end_t *e = (end_t *) s;
  e->closes++;
  e->status = status;
}

static void
on_finalize (udx_stream_t *s) {
  ((end_t *) s)->finals++;
}

static void
on_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf);

static void
resume (sim_t *unused, void *arg) {
  (void) unused;
  end_t *e = arg;
  if (!e->closes) udx_stream_read_start(&e->stream, on_read);
}

static void
on_changed (udx_stream_t *s) {
  ((end_t *) s)->remote_changes++;
}

static struct sockaddr_storage
address_of (int side, uint16_t port) {
  struct sockaddr_storage a;
  memset(&a, 0, sizeof(a));
  if (plan.six) {
    struct sockaddr_in6 x = sim_address6(ends[side].node, port);
    memcpy(&a, &x, sizeof(x));
  } else {
    struct sockaddr_in x = sim_address4(ends[side].node, port);
    memcpy(&a, &x, sizeof(x));
  }
  return a;
}

static void
on_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  end_t *e = (end_t *) s;
  int i = (int) (e - ends);
  if (n < 0) {
    if (n != UV_EOF) FAIL("read error");
    e->eofs++;
    return;
  }
  if (e->eofs) FAIL("data after the end");
  if (memcmp(buf->base, pattern + e->received % PERIOD, (size_t) n) != 0) e->mismatches++;
  e->received += (uint64_t) n;
  if (plan.pause_for[i] && !e->paused && e->received >= plan.pause_at[i]) {
    udx_stream_read_stop(s);
    sim_after(sim, plan.pause_for[i], resume, e);
    e->paused = true;
  }
  if (i == 1 && plan.move_at && !moved && e->received >= plan.move_at && !ends[0].closes) {
    moved = true;
    struct sockaddr_storage to = address_of(1, 6002);
    int r = udx_stream_change_remote(&ends[0].stream, &ends[0].second, ID_B, (struct sockaddr *) &to, on_changed);
    if (r < 0) FAIL("change of remote");
    to = address_of(0, 6001);
    if (random_chance(0.5)) (void) udx_stream_change_remote(s, &e->second, ID_A, (struct sockaddr *) &to, on_changed);
  }
}

static void
on_message (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) n;
  (void) buf;
  ((end_t *) s)->messages++;
}

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  end_t *e = (end_t *) req->stream;
  if (status == 0) e->acks++;
  else if (status == UV_ECANCELED) e->cancels++;
  else FAIL("write status");
  free(req);
}

static void
on_sent (udx_stream_send_t *req, int status) {
  (void) status;
  free(req);
}

static void
on_drain (udx_stream_t *s) {
  pump((end_t *) s);
}

static void
pump (end_t *e) {
  int r = 1;
  while (e->to_write > 0 && r == 1 && !e->closes) {
    size_t n = 1 + (size_t) (random64() % 65536);
    if (n > e->to_write) n = (size_t) e->to_write;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(3));
    uint64_t from = e->written % PERIOD;
    size_t first = n / 3, second = n / 2 - first;
    uv_buf_t bufs[3] = {
      uv_buf_init((char *) pattern + from, (unsigned) first),
      uv_buf_init((char *) pattern + (from + first) % PERIOD, (unsigned) second),
      uv_buf_init((char *) pattern + (from + first + second) % PERIOD, (unsigned) (n - first - second)),
    };
    r = udx_stream_write(req, &e->stream, bufs, 3, on_ack);
    if (r < 0) FAIL("write");
    e->writes++;
    e->written += n;
    e->to_write -= n;
    if (plan.messages && random_chance(0.05)) {
      udx_stream_send_t *send = malloc(sizeof(*send));
      uv_buf_t buf = uv_buf_init((char *) pattern, (unsigned) (random64() % 1000));
      if (udx_stream_send(send, &e->stream, &buf, 1, on_sent) < 0) free(send);
    }
  }
  if (e->to_write == 0 && e->end_asked && !e->end_sent && !e->closes) {
    e->end_sent = true;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    e->writes++;
    if (udx_stream_write_end(req, &e->stream, NULL, 0, on_ack) < 0) FAIL("end");
  }
}

/* ------------------------------------------------------------------ the path */

static sim_verdict_t
tap (sim_t *s, sim_datagram_t *d, void *arg) {
  (void) s;
  (void) arg;
  uint64_t at = sim_now(sim) - SIM_EPOCH;
  if (plan.drop_every && ++counted % plan.drop_every == 0) return SIM_DROP;
  if (plan.black_hole_at && at >= plan.black_hole_at && d->length + (plan.six ? 48 : 28) > plan.black_hole_mtu &&
      !(d->fragment && plan.fragments))
    return SIM_DROP;
  if (plan.outage_for && at >= plan.outage_at && at < plan.outage_at + plan.outage_for &&
      (plan.outage_direction == 2 || d->from_node == ends[plan.outage_direction].node))
    return SIM_DROP;
  return SIM_PASS;
}

static int
finished (void *unused) {
  (void) unused;
  return ends[0].closes && ends[1].closes;
}

static int
one_closed (void *unused) {
  (void) unused;
  return ends[0].closes || ends[1].closes;
}

static void
open_end (int i) {
  end_t *e = &ends[i];
  e->node = sim_node(sim);
  udx_t *udx = &e->node->udx;
  udx_socket_t *sockets[2] = {&e->socket, &e->second};
  for (int k = 0; k < 2; k++) {
    struct sockaddr_storage any;
    memset(&any, 0, sizeof(any));
    uint16_t port = (uint16_t) (5001 + 1000 * k + i);
    if (plan.six) uv_ip6_addr("::", port, (struct sockaddr_in6 *) &any);
    else uv_ip4_addr("0.0.0.0", port, (struct sockaddr_in *) &any);
    CHECK_EQ(udx_socket_init(udx, sockets[k], on_socket_close), 0);
    CHECK_EQ(udx_socket_bind(sockets[k], (struct sockaddr *) &any, 0), 0);
  }
  CHECK_EQ(udx_stream_init(udx, &e->stream, i ? ID_B : ID_A, on_close, on_finalize), 0);
  if (plan.cubic) udx_stream_set_congestion(&e->stream, UDX_CONGESTION_CUBIC);
  if (plan.window) udx_stream_set_rwnd_max(&e->stream, plan.window);
  if (plan.keepalive) udx_stream_set_keepalive(&e->stream, plan.keepalive);
  udx_stream_write_resume(&e->stream, on_drain);
  udx_stream_read_start(&e->stream, on_read);
  udx_stream_recv_start(&e->stream, on_message);
}

static void
open_ends (void) {
  for (int i = 0; i < 2; i++) open_end(i);
  sim_connect(ends[0].node, ends[1].node, &plan.link);
  sim_set_tap(sim, tap, NULL);
  uint32_t wrap = random_chance(0.3) ? 4294967290u : 0;
  for (int i = 0; i < 2; i++) {
    udx_stream_set_seq(&ends[i].stream, wrap);
    udx_stream_set_ack(&ends[i].stream, wrap);
    struct sockaddr_storage to = address_of(1 - i, (uint16_t) (5002 - i));
    CHECK_EQ(udx_stream_connect(&ends[i].stream, &ends[i].socket, i ? ID_A : ID_B, (struct sockaddr *) &to), 0);
  }
}

static void
check_end (int i) {
  end_t *e = &ends[i], *other = &ends[1 - i];
  if (!e->closes) udx_stream_destroy(&e->stream);
  if (plan.corrupt) return;
  if (e->mismatches) FAIL("wrong bytes");
  if (e->received > plan.bytes[1 - i]) FAIL("too many bytes");
  /* the other one gave up, or an outage of 13 s hit just its END: it had all data and takes us for closed */
  bool end_lost = plan.harsh && other->status == 0 && other->eofs && stream_rto_count(&other->stream) > 0;
  bool given_up = other->status == UV_ETIMEDOUT || end_lost;
  if (e->status != 0 && e->status != UV_ETIMEDOUT && !(e->status == UV_ECONNRESET && given_up)) FAIL("close status");
  if (e->status == UV_ETIMEDOUT && !plan.harsh) FAIL("timed out");
  if (ends[0].status == 0 && ends[1].status == 0 && finished(NULL) && e->eofs) {
    if (e->received != plan.bytes[1 - i] || e->eofs != 1) FAIL("incomplete");
    if (e->cancels) FAIL("cancelled writes");
  }
}

static void
close_ends (void) {
  sim_run(sim, 20000000);
  for (int i = 0; i < 2; i++) {
    if (ends[i].closes != 1 || ends[i].finals != 1) FAIL("not closed once");
    if (ends[i].acks + ends[i].cancels != ends[i].writes) FAIL("a write never completed");
    if (udx_socket_close(&ends[i].socket) || udx_socket_close(&ends[i].second)) FAIL("socket close");
  }
  sim_run(sim, 1000000);
  for (int i = 0; i < 2; i++) {
    if (!udx_is_idle(&ends[i].node->udx)) FAIL("instance not idle");
  }
}

static void
scenario (void) {
  random_seed(seed * 7919 + 1);
  counted = 0;
  moved = false;
  memset(ends, 0, sizeof(ends));
  plan_make();
  if (verbose) plan_describe(stdout, seed);
  sim = sim_new(seed);
  check_set_report(report);
  open_ends();
  for (int i = 0; i < 2; i++) {
    ends[i].to_write = plan.bytes[i];
    ends[i].end_asked = true;
    pump(&ends[i]);
  }

  const uint64_t limit = 1800 * (uint64_t) 1000000;
  if (!sim_run_until(sim, finished, NULL, limit)) {
    /* one side gave up and the other one is idle: it cannot know (udx.md 2.8) */
    if (!one_closed(NULL)) FAIL("neither finished nor given up");
    for (int i = 0; i < 2; i++) {
      if (!ends[i].closes && stream_inflight(&ends[i].stream) > 0) FAIL("still sending after half an hour");
    }
    if (!plan.harsh) FAIL("half open");
  }
  for (int i = 0; i < 2; i++) check_end(i);
  close_ends();
  if (verbose) {
    printf("  %llu + %llu bytes, status %d %d, %.1f s\n", (unsigned long long) ends[1].received,
      (unsigned long long) ends[0].received, ends[0].status, ends[1].status, (double) (sim_now(sim) - SIM_EPOCH) / 1e6);
  }
  sim_free(sim);
}

int
main (int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "-v") == 0) {
    verbose = true;
    argv++;
    argc--;
  }
  uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, count = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
  signal(SIGSEGV, on_signal);
  for (size_t i = 0; i < sizeof(pattern); i++) pattern[i] = (uint8_t) (i % PERIOD * 167 + i % PERIOD / 251 * 13 + 1);
  int timeouts = 0;
  uint64_t bytes = 0;
  for (seed = first; seed < first + count; seed++) {
    scenario();
    timeouts += ends[0].status == UV_ETIMEDOUT || ends[1].status == UV_ETIMEDOUT;
    bytes += ends[0].received + ends[1].received;
  }
  printf("%llu scenarios from seed %llu: %.1f MB, %d ended with ETIMEDOUT, 0 failures\n", (unsigned long long) count,
    (unsigned long long) first, (double) bytes / 1e6, timeouts);
  return 0;
}
