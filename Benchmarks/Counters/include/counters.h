#ifndef HYPERSWARM_BENCHMARKS_COUNTERS_H
#define HYPERSWARM_BENCHMARKS_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of the heap that the program holds, in all arenas; negative where the C library does not tell. */
int64_t
hyper_heap_bytes (void);

/* How often any thread has asked the heap for memory; negative where that is not counted. */
int64_t
hyper_heap_requests (void);

/* Bytes of physical memory, after free pages have gone back to the system; negative where that is not known. */
int64_t
hyper_resident_bytes (void);

/* Returns of the wait for events in which a deadline had come, and those with nothing but arrivals; zero elsewhere than
 * on Linux. */
int64_t
hyper_timer_wakeups (void);
int64_t
hyper_arrival_wakeups (void);

/* Keeps the calling thread on one processor; false where that is not possible. */
bool
hyper_place_thread (int processor);

#endif
