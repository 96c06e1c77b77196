#include "allocations.h"

#include <stddef.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif

#if defined(__GLIBC__) && !defined(IS_SANITIZED)

#include <dlfcn.h>
#include <malloc.h>

extern void *
__libc_malloc (size_t size);
extern void *
__libc_calloc (size_t count, size_t size);
extern void *
__libc_realloc (void *memory, size_t size);

typedef void *(*allocate_object_t)(const void *metadata, size_t size, size_t alignment);

static __thread int64_t allocations;
static __thread int64_t objects;
static __thread int64_t requested;

int64_t
hyper_allocations (void) {
  return allocations;
}

int64_t
hyper_objects (void) {
  return objects;
}

int64_t
hyper_requested_bytes (void) {
  return requested;
}

int64_t
hyper_heap_bytes (void) {
  struct mallinfo2 info = mallinfo2();
  return (int64_t) (info.uordblks + info.hblkhd);
}

/* Definitions in a program come before those of shared libraries. */
void *
malloc (size_t size) {
  allocations++;
  requested += (int64_t) size;
  return __libc_malloc(size);
}

void *
calloc (size_t count, size_t size) {
  allocations++;
  requested += (int64_t) (count * size);
  return __libc_calloc(count, size);
}

void *
realloc (void *memory, size_t size) {
  allocations++;
  requested += (int64_t) size;
  return __libc_realloc(memory, size);
}

/* The one of the Swift runtime; the same function in every thread, so that it does not matter which one sets it. */
extern void *
swift_allocObject (const void *metadata, size_t size, size_t alignment);

void *
swift_allocObject (const void *metadata, size_t size, size_t alignment) {
  static _Atomic(allocate_object_t) next;
  objects++;
  allocate_object_t function = next;
  if (function == NULL) {
    *(void **) &function = dlsym(RTLD_NEXT, "swift_allocObject");
    if (function == NULL) abort();
    next = function;
  }
  return function(metadata, size, alignment);
}

#else

int64_t
hyper_objects (void) {
  return -1;
}

int64_t
hyper_allocations (void) {
  return -1;
}

int64_t
hyper_requested_bytes (void) {
  return -1;
}

int64_t
hyper_heap_bytes (void) {
  return -1;
}

#endif
