/* One process: create a pair of streams over two sockets, connect, pass one 64 byte message, destroy, repeat;
   `--parallel N` keeps N pairs going at once. */
#include "bench.h"

#include <dirent.h>
#include <malloc.h>

typedef struct {
  udx_stream_t *a, *b;
  udx_stream_write_t *req;
  udx_stream_send_t msg;
  int live;
} lane_t;

static uv_loop_t loop;
static udx_t udx;
static udx_socket_t a_sock, b_sock;
static lane_t *lanes;
static bench_options_t *opt;
static char payload[64];
static uint32_t begun, done, idle;
static double started, cpu_at_start;
static size_t heap_at_start;

static void
next (lane_t *lane);

static void
on_socket_close (udx_socket_t *s) {
  (void) s;
}

static void
on_finalize (udx_stream_t *s) {
  lane_t *lane = s->data;
  free(s);
  if (--lane->live == 0) {
    done++;
    next(lane);
  }
}

static void
on_close (udx_stream_t *s, int status) {
  (void) status;
  lane_t *lane = s->data;
  if (s == lane->b) udx_stream_destroy(lane->a);
}

static void
on_message (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  (void) buf;
  if (n > 0) udx_stream_destroy(s);
}

static void
on_ack (udx_stream_write_t *r, int status, int unordered) {
  (void) r;
  (void) status;
  (void) unordered;
}

static void
on_sent (udx_stream_send_t *r, int status) {
  (void) r;
  (void) status;
}

static void
next (lane_t *lane) {
  if (done == opt->count / 10 && cpu_at_start <= 0) { /* warm */
    started = bench_now();
    cpu_at_start = bench_cpu();
    heap_at_start = mallinfo2().uordblks;
  }
  if (begun >= opt->count || (done > opt->count / 10 && bench_now() - started > opt->seconds)) {
    if (++idle == opt->parallel) {
      udx_socket_close(&a_sock);
      udx_socket_close(&b_sock);
    }
    return;
  }
  lane->live = 2;
  lane->a = malloc(sizeof(*lane->a));
  lane->b = malloc(sizeof(*lane->b));
  uint32_t id = 1 + 2 * begun++;
  udx_stream_init(&udx, lane->a, id, on_close, on_finalize);
  udx_stream_init(&udx, lane->b, id + 1, on_close, on_finalize);
  lane->a->data = lane->b->data = lane;
  struct sockaddr_in to_a = bench_addr(opt->host, opt->port), to_b = bench_addr(opt->host, opt->peer_port);
  udx_stream_connect(lane->a, &a_sock, id + 1, (struct sockaddr *) &to_b);
  udx_stream_connect(lane->b, &b_sock, id, (struct sockaddr *) &to_a);
  uv_buf_t buf = uv_buf_init(payload, sizeof(payload));
  if (opt->message) {
    udx_stream_recv_start(lane->b, on_message);
    udx_stream_send(&lane->msg, lane->a, &buf, 1, on_sent);
  } else {
    udx_stream_read_start(lane->b, on_message);
    udx_stream_write(lane->req, lane->a, &buf, 1, on_ack);
  }
}

static int
descriptors (void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

int
bench_churn (bench_options_t *o) {
  opt = o;
  uv_loop_init(&loop);
  udx_init(&loop, &udx, NULL);
  bench_trace(&udx, opt);
  bench_watchdog(&loop, o->limit);
  lanes = calloc(o->parallel, sizeof(lane_t));
  for (uint32_t i = 0; i < o->parallel; i++) lanes[i].req = malloc((size_t) udx_stream_write_sizeof(1));
  udx_socket_init(&udx, &a_sock, on_socket_close);
  udx_socket_init(&udx, &b_sock, on_socket_close);
  struct sockaddr_in at = bench_addr(o->host, o->port), bt = bench_addr(o->host, o->peer_port);
  int err = udx_socket_bind(&a_sock, (struct sockaddr *) &at, 0);
  if (err == 0) err = udx_socket_bind(&b_sock, (struct sockaddr *) &bt, 0);
  if (err < 0) bench_die("bind", err);
  int fds = descriptors();
  started = bench_now();
  for (uint32_t i = 0; i < o->parallel; i++) next(&lanes[i]);
  uv_run(&loop, UV_RUN_DEFAULT);
  double wall = bench_now() - started, cpu = bench_cpu() - cpu_at_start;
  int more_fds = descriptors() - fds;
  long growth = (long) mallinfo2().uordblks - (long) heap_at_start;
  uint32_t pairs = done - o->count / 10;
  printf("{\"pairs\":%u,\"per_second\":%.0f,\"cpu_us\":%.2f,\"fd_growth\":%d,\"heap_growth\":%ld}\n", pairs,
    pairs / wall, pairs ? cpu * 1e6 / pairs : 0, more_fds, growth);
  return done > o->count / 10 ? 0 : 1;
}
