/* Seeded random scenarios on the simulator: a transfer in both directions over a path with random rate, latency,
   queue, loss of several kinds, reordering, duplication, corruption, an MTU black hole, a change of remote, outages of
   one direction, and readers that pause. Every byte arrives once and in order, or the stream ends with the documented
   error. Everything follows from the seed:
     udx_scenarios [-v] [FIRST [COUNT]]      prints the seed of a failure and exits with 1 */
#define _GNU_SOURCE
#include "sim/sim.h"

#include <arpa/inet.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

typedef struct {
  sim_link_t link;
  uint64_t bytes[2];
  uint64_t pause_at[2], pause_for[2]; /* bytes received, us */
  uint64_t outage_at, outage_for;     /* us */
  int outage_direction;
  uint64_t black_hole_at;             /* us, 0 = none */
  uint32_t black_hole_mtu;
  bool fragments; /* pass it */
  uint64_t move_at;                   /* bytes received by b, 0 = never */
  uint32_t drop_every;                /* periodic loss */
  uint32_t keepalive;
  uint32_t window;
  bool cubic, six, messages;
  bool harsh;                         /* ETIMEDOUT is a fair end */
  bool corrupt;                       /* anything is, as long as it ends */
} plan_t;

static sim_t *sim;
static end_t ends[2];
static plan_t plan;
static uint64_t seed, rng, counted;
static uint8_t pattern[65536 + PERIOD];
static bool verbose, moved;

static uint64_t
random64 (void) {
  rng += 0x9e3779b97f4a7c15u;
  uint64_t z = rng;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static double
uniform (void) {
  return (double) (random64() >> 11) / 9007199254740992.0;
}

static bool
chance (double p) {
  return uniform() < p;
}

static double
log_uniform (double low, double high) {
  return low * pow(high / low, uniform());
}

static void
describe (FILE *f) {
  const sim_link_t *l = &plan.link;
  fprintf(f, "seed %llu: latency %.1f ms jitter %.1f ms rate %.0f kbit/s queue %llu loss %.3f burst %.4f/%.2f dup %.2f "
             "corrupt %.3f reorder %.2f mtu %u@%llu every %u bytes %llu/%llu pause %llu/%llu outage %llu+%llu dir %d "
             "move %llu window %u %s%s%s\n",
    (unsigned long long) seed, (double) l->latency / 1e3, (double) l->jitter / 1e3, (double) l->rate * 8e-3,
    (unsigned long long) l->queue, l->loss, l->burst_begin, l->burst_end, l->duplicate, l->corrupt, l->reorder,
    plan.black_hole_mtu, (unsigned long long) plan.black_hole_at, plan.drop_every, (unsigned long long) plan.bytes[0],
    (unsigned long long) plan.bytes[1], (unsigned long long) plan.pause_for[0], (unsigned long long) plan.pause_for[1],
    (unsigned long long) plan.outage_at, (unsigned long long) plan.outage_for, plan.outage_direction,
    (unsigned long long) plan.move_at, plan.window, plan.cubic ? "cubic " : "", plan.six ? "ipv6 " : "",
    plan.harsh ? "harsh" : "");
}

_Noreturn static void
fail (const char *what) {
  printf("FAIL %s\n", what);
  describe(stdout);
  for (int i = 0; i < 2; i++) {
    end_t *e = &ends[i];
    printf("  %c: written %llu received %llu mismatches %llu eofs %d closes %d status %d rto %u lost %u inflight %zu at %.3f s\n",
      "ab"[i], (unsigned long long) e->written, (unsigned long long) e->received, (unsigned long long) e->mismatches,
      e->eofs, e->closes, e->status, e->stream.rto_count, e->stream.retransmit_count, e->stream.inflight,
      (double) (sim_now(sim) - SIM_EPOCH) / 1e6);
  }
  fflush(stdout);
  _exit(1);
}

static void
on_signal (int s) {
  char text[64];
  int n = snprintf(text, sizeof(text), "seed %llu: signal %d\n", (unsigned long long) seed, s);
  (void) !write(1, text, (size_t) n);
  _exit(1);
}

/* ------------------------------------------------------------------ the application */

static void pump (end_t *e);

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

static void on_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf);

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
    if (n != UV_EOF) fail("read error");
    e->eofs++;
    return;
  }
  if (e->eofs) fail("data after the end");
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
    if (r < 0) fail("change of remote");
    to = address_of(0, 6001);
    if (chance(0.5)) (void) udx_stream_change_remote(s, &e->second, ID_A, (struct sockaddr *) &to, on_changed);
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
  else fail("write status");
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
    if (r < 0) fail("write");
    e->writes++;
    e->written += n;
    e->to_write -= n;
    if (plan.messages && chance(0.05)) {
      udx_stream_send_t *send = malloc(sizeof(*send));
      uv_buf_t buf = uv_buf_init((char *) pattern, (unsigned) (random64() % 1000));
      if (udx_stream_send(send, &e->stream, &buf, 1, on_sent) < 0) free(send);
    }
  }
  if (e->to_write == 0 && e->end_asked && !e->end_sent && !e->closes) {
    e->end_sent = true;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    e->writes++;
    if (udx_stream_write_end(req, &e->stream, NULL, 0, on_ack) < 0) fail("end");
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
      !(d->fragment && plan.fragments)) return SIM_DROP;
  if (plan.outage_for && at >= plan.outage_at && at < plan.outage_at + plan.outage_for &&
      (plan.outage_direction == 2 || d->from_node == ends[plan.outage_direction].node)) return SIM_DROP;
  return SIM_PASS;
}

static void
make_plan (void) {
  memset(&plan, 0, sizeof(plan));
  plan.link = sim_link_default();
  sim_link_t *l = &plan.link;
  l->latency = chance(0.1) ? 0 : (uint64_t) log_uniform(50, 600000);
  double rate = chance(0.2) ? 0 : log_uniform(8000, 1.25e9); /* 64 kbit/s to 10 Gbit/s */
  l->rate = (uint64_t) rate;
  double packets = log_uniform(1, 10000);
  l->queue = l->rate == 0 || chance(0.1) ? 0 : (uint64_t) (1500 * packets);
  if (l->queue > 0 && l->queue < 3000) plan.harsh = true; /* one packet of queue */
  if (chance(0.35)) l->loss = 0.3 * uniform() * uniform();
  if (chance(0.15)) {
    l->burst_begin = 0.002 * uniform();
    l->burst_end = 0.05 + 0.5 * uniform();
  }
  if (chance(0.1)) plan.drop_every = 3 + (uint32_t) (random64() % 60);
  if (chance(0.25)) l->jitter = (uint64_t) ((double) l->latency * uniform());
  if (chance(0.2)) {
    l->reorder = 0.1 * uniform();
    l->reorder_delay = (uint64_t) log_uniform(100, 300000);
  }
  if (chance(0.2)) l->duplicate = 0.2 * uniform();
  if (chance(0.05)) {
    l->corrupt = 0.02 * uniform();
    plan.corrupt = true;
  }
  if (chance(0.1)) {
    plan.black_hole_at = chance(0.5) ? 1 : (uint64_t) log_uniform(1000, 2000000);
    plan.black_hole_mtu = 1200 + (uint32_t) (random64() % 300);
    /* without fragments, packets built larger before can never pass: seqs are not re-packetised */
    plan.fragments = plan.black_hole_mtu & 1;
    if (!plan.fragments && (plan.black_hole_at > 1 || l->latency == 0)) plan.harsh = true;
  }
  if (chance(0.15)) {
    plan.outage_at = (uint64_t) log_uniform(1000, 3000000);
    plan.outage_for = (uint64_t) log_uniform(10000, 20000000);
    plan.outage_direction = (int) (random64() % 3);
    if (plan.outage_for > 5000000) plan.harsh = true;
  }
  plan.cubic = chance(0.2);
  plan.six = chance(0.2);
  plan.messages = chance(0.3);
  if (chance(0.1)) plan.keepalive = 10 + (uint32_t) (random64() % 2000);
  if (chance(0.2)) plan.window = (uint32_t) log_uniform(3000, 4194304);
  double most = rate > 0 ? rate * 15 : 1e7; /* about 15 s of sending at most */
  if (l->loss > 0.02) most = fmin(most, 400000);
  if (plan.window) most = fmin(most, 60.0 * plan.window);
  if (plan.drop_every && plan.drop_every < 20) most = fmin(most, 400000);
  if (l->queue > 0 && l->queue < 6000) most = fmin(most, 100000); /* one to four packets: crawls */
  most = fmin(most, 4e6);
  plan.bytes[0] = (uint64_t) log_uniform(1, fmax(most, 2));
  plan.bytes[1] = chance(0.5) ? 0 : (uint64_t) log_uniform(1, fmax(most / 2, 2));
  for (int i = 0; i < 2; i++) {
    if (chance(0.2) && plan.bytes[1 - i] > 2) {
      plan.pause_at[i] = random64() % plan.bytes[1 - i];
      plan.pause_for[i] = (uint64_t) log_uniform(1000, 30000000);
    }
  }
  if (chance(0.15)) plan.move_at = 1 + random64() % plan.bytes[0];
  if (l->loss > 0.08 || l->burst_begin > 0 || (plan.drop_every && plan.drop_every < 8)) plan.harsh = true;
  if (plan.corrupt) plan.harsh = true;
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
scenario (void) {
  rng = seed * 7919 + 1;
  counted = 0;
  moved = false;
  memset(ends, 0, sizeof(ends));
  make_plan();
  if (verbose) describe(stdout);
  sim = sim_new(seed);
  for (int i = 0; i < 2; i++) {
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
      if (udx_socket_init(udx, sockets[k], on_socket_close)) fail("socket");
      if (udx_socket_bind(sockets[k], (struct sockaddr *) &any, 0)) fail("bind");
    }
    if (udx_stream_init(udx, &e->stream, i ? ID_B : ID_A, on_close, on_finalize)) fail("stream");
    if (plan.cubic) udx_stream_set_congestion(&e->stream, UDX_CONGESTION_CUBIC);
    if (plan.window) udx_stream_set_rwnd_max(&e->stream, plan.window);
    if (plan.keepalive) udx_stream_set_keepalive(&e->stream, plan.keepalive);
    udx_stream_write_resume(&e->stream, on_drain);
    udx_stream_read_start(&e->stream, on_read);
    udx_stream_recv_start(&e->stream, on_message);
  }
  sim_connect(ends[0].node, ends[1].node, &plan.link);
  sim_set_tap(sim, tap, NULL);
  uint32_t wrap = chance(0.3) ? 4294967290u : 0;
  for (int i = 0; i < 2; i++) {
    udx_stream_set_seq(&ends[i].stream, wrap);
    udx_stream_set_ack(&ends[i].stream, wrap);
    struct sockaddr_storage to = address_of(1 - i, (uint16_t) (5002 - i));
    if (udx_stream_connect(&ends[i].stream, &ends[i].socket, i ? ID_A : ID_B, (struct sockaddr *) &to)) fail("connect");
  }
  for (int i = 0; i < 2; i++) {
    ends[i].to_write = plan.bytes[i];
    ends[i].end_asked = true;
    pump(&ends[i]);
  }

  const uint64_t limit = 1800 * (uint64_t) 1000000;
  if (!sim_run_until(sim, finished, NULL, limit)) {
    /* one side gave up and the other one is idle: it cannot know (spec 2.8) */
    if (!one_closed(NULL)) fail("neither finished nor given up");
    for (int i = 0; i < 2; i++) {
      if (!ends[i].closes && ends[i].stream.inflight > 0) fail("still sending after half an hour");
    }
    if (!plan.harsh) fail("half open");
  }
  for (int i = 0; i < 2; i++) {
    end_t *e = &ends[i], *other = &ends[1 - i];
    if (!e->closes) udx_stream_destroy(&e->stream);
    if (plan.corrupt) continue;
    if (e->mismatches) fail("wrong bytes");
    if (e->received > plan.bytes[1 - i]) fail("too many bytes");
    /* the other one gave up, or an outage of 13 s hit just its END: it had all data and takes us for closed */
    bool given_up = other->status == UV_ETIMEDOUT || (plan.harsh && other->status == 0 && other->eofs && other->stream.rto_count > 0);
    if (e->status != 0 && e->status != UV_ETIMEDOUT && !(e->status == UV_ECONNRESET && given_up)) fail("close status");
    if (e->status == UV_ETIMEDOUT && !plan.harsh) fail("timed out");
    if (ends[0].status == 0 && ends[1].status == 0 && finished(NULL) && e->eofs) {
      if (e->received != plan.bytes[1 - i] || e->eofs != 1) fail("incomplete");
      if (e->cancels) fail("cancelled writes");
    }
  }
  sim_run(sim, 20000000);
  for (int i = 0; i < 2; i++) {
    if (ends[i].closes != 1 || ends[i].finals != 1) fail("not closed once");
    if (ends[i].acks + ends[i].cancels != ends[i].writes) fail("a write never completed");
    if (udx_socket_close(&ends[i].socket) || udx_socket_close(&ends[i].second)) fail("socket close");
  }
  sim_run(sim, 1000000);
  for (int i = 0; i < 2; i++) {
    if (!udx_is_idle(&ends[i].node->udx)) fail("instance not idle");
  }
  if (verbose) {
    printf("  %llu + %llu bytes, status %d %d, %.1f s\n", (unsigned long long) ends[1].received,
      (unsigned long long) ends[0].received, ends[0].status, ends[1].status,
      (double) (sim_now(sim) - SIM_EPOCH) / 1e6);
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
  signal(SIGABRT, on_signal);
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
