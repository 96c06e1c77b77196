#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t current_seed;
static bool has_seed;
static void (*current_report)(void);

void
check_set_seed (uint64_t seed) {
  current_seed = seed;
  has_seed = true;
}

void
check_set_report (void (*report)(void)) {
  current_report = report;
}

void
check_failed (const char *file, int line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fflush(stdout);
  fprintf(stderr, "%s:%d: failed: ", file, line);
  vfprintf(stderr, format, args);
  fprintf(stderr, "\n");
  va_end(args);
  if (has_seed) fprintf(stderr, "simulation seed %" PRIu64 "\n", current_seed);
  void (*report)(void) = current_report;
  current_report = NULL; /* a check inside the report does not call it again */
  if (report != NULL) report();
  fflush(stderr);
  abort();
}
