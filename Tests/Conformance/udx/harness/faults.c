/* The socket calls of the process pass through here, so that a test can make them block or fail.
   Defining the symbols in the executable overrides the C library's for statically linked engines and libuv alike. */
#include "conform.h"

#undef malloc
#undef calloc
#undef realloc

#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

faults_t faults;

static bool
send_refused (void) {
  faults.sends++;
  if (faults.block_send) {
    errno = EAGAIN;
    return true;
  }
  if (faults.fail_send && faults.fail_after-- == 0) {
    errno = faults.fail_send;
    return true;
  }
  return false;
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
  return send_refused() ? -1 : next(fd, m, flags);
}

int
sendmmsg (int fd, struct mmsghdr *m, unsigned int n, int flags) {
  NEXT(sendmmsg)
  return send_refused() ? -1 : next(fd, m, n, flags);
}

static bool
recv_refused (void) {
  faults.recvs++;
  if (faults.fail_recv && faults.fail_recv_after-- == 0) {
    errno = faults.fail_recv;
    return true;
  }
  return false;
}

ssize_t
recvmsg (int fd, struct msghdr *m, int flags) {
  NEXT(recvmsg)
  return recv_refused() ? -1 : next(fd, m, flags);
}

int
recvmmsg (int fd, struct mmsghdr *m, unsigned int n, int flags, struct timespec *t) {
  NEXT(recvmmsg)
  return recv_refused() ? -1 : next(fd, m, n, flags, t);
}

int
bind (int fd, __CONST_SOCKADDR_ARG addr, socklen_t len) { /* the C library's own prototype */
  NEXT(bind)
  if (faults.fail_bind) {
    errno = faults.fail_bind;
    return -1;
  }
  return next(fd, addr, len);
}

#ifndef UDX_SANITIZED /* the sanitizers have their own */

static bool
alloc_refused (void) {
  faults.allocs++;
  if (faults.fail_alloc && faults.fail_alloc_after-- == 0) {
    errno = ENOMEM;
    return true;
  }
  return false;
}

void *
malloc (size_t n) {
  return alloc_refused() ? NULL : __libc_malloc(n);
}

void *
calloc (size_t n, size_t size) {
  return alloc_refused() ? NULL : __libc_calloc(n, size);
}

void *
realloc (void *p, size_t n) {
  return alloc_refused() ? NULL : __libc_realloc(p, n);
}

#endif
