#include "bench.h"

int
main (int argc, char **argv) {
  static const struct {
    const char *name;
    int (*run)(bench_options_t *o);
  } workloads[] = {
    {"recv", bench_recv},
    {"send", bench_send},
    {"pong", bench_pong},
    {"ping", bench_ping},
    {"churn", bench_churn},
    {"memory", bench_memory},
  };

  bench_options_t o;
  if (argc < 2 || bench_parse(&o, argc - 1, argv + 1) < 0) {
    fprintf(stderr, "usage: %s recv|send|pong|ping|churn|memory [--option value ...]\n", argv[0]);
    return 64;
  }
  bench_pin(o.cpu);
  for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
    if (strcmp(argv[1], workloads[i].name) == 0) return workloads[i].run(&o);
  }
  fprintf(stderr, "unknown workload %s\n", argv[1]);
  return 64;
}
