/* Shared by the workloads. Only the public interface of udx.h is used, so the same source measures this
   implementation and any other that offers the interface. */
#ifndef UDX_BENCH_H
#define UDX_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <udx.h>
#include <uv.h>
#if __has_include(<udx_trace.h>)
#include <udx_trace.h> /* an extension of ours */
#define BENCH_HAS_TRACE 1
#endif

typedef struct {
  int port;         /* local UDP port */
  int peer_port;    /* remote UDP port */
  const char *host; /* local address */
  const char *peer_host;
  uint32_t streams;
  uint64_t bytes;    /* bound on payload bytes, all streams together */
  double seconds;    /* bound on the sending time */
  double limit;      /* the process gives up after this many seconds */
  uint32_t chunk;    /* bytes per write */
  uint32_t count;    /* iterations, for the workloads that count */
  uint32_t depth;    /* writes outstanding per stream */
  uint32_t parallel; /* churn: pairs at once */
  uint32_t sample;   /* ms between samples of srtt and goodput, 0 = none */
  bool message;      /* churn: MESSAGE instead of a write */
  bool burst;        /* memory: a MiB per pair, and what stays resident */
  const char *qlog;  /* file for the trace, NULL = none */
  int cpu;           /* pin to this CPU, -1 = do not */
} bench_options_t;

int
bench_parse (bench_options_t *o, int argc, char **argv);

double
bench_now (void); /* seconds, monotonic */
double
bench_cpu (void); /* user + system seconds of this process */
void
bench_pin (int cpu);
/* With --qlog: the trace of the instance until the process ends, if the implementation has one. */
void
bench_trace (udx_t *udx, const bench_options_t *o);

struct sockaddr_in
bench_addr (const char *host, int port);
void
bench_die (const char *what, int status);

/* Arms a timer that ends the process with status 3, so that no run is unbounded. */
void
bench_watchdog (uv_loop_t *loop, double seconds);

/* Counters kept by the preloaded library, all zero without it. */
typedef struct {
  uint64_t allocs, frees, alloc_bytes;
  uint64_t sends, recvs, waits, other;
} bench_hook_t;

bench_hook_t
bench_hook (void);

typedef struct {
  double *v;
  size_t len, cap;
} bench_samples_t;

void
bench_samples_add (bench_samples_t *s, double v);
double
bench_samples_quantile (bench_samples_t *s, double q); /* sorts */

int
bench_recv (bench_options_t *o);
int
bench_send (bench_options_t *o);
int
bench_pong (bench_options_t *o);
int
bench_ping (bench_options_t *o);
int
bench_churn (bench_options_t *o);
int
bench_memory (bench_options_t *o);

#endif
