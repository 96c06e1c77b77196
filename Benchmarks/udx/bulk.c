/* Bulk transfer: one process sends on n streams of one socket, another reads them.
   Stream i has id 1 + i at the receiver and 100001 + i at the sender. Each process prints one JSON line. */
#include "bench.h"

#define RECEIVER_ID 1u
#define SENDER_ID 100001u

typedef struct {
  udx_stream_t stream; /* first: the callbacks cast */
  uint64_t bytes, share;
  double finished;
  bool ended, closed;
} flow_t;

static uv_loop_t loop;
static udx_t udx;
static udx_socket_t sock;
static flow_t *flows;
static bench_options_t *opt;
static uint32_t open_flows;
static double started, last_byte;
static uint64_t total;
static uv_timer_t ticker;
static bench_hook_t hook_start, hook_end;
static int hook_phase;
static double cpu_at_start;
static bench_samples_t srtt_samples;

/* Counts between 10 % and 90 % of the transfer: neither start-up nor tear-down. */
static void
sample_hook (uint64_t moved) {
  if (hook_phase == 0 && moved > opt->bytes / 10) {
    hook_phase = 1;
    hook_start = bench_hook();
  } else if (hook_phase == 1 && moved > opt->bytes / 10 * 9) {
    hook_phase = 2;
    hook_end = bench_hook();
  }
}

/* A run that ends at its time bound has no 90 % mark: then the end counts. Returns the payload bytes counted. */
static uint64_t
finish_hook (uint64_t moved) {
  if (hook_phase == 1) hook_end = bench_hook();
  uint64_t end = hook_phase == 2 ? opt->bytes / 10 * 9 : moved;
  return hook_phase == 0 ? 0 : end - opt->bytes / 10;
}

static void
on_socket_close (udx_socket_t *s) {
  (void) s;
}

static void
on_finalize (udx_stream_t *s) {
  (void) s;
}

static void
on_close (udx_stream_t *s, int status) {
  flow_t *f = (flow_t *) s;
  f->closed = true;
  static int reported;
  if (status < 0 && reported++ < 3) fprintf(stderr, "stream %u closed: %s\n", s->local_id, uv_strerror(status));
  if (--open_flows == 0) {
    uv_timer_stop(&ticker);
    udx_socket_close(&sock);
  }
}

static void
open_socket (void) {
  uv_loop_init(&loop);
  udx_init(&loop, &udx, NULL);
  bench_trace(&udx, opt);
  int err = udx_socket_init(&udx, &sock, on_socket_close);
  if (err < 0) bench_die("socket", err);
  struct sockaddr_in a = bench_addr(opt->host, opt->port);
  err = udx_socket_bind(&sock, (struct sockaddr *) &a, 0);
  if (err < 0) bench_die("bind", err);
  bench_watchdog(&loop, opt->limit);
  uv_timer_init(&loop, &ticker);
  flows = calloc(opt->streams, sizeof(flow_t));
  if (!flows) bench_die("calloc", 0);
  open_flows = opt->streams;
}

static void
open_flow (flow_t *f, uint32_t local, uint32_t remote) {
  int err = udx_stream_init(&udx, &f->stream, local, on_close, on_finalize);
  if (err < 0) bench_die("stream", err);
  struct sockaddr_in a = bench_addr(opt->peer_host, opt->peer_port);
  err = udx_stream_connect(&f->stream, &sock, remote, (struct sockaddr *) &a);
  if (err < 0) bench_die("connect", err);
}

/* ------------------------------------------------------------------ receiver */

/* Fairness: what each stream had when half of everything, or the first whole stream, had arrived. */
static bool shared_taken;

static void
take_shares (void) {
  shared_taken = true;
  for (uint32_t i = 0; i < opt->streams; i++) flows[i].share = flows[i].bytes;
}

static void
end_done (udx_stream_write_t *req, int status, int unordered) {
  (void) req;
  (void) status;
  (void) unordered;
}

static void
on_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) buf;
  flow_t *f = (flow_t *) s;
  if (n > 0) {
    if (total == 0) {
      started = bench_now();
      cpu_at_start = bench_cpu();
    }
    f->bytes += (uint64_t) n;
    total += (uint64_t) n;
    sample_hook(total);
    if (!shared_taken && total >= opt->bytes / 2) take_shares();
    return;
  }
  if (n < 0 && !f->ended) {
    if (!shared_taken) take_shares();
    f->ended = true;
    last_byte = bench_now();
    f->finished = last_byte - started;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    uv_buf_t empty = uv_buf_init(NULL, 0);
    udx_stream_write_end(req, s, &empty, 1, end_done);
  }
}

static void
on_receiver_tick (uv_timer_t *t) {
  (void) t;
  static uint64_t before;
  if (total) fprintf(stderr, "goodput %.2f\n", (double) (total - before) * 8e-3 / opt->sample);
  before = total;
}

int
bench_recv (bench_options_t *o) {
  opt = o;
  open_socket();
  for (uint32_t i = 0; i < o->streams; i++) {
    open_flow(&flows[i], RECEIVER_ID + i, SENDER_ID + i);
    udx_stream_read_start(&flows[i].stream, on_read);
  }
  if (o->sample) uv_timer_start(&ticker, on_receiver_tick, o->sample, o->sample);
  printf("ready\n");
  fflush(stdout);
  uv_run(&loop, UV_RUN_DEFAULT);

  uint64_t least = UINT64_MAX, packets = 0, wire = 0, sum = 0;
  for (uint32_t i = 0; i < o->streams; i++) {
    uint64_t b = flows[i].share;
    if (b < least) least = b;
    sum += b;
    packets += flows[i].stream.packets_rx;
    wire += flows[i].stream.bytes_rx;
  }
  double mean = (double) sum / o->streams;
  uint64_t hook_bytes = finish_hook(total);
  double payload = (double) wire - 20.0 * (double) packets;
  printf("{\"bytes\":%llu,\"wall\":%.6f,\"cpu\":%.6f,\"packets_rx\":%llu,\"packets_tx\":%llu,\"duplicates\":%.5f,"
         "\"least_over_mean\":%.4f,\"drops\":%lld,\"allocs\":%llu,\"hook_bytes\":%llu,\"hook_sends\":%llu,"
         "\"hook_recvs\":%llu,\"hook_waits\":%llu}\n",
    (unsigned long long) total, last_byte - started, bench_cpu() - cpu_at_start, (unsigned long long) udx.packets_rx,
    (unsigned long long) udx.packets_tx, payload > 0 ? (payload - (double) total) / payload : 0,
    mean > 0 ? (double) least / mean : 0, (long long) udx.packets_dropped_by_kernel,
    (unsigned long long) (hook_end.allocs - hook_start.allocs), (unsigned long long) hook_bytes,
    (unsigned long long) (hook_end.sends - hook_start.sends), (unsigned long long) (hook_end.recvs - hook_start.recvs),
    (unsigned long long) (hook_end.waits - hook_start.waits));
  return 0;
}

/* ------------------------------------------------------------------ sender */

typedef struct {
  flow_t *flow;
  udx_stream_write_t *req;
} slot_t;

typedef struct {
  slot_t *slots;
  uint32_t *free;
  uint32_t nfree;
  bool full, ended;
  uint64_t left;
} source_t;

static source_t *sources;
static char *chunk;
static uint64_t acked;

static void
pump (flow_t *f);

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  slot_t *slot = req->data;
  flow_t *f = slot->flow;
  source_t *src = &sources[f - flows];
  if (status < 0) return;
  acked += opt->chunk;
  sample_hook(acked);
  src->free[src->nfree++] = (uint32_t) (slot - src->slots);
  if (!src->full) pump(f);
}

static void
on_drain (udx_stream_t *s) {
  flow_t *f = (flow_t *) s;
  sources[f - flows].full = false;
  pump(f);
}

static void
on_sender_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) s;
  (void) buf;
  if (n < 0) last_byte = bench_now();
}

static void
pump (flow_t *f) {
  source_t *src = &sources[f - flows];
  if (src->ended) return;
  while (src->nfree > 0 && src->left > 0 && !src->full) {
    slot_t *slot = &src->slots[src->free[--src->nfree]];
    uint32_t n = src->left < opt->chunk ? (uint32_t) src->left : opt->chunk;
    uv_buf_t buf = uv_buf_init(chunk, n);
    src->left -= n;
    f->bytes += n;
    total += n;
    int r = udx_stream_write(slot->req, &f->stream, &buf, 1, on_ack);
    if (r < 0) bench_die("write", r);
    if (r == 0) src->full = true;
    if (bench_now() - started > opt->seconds) src->left = 0;
  }
  if (src->left == 0) {
    src->ended = true;
    udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
    uv_buf_t empty = uv_buf_init(NULL, 0);
    udx_stream_write_end(req, &f->stream, &empty, 1, end_done);
  }
}

static void
on_sender_tick (uv_timer_t *t) {
  (void) t;
  if (flows[0].closed) return;
  bench_samples_add(&srtt_samples, flows[0].stream.srtt);
}

int
bench_send (bench_options_t *o) {
  opt = o;
  open_socket();
  chunk = malloc(o->chunk);
  if (!chunk) bench_die("malloc", 0);
  for (uint32_t i = 0; i < o->chunk; i++) chunk[i] = (char) (i * 2654435761u >> 24);

  sources = calloc(o->streams, sizeof(source_t));
  for (uint32_t i = 0; i < o->streams; i++) {
    source_t *src = &sources[i];
    src->slots = calloc(o->depth, sizeof(slot_t));
    src->free = calloc(o->depth, sizeof(uint32_t));
    src->left = o->bytes / o->streams;
    for (uint32_t j = 0; j < o->depth; j++) {
      src->slots[j].flow = &flows[i];
      src->slots[j].req = malloc((size_t) udx_stream_write_sizeof(1));
      src->slots[j].req->data = &src->slots[j];
      src->free[src->nfree++] = j;
    }
    open_flow(&flows[i], SENDER_ID + i, RECEIVER_ID + i);
    udx_stream_write_resume(&flows[i].stream, on_drain);
    udx_stream_read_start(&flows[i].stream, on_sender_read);
  }
  if (o->sample) uv_timer_start(&ticker, on_sender_tick, o->sample, o->sample);
  cpu_at_start = bench_cpu();
  started = bench_now();
  for (uint32_t i = 0; i < o->streams; i++) pump(&flows[i]);
  uv_run(&loop, UV_RUN_DEFAULT);

  uint64_t hook_bytes = finish_hook(acked);
  uint64_t retransmits = 0, rto = 0, recoveries = 0;
  for (uint32_t i = 0; i < o->streams; i++) {
    retransmits += flows[i].stream.retransmit_count;
    rto += flows[i].stream.rto_count;
    recoveries += flows[i].stream.fast_recovery_count;
  }
  printf("{\"bytes\":%llu,\"wall\":%.6f,\"cpu\":%.6f,\"packets_rx\":%llu,\"packets_tx\":%llu,\"retransmits\":%llu,"
         "\"rto\":%llu,\"recoveries\":%llu,\"mtu\":%u,\"srtt\":%u,\"srtt_p50\":%.1f,\"srtt_p95\":%.1f,\"allocs\":%llu,"
         "\"hook_bytes\":%llu,\"hook_sends\":%llu,\"hook_recvs\":%llu,\"hook_waits\":%llu}\n",
    (unsigned long long) total, last_byte - started, bench_cpu() - cpu_at_start, (unsigned long long) udx.packets_rx,
    (unsigned long long) udx.packets_tx, (unsigned long long) retransmits, (unsigned long long) rto,
    (unsigned long long) recoveries, flows[0].stream.mtu, flows[0].stream.srtt,
    bench_samples_quantile(&srtt_samples, 0.5), bench_samples_quantile(&srtt_samples, 0.95),
    (unsigned long long) (hook_end.allocs - hook_start.allocs), (unsigned long long) hook_bytes,
    (unsigned long long) (hook_end.sends - hook_start.sends), (unsigned long long) (hook_end.recvs - hook_start.recvs),
    (unsigned long long) (hook_end.waits - hook_start.waits));
  return 0;
}
