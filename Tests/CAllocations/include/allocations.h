#ifndef HYPERSWARM_TESTS_ALLOCATIONS_H
#define HYPERSWARM_TESTS_ALLOCATIONS_H

#include <stdint.h>

/*
 * How often this thread has asked the heap for memory, in the whole program; negative where that is not counted (other
 * systems than Linux with glibc, and under sanitizers, which have an allocator of their own).
 */
int64_t
hyper_allocations (void);

#endif
