/*
 * Checks for tests, simulator and fuzz targets. A failed check prints its place, the seed of the newest simulation
 * and stops the process with abort(): fuzzers keep the input, ctest and the conformance runner count a failure.
 */
#ifndef UDX_SIM_CHECK_H
#define UDX_SIM_CHECK_H

#include <stdint.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) check_failed(__FILE__, __LINE__, "%s", #condition);                                              \
  } while (0)

#define CHECK_EQ(a, b)                                                                                                 \
  do {                                                                                                                 \
    long long check_a = (long long) (a), check_b = (long long) (b);                                                    \
    if (check_a != check_b) {                                                                                          \
      check_failed(__FILE__, __LINE__, "%s == %s (%lld, %lld)", #a, #b, check_a, check_b);                             \
    }                                                                                                                  \
  } while (0)

/* Prints "file:line: failed: ..." and the seed, and aborts. */
_Noreturn void
check_failed (const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The seed that replays what runs now; sim_new() sets it. */
void
check_set_seed (uint64_t seed);

/* Called once with the seed before the process stops: prints more about the failed run. NULL = nothing. */
void
check_set_report (void (*report)(void));

#endif
