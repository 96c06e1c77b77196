/* Request and response of 64 bytes over one stream, one outstanding. */
#include "bench.h"

#define SIZE 64

static uv_loop_t loop;
static udx_t udx;
static udx_socket_t sock;
static udx_stream_t stream;
static udx_stream_write_t *req;
static bench_options_t *opt;
static char message[SIZE];
static uint32_t got, rounds;
static double sent_at, started, cpu_at_start;
static bench_samples_t samples;

static void
on_socket_close (udx_socket_t *s) {
  (void) s;
}

static void
on_finalize (udx_stream_t *s) {
  (void) s;
  udx_socket_close(&sock);
}

static void
on_close (udx_stream_t *s, int status) {
  (void) s;
  (void) status;
}

static void
on_ack (udx_stream_write_t *r, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(r);
}

static void
write_message (void) {
  req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init(message, SIZE);
  sent_at = bench_now();
  udx_stream_write(req, &stream, &buf, 1, on_ack);
}

static void
open_all (uint32_t local, uint32_t remote, udx_stream_read_cb on_read) {
  uv_loop_init(&loop);
  udx_init(&loop, &udx, NULL);
  bench_trace(&udx, opt);
  udx_socket_init(&udx, &sock, on_socket_close);
  struct sockaddr_in a = bench_addr(opt->host, opt->port);
  int err = udx_socket_bind(&sock, (struct sockaddr *) &a, 0);
  if (err < 0) bench_die("bind", err);
  bench_watchdog(&loop, opt->limit);
  udx_stream_init(&udx, &stream, local, on_close, on_finalize);
  a = bench_addr(opt->peer_host, opt->peer_port);
  udx_stream_connect(&stream, &sock, remote, (struct sockaddr *) &a);
  udx_stream_read_start(&stream, on_read);
}

static void
on_ping (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) buf;
  if (n < 0) {
    udx_stream_destroy(s);
    return;
  }
  got += (uint32_t) n;
  while (got >= SIZE) {
    got -= SIZE;
    write_message();
  }
}

int
bench_pong (bench_options_t *o) {
  opt = o;
  open_all(1, 2, on_ping);
  printf("ready\n");
  fflush(stdout);
  uv_run(&loop, UV_RUN_DEFAULT);
  printf("{\"cpu\":%.6f}\n", bench_cpu());
  return 0;
}

static void
on_pong (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) buf;
  if (n < 0) return;
  got += (uint32_t) n;
  if (got < SIZE) return;
  got = 0;
  if (rounds == opt->count / 10) { /* the first tenth is warm-up */
    samples.len = 0;
    started = bench_now();
    cpu_at_start = bench_cpu();
  }
  bench_samples_add(&samples, (bench_now() - sent_at) * 1e6);
  if (++rounds < opt->count && bench_now() - started < opt->seconds) {
    write_message();
    return;
  }
  udx_stream_destroy(s);
}

int
bench_ping (bench_options_t *o) {
  opt = o;
  open_all(2, 1, on_pong);
  started = bench_now();
  write_message();
  uv_run(&loop, UV_RUN_DEFAULT);
  double cpu = bench_cpu() - cpu_at_start;
  printf("{\"rounds\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f,\"cpu\":%.6f,\"cpu_per_round\":%.2f}\n", samples.len,
    bench_samples_quantile(&samples, 0.5), bench_samples_quantile(&samples, 0.99), bench_samples_quantile(&samples, 1),
    cpu, samples.len ? cpu * 1e6 / (double) samples.len : 0);
  return 0;
}
