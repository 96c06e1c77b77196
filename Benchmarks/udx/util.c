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

typedef enum {
  AS_INT,
  AS_U32,
  AS_U64,
  AS_DOUBLE,
  AS_TEXT,
  AS_FLAG,
} kind_t;

static const struct {
  const char *name;
  kind_t kind;
  size_t offset;
} option_table[] = {
  {"port", AS_INT, offsetof(bench_options_t, port)},
  {"peer", AS_INT, offsetof(bench_options_t, peer_port)},
  {"host", AS_TEXT, offsetof(bench_options_t, host)},
  {"peer-host", AS_TEXT, offsetof(bench_options_t, peer_host)},
  {"streams", AS_U32, offsetof(bench_options_t, streams)},
  {"bytes", AS_U64, offsetof(bench_options_t, bytes)},
  {"seconds", AS_DOUBLE, offsetof(bench_options_t, seconds)},
  {"limit", AS_DOUBLE, offsetof(bench_options_t, limit)},
  {"chunk", AS_U32, offsetof(bench_options_t, chunk)},
  {"count", AS_U32, offsetof(bench_options_t, count)},
  {"depth", AS_U32, offsetof(bench_options_t, depth)},
  {"message", AS_FLAG, offsetof(bench_options_t, message)},
  {"burst", AS_FLAG, offsetof(bench_options_t, burst)},
  {"cpu", AS_INT, offsetof(bench_options_t, cpu)},
  {"sample", AS_U32, offsetof(bench_options_t, sample)},
  {"parallel", AS_U32, offsetof(bench_options_t, parallel)},
  {"qlog", AS_TEXT, offsetof(bench_options_t, qlog)},
};
#define OPTIONS (sizeof(option_table) / sizeof(option_table[0]))

static void
set_option (bench_options_t *o, size_t index, const char *value) {
  void *field = (char *) o + option_table[index].offset;
  switch (option_table[index].kind) {
  case AS_INT:
    *(int *) field = atoi(value);
    break;
  case AS_U32:
    *(uint32_t *) field = (uint32_t) atoi(value);
    break;
  case AS_U64:
    *(uint64_t *) field = strtoull(value, NULL, 10);
    break;
  case AS_DOUBLE:
    *(double *) field = atof(value);
    break;
  case AS_TEXT:
    *(const char **) field = value;
    break;
  case AS_FLAG:
    *(bool *) field = true;
    break;
  }
}

int
bench_parse (bench_options_t *o, int argc, char **argv) {
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

  struct option options[OPTIONS + 1] = {0};
  for (size_t i = 0; i < OPTIONS; i++) {
    int argument = option_table[i].kind == AS_FLAG ? no_argument : required_argument;
    options[i] = (struct option){option_table[i].name, argument, 0, 256 + (int) i};
  }
  int c;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c < 256) return -1;
    set_option(o, (size_t) c - 256, optarg);
  }
  if (o->streams == 0 || o->streams > 100000 || o->chunk == 0 || o->chunk > 1 << 20 || o->depth == 0 ||
      o->parallel == 0)
    return -1;
  return 0;
}
