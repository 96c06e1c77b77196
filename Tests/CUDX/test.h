/*
 * A tiny test harness. A test program is a list of TEST() functions and one TEST_MAIN(). Each test runs
 * in order in one process; a failed check (sim/check.h) stops it. The last line counts.
 *
 *   TEST(udx_26_sequence_wrap) { CHECK(x == 1); CHECK_EQ(a, b); }
 *   TEST_MAIN(TEST_ENTRY(udx_26_sequence_wrap))
 *
 * An argument runs only the tests whose name contains it.
 */
#ifndef UDX_TEST_H
#define UDX_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/check.h"

typedef struct test_entry_s {
  const char *name;
  void (*run)(void);
} test_entry_t;

#define TEST(name) static void name(void)
#define TEST_ENTRY(name)                                                                                               \
  { #name, name }

#define TEST_MAIN(...)                                                                                                 \
  int main(int argc, char **argv) {                                                                                    \
    static const test_entry_t entries[] = {__VA_ARGS__};                                                               \
    int count = 0;                                                                                                     \
    setvbuf(stdout, NULL, _IOLBF, 0);                                                                                  \
    for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {                                                  \
      if (argc > 1 && strstr(entries[i].name, argv[1]) == NULL) continue;                                              \
      printf("%s\n", entries[i].name);                                                                                 \
      entries[i].run();                                                                                                \
      count++;                                                                                                         \
    }                                                                                                                  \
    printf("%d tests passed\n", count);                                                                                \
    return count == 0;                                                                                                 \
  }

#endif
