/*
 * Fuzzing of the public API and of the way in of datagrams, on a driver that does nothing by itself. An
 * input is a program: a byte selects an operation, the following ones are its arguments. After every
 * operation the engine's books are checked; at the end everything is torn down and every request and stream
 * must have settled exactly once.
 *
 * fuzz_program.c is the libFuzzer entry, Tests/CUDX/test_fuzz.c replays the corpus and generated programs in the
 * ordinary tests.
 */
#ifndef UDX_FUZZ_PROGRAM_H
#define UDX_FUZZ_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

void
program_run (const uint8_t *data, size_t size);

#endif
