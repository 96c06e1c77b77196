#include "allocations.h"

#include <stddef.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif

#if defined(__GLIBC__) && !defined(IS_SANITIZED)

extern void *
__libc_malloc (size_t size);
extern void *
__libc_calloc (size_t count, size_t size);
extern void *
__libc_realloc (void *memory, size_t size);

static __thread int64_t allocations;

int64_t
hyper_allocations (void) {
  return allocations;
}

/* Definitions in a program come before those of the C library. */
void *
malloc (size_t size) {
  allocations++;
  return __libc_malloc(size);
}

void *
calloc (size_t count, size_t size) {
  allocations++;
  return __libc_calloc(count, size);
}

void *
realloc (void *memory, size_t size) {
  allocations++;
  return __libc_realloc(memory, size);
}

#else

int64_t
hyper_allocations (void) {
  return -1;
}

#endif
