/*
 * Heap per connected idle stream, the caller's struct included; `--message` first passes 64 bytes each way. `--burst`
 * writes a MiB per pair, in pieces from the heap, and says what is resident at its end and 3 s later.
 */
#include "bench.h"

#include <malloc.h>
#include <unistd.h>

static uv_loop_t loop;
static udx_t udx;
static udx_socket_t a_sock, b_sock;
static bench_options_t *opt;
static uint32_t acked;

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
  (void) s;
  (void) status;
}

static void
on_ack (udx_stream_write_t *r, int status, int unordered) {
  (void) unordered;
  (void) status;
  free(r);
  acked++;
}

static void
on_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) s;
  (void) n;
  (void) buf;
}

static size_t
resident (void) {
  unsigned long pages = 0, shared = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f) return 0;
  if (fscanf(f, "%lu %lu", &pages, &shared) != 2) shared = 0;
  fclose(f);
  return (size_t) shared * (size_t) sysconf(_SC_PAGESIZE);
}

#define PIECE 16384
#define PIECES 64

static void
run_for (double seconds) {
  double until = bench_now() + seconds;
  while (bench_now() < until) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(1000);
  }
}

static void
burst (udx_stream_t **all, uint32_t pairs) {
  long before = (long) resident();
  acked = 0;
  for (uint32_t k = 0; k < PIECES * pairs; k++) {
    /* request and payload in one block */
    udx_stream_write_t *r = malloc((size_t) udx_stream_write_sizeof(1) + PIECE);
    uv_buf_t buf = uv_buf_init((char *) r + udx_stream_write_sizeof(1), PIECE);
    memset(buf.base, 1, PIECE);
    udx_stream_write(r, all[2 * (k % pairs)], &buf, 1, on_ack);
  }
  void *kept = malloc(64); /* what an application allocates meanwhile: the heap cannot shrink by itself */
  double until = bench_now() + 20;
  while (acked < PIECES * pairs && bench_now() < until) uv_run(&loop, UV_RUN_ONCE);
  long after = (long) resident();
  run_for(3);
  printf("{\"acked\":%u,\"burst_kib\":%ld,\"later_kib\":%ld}\n", acked, (after - before) / 1024,
    ((long) resident() - before) / 1024);
  free(kept);
}

int
bench_memory (bench_options_t *o) {
  opt = o;
  uv_loop_init(&loop);
  udx_init(&loop, &udx, NULL);
  bench_trace(&udx, opt);
  bench_watchdog(&loop, o->limit);
  udx_socket_init(&udx, &a_sock, on_socket_close);
  udx_socket_init(&udx, &b_sock, on_socket_close);
  struct sockaddr_in at = bench_addr(o->host, o->port), bt = bench_addr(o->host, o->peer_port);
  int err = udx_socket_bind(&a_sock, (struct sockaddr *) &at, 0);
  if (err == 0) err = udx_socket_bind(&b_sock, (struct sockaddr *) &bt, 0);
  if (err < 0) bench_die("bind", err);

  uint32_t pairs = o->streams / 2;
  udx_stream_t **all = calloc(2 * (size_t) pairs, sizeof(*all));
  char payload[64] = {0};

  /* A warm-up pair, so that per-socket pools are not charged to the streams. */
  size_t heap = 0, rss = 0;
  for (uint32_t i = 0; i < pairs; i++) {
    if (i == 1) {
      uv_run(&loop, UV_RUN_NOWAIT);
      heap = mallinfo2().uordblks + mallinfo2().hblkhd;
      rss = resident();
    }
    uint32_t id = 1 + 2 * i;
    udx_stream_t *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));
    all[2 * i] = a;
    all[2 * i + 1] = b;
    udx_stream_init(&udx, a, id, on_close, on_finalize);
    udx_stream_init(&udx, b, id + 1, on_close, on_finalize);
    udx_stream_connect(a, &a_sock, id + 1, (struct sockaddr *) &bt);
    udx_stream_connect(b, &b_sock, id, (struct sockaddr *) &at);
    udx_stream_read_start(a, on_read);
    udx_stream_read_start(b, on_read);
    if (o->message) {
      udx_stream_t *both[2] = {a, b};
      for (int k = 0; k < 2; k++) {
        udx_stream_write_t *r = malloc((size_t) udx_stream_write_sizeof(1));
        uv_buf_t buf = uv_buf_init(payload, sizeof(payload));
        udx_stream_write(r, both[k], &buf, 1, on_ack);
      }
      double until = bench_now() + 2;
      while (acked < 2 * (i + 1) && bench_now() < until) uv_run(&loop, UV_RUN_ONCE);
    }
  }
  run_for(0.2); /* let delayed acknowledgements and timers settle */
  if (o->burst) {
    burst(all, pairs);
    return 0;
  }
  size_t n = 2 * ((size_t) pairs - 1);
  printf("{\"streams\":%zu,\"struct\":%zu,\"socket_struct\":%zu,\"heap_per_stream\":%.0f,\"rss_per_stream\":%.0f}\n", n,
    sizeof(udx_stream_t), sizeof(udx_socket_t),
    (double) (mallinfo2().uordblks + mallinfo2().hblkhd - heap) / (double) n, (double) (resident() - rss) / (double) n);
  return 0;
}
