/*
 * What work takes from the system, as counts: calls per packet and per round trip, and requests to the heap, of both
 * sides together on 127.0.0.1. A copy, a wake-up or a call more for each packet is found out; times are not looked at.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "engine/stream.h"
#include "test.h"

#ifdef __linux__

static struct { uint64_t sends, receives, waits, requests; } counted;

#define NEXT(name)                                                                                                     \
  static __typeof__(&name) next;                                                                                       \
  if (next == NULL) {                                                                                                  \
    void *symbol = dlsym(RTLD_NEXT, #name);                                                                            \
    memcpy(&next, &symbol, sizeof(next));                                                                              \
  }

ssize_t
sendmsg (int fd, const struct msghdr *message, int flags) {
  NEXT(sendmsg)
  counted.sends++;
  return next(fd, message, flags);
}

int
sendmmsg (int fd, struct mmsghdr *messages, unsigned int count, int flags) {
  NEXT(sendmmsg)
  counted.sends++;
  return next(fd, messages, count, flags);
}

ssize_t
recvmsg (int fd, struct msghdr *message, int flags) {
  NEXT(recvmsg)
  counted.receives++;
  return next(fd, message, flags);
}

int
recvmmsg (int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout) {
  NEXT(recvmmsg)
  counted.receives++;
  return next(fd, messages, count, flags, timeout);
}

int
epoll_pwait (int fd, struct epoll_event *events, int count, int timeout, const sigset_t *signals) {
  NEXT(epoll_pwait)
  counted.waits++;
  return next(fd, events, count, timeout, signals);
}

int
epoll_wait (int fd, struct epoll_event *events, int count, int timeout) {
  NEXT(epoll_wait)
  counted.waits++;
  return next(fd, events, count, timeout);
}

/* Of the sanitizers, which have an allocator of their own. Other builds do not count requests. */
extern int
__sanitizer_install_malloc_and_free_hooks (
  void (*on_malloc)(const volatile void *, size_t), void (*on_free)(const volatile void *)) __attribute__((weak));

static void
on_malloc (const volatile void *memory, size_t size) {
  (void) memory;
  (void) size;
  counted.requests++;
}

static void
on_free (const volatile void *memory) {
  (void) memory;
}

/* ---- two ends on one loop ---- */

/*
 * Measured are 11, 8, 5 and 0 for bulk, whose batches are as large as what has arrived, and 200, 200, 200 and 0.
 */
enum {
  BULK_CALLS = 30,
  BULK_CALLS_UNSEGMENTED = 200,
  BULK_WAITS = 20,
  BULK_REQUESTS = 0,
  ECHO_SENDS = 220,
  ECHO_RECEIVES = 220,
  ECHO_WAITS = 220,
  ECHO_REQUESTS = 0,
};

enum {
  MESSAGE = 64,
  BLOCK = 64 << 10,
  BLOCKS = 400,
  AHEAD = 8,
  ROUNDS = 400,
};

typedef struct end_s {
  udx_t udx;
  udx_socket_t socket;
  udx_stream_t stream;
  struct sockaddr_in address;
} end_t;

static uv_loop_t loop;
static end_t ends[2];
static uint8_t bytes[BLOCK];
static uint64_t requests[AHEAD][64]; /* room for write requests, which are the caller's */
static int messages[2];              /* sent by either end */
static size_t written, arrived, rounds;
static bool echoes, is_done, is_hooked;

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_finalize (udx_stream_t *stream) {
  udx_socket_close(stream == &ends[0].stream ? &ends[0].socket : &ends[1].socket);
}

static void
on_close (udx_stream_t *stream, int status) {
  (void) stream;
  (void) status;
}

static void
on_acknowledged (udx_stream_write_t *request, int status, int unordered) {
  (void) unordered;
  CHECK(status == 0 || is_done);
  if (echoes || written == BLOCKS) return;
  uv_buf_t buf = uv_buf_init((char *) bytes, BLOCK);
  written++;
  udx_stream_write(request, &ends[0].stream, &buf, 1, on_acknowledged);
}

/* An answer can be read before what it answers was acknowledged, so a request is used again some rounds later only. */
static void
send_message (int from) {
  uv_buf_t buf = uv_buf_init((char *) bytes, MESSAGE);
  uint64_t *request = requests[2 * (messages[from]++ % (AHEAD / 2)) + from];
  udx_stream_write((udx_stream_write_t *) request, &ends[from].stream, &buf, 1, on_acknowledged);
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) buf;
  if (length < 0) return;
  arrived += (size_t) length;
  if (!echoes) {
    is_done = arrived == (size_t) BLOCKS * BLOCK;
    return;
  }
  if (arrived < MESSAGE) return;
  arrived = 0;
  int here = stream == &ends[1].stream;
  if (here == 0 && ++rounds == ROUNDS) {
    is_done = true;
    return;
  }
  send_message(here);
}

static void
open_ends (void) {
  if (__sanitizer_install_malloc_and_free_hooks && !is_hooked) {
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    is_hooked = true;
  }
  memset(ends, 0, sizeof(ends));
  CHECK_EQ(uv_loop_init(&loop), 0);
  for (int i = 0; i < 2; i++) {
    end_t *end = &ends[i];
    end->address = (struct sockaddr_in){.sin_family = AF_INET};
    end->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int length = sizeof(end->address);
    CHECK_EQ(udx_init(&loop, &end->udx, NULL), 0);
    CHECK_EQ(udx_socket_init(&end->udx, &end->socket, on_socket_close), 0);
    CHECK_EQ(udx_socket_bind(&end->socket, (struct sockaddr *) &end->address, 0), 0);
    CHECK_EQ(udx_socket_getsockname(&end->socket, (struct sockaddr *) &end->address, &length), 0);
    CHECK_EQ(udx_stream_init(&end->udx, &end->stream, (uint32_t) i + 1, on_close, on_finalize), 0);
  }
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(udx_stream_connect(
               &ends[i].stream, &ends[i].socket, (uint32_t) (1 - i) + 1, (struct sockaddr *) &ends[1 - i].address),
      0);
    CHECK_EQ(udx_stream_read_start(&ends[i].stream, on_read), 0);
  }
  written = arrived = rounds = 0;
  is_done = false;
}

static void
run_until (size_t bytes_or_rounds) {
  while (!is_done && (echoes ? rounds : arrived) < bytes_or_rounds) uv_run(&loop, UV_RUN_ONCE);
}

static void
close_ends (void) {
  for (int i = 0; i < 2; i++) udx_stream_destroy(&ends[i].stream);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

static void
check_most (const char *what, uint64_t count, uint64_t limit) {
  printf("  %s: %llu, at most %llu\n", what, (unsigned long long) count, (unsigned long long) limit);
  CHECK(count <= limit);
}

TEST(calls_and_requests_per_packet) {
  echoes = false;
  open_ends();
  for (int i = 0; i < AHEAD; i++) on_acknowledged((udx_stream_write_t *) requests[i], 0, 0);
  /* Windows, rings and the packet size have grown by then. */
  run_until((size_t) BLOCKS * BLOCK / 2);
  uint64_t packets = ends[0].stream.packets_tx;
  memset(&counted, 0, sizeof(counted));
  run_until((size_t) BLOCKS * BLOCK);
  packets = ends[0].stream.packets_tx - packets;
  CHECK(is_done && packets > 0);
  /* What the system does not segment leaves in batches of 64. */
  bool segments = ends[0].udx.gso_fallbacks == 0 && ends[0].udx.gso_batches > 0;
  uint64_t calls = segments ? BULK_CALLS : BULK_CALLS_UNSEGMENTED;
  check_most("sending calls per 1000 data packets", counted.sends * 1000 / packets, calls);
  check_most("receiving calls per 1000 data packets", counted.receives * 1000 / packets, calls);
  check_most("waits per 1000 data packets", counted.waits * 1000 / packets, BULK_WAITS);
  check_most("requests to the heap", counted.requests, BULK_REQUESTS);
  close_ends();
}

TEST(calls_and_requests_per_round_trip) {
  echoes = true;
  open_ends();
  send_message(0);
  run_until(ROUNDS / 2);
  memset(&counted, 0, sizeof(counted));
  size_t before = rounds;
  run_until(ROUNDS);
  uint64_t count = rounds - before;
  CHECK(is_done && count > 0);
  check_most("sending calls per 100 round trips", counted.sends * 100 / count, ECHO_SENDS);
  check_most("receiving calls per 100 round trips", counted.receives * 100 / count, ECHO_RECEIVES);
  check_most("waits per 100 round trips", counted.waits * 100 / count, ECHO_WAITS);
  check_most("requests to the heap", counted.requests, ECHO_REQUESTS);
  close_ends();
}

TEST_MAIN(TEST_ENTRY(calls_and_requests_per_packet), TEST_ENTRY(calls_and_requests_per_round_trip))

#else

int
main (void) {
  return 0;
}

#endif
