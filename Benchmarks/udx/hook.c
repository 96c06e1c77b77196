/* Preloaded counter of heap and socket calls. Not part of any library: only the benchmark runner uses it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

extern void *
__libc_malloc (size_t n);
extern void *
__libc_calloc (size_t n, size_t size);
extern void *
__libc_realloc (void *p, size_t n);
extern void
__libc_free (void *p);
extern void *
__libc_memalign (size_t alignment, size_t n);

static uint64_t allocs, frees, alloc_bytes, sends, recvs, waits, other;

void
bench_hook_snapshot (uint64_t *v) {
  v[0] = allocs;
  v[1] = frees;
  v[2] = alloc_bytes;
  v[3] = sends;
  v[4] = recvs;
  v[5] = waits;
  v[6] = other;
}

static void
count (size_t n) {
  __atomic_fetch_add(&allocs, 1, __ATOMIC_RELAXED);
  __atomic_fetch_add(&alloc_bytes, n, __ATOMIC_RELAXED);
}

void *
malloc (size_t n) {
  count(n);
  return __libc_malloc(n);
}

void *
calloc (size_t n, size_t size) {
  count(n * size);
  return __libc_calloc(n, size);
}

void *
realloc (void *p, size_t n) {
  count(n);
  return __libc_realloc(p, n);
}

void *
aligned_alloc (size_t alignment, size_t n) {
  count(n);
  return __libc_memalign(alignment, n);
}

int
posix_memalign (void **p, size_t alignment, size_t n) {
  count(n);
  *p = __libc_memalign(alignment, n);
  return *p ? 0 : 12;
}

void
free (void *p) {
  if (p) __atomic_fetch_add(&frees, 1, __ATOMIC_RELAXED);
  __libc_free(p);
}

#define NEXT(name)                                                                                                     \
  static __typeof__(&name) next;                                                                                       \
  if (!next) {                                                                                                         \
    void *symbol = dlsym(RTLD_NEXT, #name);                                                                            \
    memcpy(&next, &symbol, sizeof(next));                                                                              \
  }

ssize_t
sendmsg (int fd, const struct msghdr *m, int flags) {
  NEXT(sendmsg)
  sends++;
  return next(fd, m, flags);
}

int
sendmmsg (int fd, struct mmsghdr *m, unsigned int n, int flags) {
  NEXT(sendmmsg)
  sends++;
  return next(fd, m, n, flags);
}

ssize_t
recvmsg (int fd, struct msghdr *m, int flags) {
  NEXT(recvmsg)
  recvs++;
  return next(fd, m, flags);
}

int
recvmmsg (int fd, struct mmsghdr *m, unsigned int n, int flags, struct timespec *t) {
  NEXT(recvmmsg)
  recvs++;
  return next(fd, m, n, flags, t);
}
