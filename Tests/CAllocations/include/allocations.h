#ifndef HYPERSWARM_TESTS_ALLOCATIONS_H
#define HYPERSWARM_TESTS_ALLOCATIONS_H

#include <stdint.h>

/*
 * How often this thread has asked the heap for memory, in the whole program; negative where that is not counted (other
 * systems than Linux with glibc, and under sanitizers, which have an allocator of their own).
 */
int64_t
hyper_allocations (void);

/*
 * How many objects this thread has made, closures and the memory of arrays and dictionaries included. Unlike all
 * requests to the heap it hardly depends on whether the compiler has specialised generic code, which takes memory for
 * each element of a loop where it has not. Negative as above.
 */
int64_t
hyper_objects (void);

/* Bytes that this thread has asked the heap for, given back or not; negative as above. */
int64_t
hyper_requested_bytes (void);

/* Bytes of the heap that the program holds; negative where that is not known. */
int64_t
hyper_heap_bytes (void);

#endif
