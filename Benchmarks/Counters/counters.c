/*
 * Definitions in a program come before those of shared libraries: what libuv and the C library's callers ask for goes
 * through here. Linux with glibc.
 */
#include "counters.h"

#if defined(__linux__) && defined(__GLIBC__)

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TIMERS 64

extern void *
__libc_malloc (size_t size);
extern void *
__libc_calloc (size_t count, size_t size);
extern void *
__libc_realloc (void *memory, size_t size);

static _Atomic int64_t requests;
static _Atomic int64_t timer_wakeups;
static _Atomic int64_t arrival_wakeups;
/* Descriptors of timers, plus one; they live as long as the loops that made them. */
static _Atomic int timers[TIMERS];

void *
malloc (size_t size) {
  atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed);
  return __libc_malloc(size);
}

void *
calloc (size_t count, size_t size) {
  atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed);
  return __libc_calloc(count, size);
}

void *
realloc (void *memory, size_t size) {
  atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed);
  return __libc_realloc(memory, size);
}

int
timerfd_create (int clock, int flags) {
  int fd = (int) syscall(SYS_timerfd_create, clock, flags);
  for (int i = 0; fd >= 0 && i < TIMERS; i++) {
    int none = 0;
    if (atomic_compare_exchange_strong(&timers[i], &none, fd + 1)) break;
  }
  return fd;
}

static int
is_timer (int fd) {
  for (int i = 0; i < TIMERS; i++) {
    int known = atomic_load_explicit(&timers[i], memory_order_relaxed);
    if (known == 0) return 0;
    if (known == fd + 1) return 1;
  }
  return 0;
}

static int
count_wakeup (const struct epoll_event *events, int n, int timeout) {
  if (timeout == 0 || n < 0) return n;
  int due = n == 0;
  /* libuv keeps the descriptor in `data`. */
  for (int i = 0; i < n; i++) due |= is_timer(events[i].data.fd);
  atomic_fetch_add_explicit(due ? &timer_wakeups : &arrival_wakeups, 1, memory_order_relaxed);
  return n;
}

int
epoll_pwait (int epoll, struct epoll_event *events, int count, int timeout, const sigset_t *mask) {
  int n = (int) syscall(SYS_epoll_pwait, epoll, events, count, timeout, mask, sizeof(unsigned long));
  return count_wakeup(events, n, timeout);
}

int
epoll_wait (int epoll, struct epoll_event *events, int count, int timeout) {
  return epoll_pwait(epoll, events, count, timeout, NULL);
}

int64_t
hyper_heap_bytes (void) {
  struct mallinfo2 info = mallinfo2();
  return (int64_t) (info.uordblks + info.hblkhd);
}

int64_t
hyper_heap_requests (void) {
  return atomic_load(&requests);
}

int64_t
hyper_resident_bytes (void) {
  malloc_trim(0);
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL) return -1;
  long pages = -1;
  if (fscanf(file, "%*d %ld", &pages) != 1) pages = -1;
  (void) fclose(file);
  return pages < 0 ? -1 : (int64_t) pages * sysconf(_SC_PAGESIZE);
}

int64_t
hyper_timer_wakeups (void) {
  return atomic_load(&timer_wakeups);
}

int64_t
hyper_arrival_wakeups (void) {
  return atomic_load(&arrival_wakeups);
}

bool
hyper_place_thread (int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
}

#else

int64_t
hyper_heap_bytes (void) {
  return -1;
}

int64_t
hyper_heap_requests (void) {
  return -1;
}

int64_t
hyper_resident_bytes (void) {
  return -1;
}

int64_t
hyper_timer_wakeups (void) {
  return 0;
}

int64_t
hyper_arrival_wakeups (void) {
  return 0;
}

bool
hyper_place_thread (int processor) {
  (void) processor;
  return false;
}

#endif
