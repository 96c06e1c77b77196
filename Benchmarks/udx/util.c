#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <getopt.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

double
bench_now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

double
bench_cpu (void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double) (r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double) (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

void
bench_pin (int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t) cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

struct sockaddr_in
bench_addr (const char *host, int port) {
  struct sockaddr_in a;
  memset(&a, 0, sizeof(a));
  uv_ip4_addr(host, port, &a);
  return a;
}

void
bench_die (const char *what, int status) {
  fprintf(stderr, "%s: %s\n", what, status < 0 ? uv_strerror(status) : "failed");
  exit(2);
}

static void
on_watchdog (uv_timer_t *timer) {
  (void) timer;
  fprintf(stderr, "time limit reached\n");
  exit(3);
}

void
bench_watchdog (uv_loop_t *loop, double seconds) {
  static uv_timer_t timer;
  uv_timer_init(loop, &timer);
  uv_timer_start(&timer, on_watchdog, (uint64_t) (seconds * 1000), 0);
  uv_unref((uv_handle_t *) &timer);
}

#ifdef BENCH_HAS_TRACE
static udx_t *traced;

static void
trace_close (void) {
  udx_qlog_stats_t stats;
  if (udx_qlog_close(traced, &stats) < 0) return;
  fprintf(stderr, "qlog: %llu events, %llu dropped, %llu bytes\n", (unsigned long long) stats.events,
    (unsigned long long) stats.dropped, (unsigned long long) stats.bytes);
}

void
bench_trace (udx_t *udx, const bench_options_t *o) {
  if (o->qlog == NULL) return;
  udx_qlog_options_t options = {.size = sizeof(options), .path = o->qlog, .title = "udxbench"};
  int err = udx_qlog_open(udx, &options);
  if (err < 0) bench_die(o->qlog, err);
  traced = udx;
  atexit(trace_close);
}
#else
void
bench_trace (udx_t *udx, const bench_options_t *o) {
  (void) udx;
  if (o->qlog != NULL) bench_die("--qlog", UV_ENOTSUP);
}
#endif

bench_hook_t
bench_hook (void) {
  static void (*snapshot)(uint64_t *);
  static bool looked;
  bench_hook_t h;
  memset(&h, 0, sizeof(h));
  if (!looked) {
    looked = true;
    void *symbol = dlsym(RTLD_DEFAULT, "bench_hook_snapshot");
    memcpy(&snapshot, &symbol, sizeof(snapshot));
  }
  if (snapshot) {
    uint64_t v[7];
    snapshot(v);
    h.allocs = v[0];
    h.frees = v[1];
    h.alloc_bytes = v[2];
    h.sends = v[3];
    h.recvs = v[4];
    h.waits = v[5];
    h.other = v[6];
  }
  return h;
}

void
bench_samples_add (bench_samples_t *s, double v) {
  if (s->len == s->cap) {
    s->cap = s->cap ? s->cap * 2 : 1024;
    s->v = realloc(s->v, s->cap * sizeof(double));
    if (!s->v) bench_die("realloc", 0);
  }
  s->v[s->len++] = v;
}

static int
compare (const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

double
bench_samples_quantile (bench_samples_t *s, double q) {
  if (s->len == 0) return 0;
  qsort(s->v, s->len, sizeof(double), compare);
  size_t i = (size_t) (q * (double) (s->len - 1) + 0.5);
  return s->v[i];
}

int
bench_parse (bench_options_t *o, int argc, char **argv) {
  static const struct option options[] = {
    {"port", required_argument, 0, 'p'},
    {"peer", required_argument, 0, 'P'},
    {"host", required_argument, 0, 'h'},
    {"peer-host", required_argument, 0, 'H'},
    {"streams", required_argument, 0, 'n'},
    {"bytes", required_argument, 0, 'b'},
    {"seconds", required_argument, 0, 's'},
    {"limit", required_argument, 0, 'l'},
    {"chunk", required_argument, 0, 'c'},
    {"count", required_argument, 0, 'N'},
    {"depth", required_argument, 0, 'd'},
    {"message", no_argument, 0, 'm'},
    {"cpu", required_argument, 0, 'C'},
    {"sample", required_argument, 0, 'S'},
    {"parallel", required_argument, 0, 'L'},
    {"qlog", required_argument, 0, 'q'},
    {0, 0, 0, 0},
  };

  *o = (bench_options_t){
    .port = 18000,
    .peer_port = 18001,
    .host = "127.0.0.1",
    .peer_host = "127.0.0.1",
    .streams = 1,
    .bytes = 256 * 1000 * 1000ull,
    .seconds = 10,
    .limit = 60,
    .chunk = 65536,
    .count = 10000,
    .depth = 64,
    .cpu = -1,
    .parallel = 1,
  };

  int c;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    switch (c) {
    case 'p':
      o->port = atoi(optarg);
      break;
    case 'P':
      o->peer_port = atoi(optarg);
      break;
    case 'h':
      o->host = optarg;
      break;
    case 'H':
      o->peer_host = optarg;
      break;
    case 'n':
      o->streams = (uint32_t) atoi(optarg);
      break;
    case 'b':
      o->bytes = strtoull(optarg, NULL, 10);
      break;
    case 's':
      o->seconds = atof(optarg);
      break;
    case 'l':
      o->limit = atof(optarg);
      break;
    case 'c':
      o->chunk = (uint32_t) atoi(optarg);
      break;
    case 'N':
      o->count = (uint32_t) atoi(optarg);
      break;
    case 'd':
      o->depth = (uint32_t) atoi(optarg);
      break;
    case 'm':
      o->message = true;
      break;
    case 'C':
      o->cpu = atoi(optarg);
      break;
    case 'L':
      o->parallel = (uint32_t) atoi(optarg);
      break;
    case 'q':
      o->qlog = optarg;
      break;
    case 'S':
      o->sample = (uint32_t) atoi(optarg);
      break;
    default:
      return -1;
    }
  }
  if (o->streams == 0 || o->streams > 100000 || o->chunk == 0 || o->chunk > 1 << 20 || o->depth == 0 ||
      o->parallel == 0)
    return -1;
  return 0;
}
