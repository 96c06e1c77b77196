/* Failure injection: the Nth sendmsg, recvmsg, allocation or bind fails. Whatever fails, every byte arrives once, or a
   call or the close callback says why; nothing crashes. */
#include "harness/conform.h"

#include <errno.h>

static ends_t q;

/* Moves `total` bytes over new streams of the same two sockets and ends both. */
static void
transfer_once (uint32_t id, uint64_t total, double limit) {
  side_t *a = malloc(sizeof(side_t)), *b = malloc(sizeof(side_t));
  struct sockaddr_storage to_a = socket_addr(&sock), to_b = socket_addr(&q.other_sock);
  side_init(a, &udx, id);
  side_init(b, &q.other, id + 1);
  side_connect(a, &sock, id + 1, &to_b);
  side_connect(b, &q.other_sock, id, &to_a);
  side_read(a);
  side_read(b);
  b->checked = b->discard = true;
  for (uint64_t at = 0; at < total; at += 20000) side_write_pattern(a, at, 20000);
  side_end(a);
  side_end(b);
  double end = limit_ms(limit);
  while (a->finals == 0 || b->finals == 0) {
    if (now_ms() > end) {
      check_failed(__FILE__, __LINE__, "not finished: %llu of %llu bytes, %ld sends, %ld receives",
        (unsigned long long) b->total, (unsigned long long) total, faults.sends, faults.recvs);
    }
    step();
  }
  CHECK_EQ(b->total, total);
  CHECK_EQ(b->mismatches, 0);
  CHECK_EQ(a->close_status, 0);
  CHECK_EQ(b->close_status, 0);
  free(a);
  free(b);
}

static const long nth[] = {0, 1, 2, 3, 5, 8, 13, 21, 34, 55};
#define NTH (sizeof(nth) / sizeof(nth[0]))

static void
failing_send (int error) {
  ends_open(&q, false, 1, 2);
  for (size_t i = 0; i < NTH; i++) {
    faults.fail_send = error;
    faults.fail_after = nth[i];
    transfer_once(100 + 2 * (uint32_t) i, 200000, 9000);
  }
  faults.fail_send = 0;
}

static void
send_eagain (void) {
  failing_send(EAGAIN);
}

static void
send_enobufs (void) {
  failing_send(ENOBUFS);
}

static void
send_eperm (void) {
  failing_send(EPERM);
}

static void
send_eio (void) {
  failing_send(EIO);
}

static void
send_einval (void) {
  failing_send(EINVAL);
}

static void
send_emsgsize (void) {
  failing_send(EMSGSIZE);
}

static void
send_refused (void) {
  failing_send(ECONNREFUSED);
}

static void
send_blocked (void) { /* the socket cannot be written to for a while, again and again */
  ends_open(&q, false, 1, 2);
  side_t *a = &q.a, *b = &q.b;
  b->checked = b->discard = true;
  uint64_t offset = 0, total = 3000000;
  double end = limit_ms(15000);
  for (long turn = 0; b->total < total; turn++) {
    CHECK(now_ms() < end && a->closes == 0);
    while (offset < total && offset < b->total + 200000) {
      side_write_pattern(a, offset, 20000);
      offset += 20000;
    }
    backend->block_sends(turn % 7 < 3);
    step();
  }
  backend->block_sends(false);
  CHECK_EQ(b->mismatches, 0);
}

static void
failing_recv (int error) {
  ends_open(&q, false, 1, 2);
  for (size_t i = 0; i < NTH; i++) {
    faults.fail_recv = error;
    faults.fail_recv_after = nth[i];
    transfer_once(100 + 2 * (uint32_t) i, 200000, 9000);
  }
}

static void
recv_eintr (void) {
  failing_recv(EINTR);
}

static void
recv_refused (void) {
  failing_recv(ECONNREFUSED);
}

static void
recv_enomem (void) {
  failing_recv(ENOMEM);
}

static void
on_closed (udx_socket_t *s) {
  (void) s;
  q.a.drains++;
}

static void
bind_fails (void) {
  world_open();
  static udx_socket_t second;
  struct sockaddr_storage any;
  memset(&any, 0, sizeof(any));
  uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &any);
  CHECK_EQ(udx_socket_init(&udx, &second, on_closed), 0);
  faults.fail_bind = EACCES;
  CHECK_EQ(udx_socket_bind(&second, (struct sockaddr *) &any, 0), UV_EACCES);
  faults.fail_bind = 0;
  CHECK_EQ(udx_socket_close(&second), 0);
  WAIT(q.a.drains == 1, 500);
}

#ifndef UDX_SANITIZED

/* One allocation fails somewhere between opening two streams and closing them. Calls may say ENOMEM and streams may
   close with it; bytes that are read must be right. */
static void
allocations (void) {
  ends_open(&q, false, 1, 2);
  side_write(&q.a, "warm", 4);
  WAIT(q.b.len == 4, 1000);
  long seen = 0, failed = 0;
  for (long n = 0; n < 400; n++) {
    side_t *a = calloc(1, sizeof(side_t)), *b = calloc(1, sizeof(side_t));
    struct sockaddr_storage to_a = socket_addr(&sock), to_b = socket_addr(&q.other_sock);
    uint32_t id = 100 + 2 * (uint32_t) n;
    long before = faults.allocs;
    faults.fail_alloc_after = n;
    faults.fail_alloc = true;
    int ra = udx_stream_init(&udx, &a->stream, id, on_side_close, on_side_finalize);
    int rb = udx_stream_init(&q.other, &b->stream, id + 1, on_side_close, on_side_finalize);
    CHECK(ra == 0 || ra == UV_ENOMEM);
    CHECK(rb == 0 || rb == UV_ENOMEM);
    int ca = ra == 0 ? udx_stream_connect(&a->stream, &sock, id + 1, (struct sockaddr *) &to_b) : ra;
    int cb = rb == 0 ? udx_stream_connect(&b->stream, &q.other_sock, id, (struct sockaddr *) &to_a) : rb;
    bool ended = false;
    if (ra == 0) side_read(a);
    if (rb == 0) side_read(b);
    b->checked = b->discard = true;
    if (ca == 0 && cb == 0) {
      ended = side_write_pattern(a, 0, 60000) >= 0 && side_end(a) >= 0 && side_end(b) >= 0;
    }
    double end = now_ms() + (ended ? 3000 : 50);
    while (now_ms() < end && !(a->finals && b->finals)) step();
    faults.fail_alloc = false;
    CHECK_EQ(b->mismatches, 0);
    if (ended && a->closes && a->close_status == 0 && b->close_status == 0) CHECK_EQ(b->total, 60000);
    else failed++;
    if (ra == 0 && !a->closes) udx_stream_destroy(&a->stream);
    if (rb == 0 && !b->closes) udx_stream_destroy(&b->stream);
    if (ra == 0) WAIT(a->finals == 1, 1000);
    if (rb == 0) WAIT(b->finals == 1, 1000);
    long used = faults.allocs - before;
    if (used > seen) seen = used;
    free(a);
    free(b);
    if (n > seen + 5) break; /* the counter no longer reaches an allocation */
  }
  printf("    up to %ld allocations per pair, %ld pairs did not complete\n", seen, failed);
  side_write(&q.a, "still", 5);
  WAIT(q.b.len == 9, 2000);
}

#else

static void
allocations (void) {
}

#endif

const test_t failure_tests[] = {
  {"FAIL-1", "Nth send says EAGAIN", send_eagain, NULL, 60, SOCKETS},
  {"FAIL-2", "Nth send says ENOBUFS", send_enobufs, NULL, 60, SOCKETS},
  {"FAIL-3", "Nth send says EPERM", send_eperm, NULL, 60, SOCKETS},
  {"FAIL-4", "Nth send says EIO", send_eio, NULL, 60, SOCKETS},
  {"FAIL-5", "Nth send says EINVAL", send_einval, NULL, 60, SOCKETS},
  {"FAIL-6", "Nth send says EMSGSIZE", send_emsgsize, NULL, 60, SOCKETS},
  {"FAIL-7", "Nth send says ECONNREFUSED", send_refused, NULL, 60, SOCKETS},
  {"FAIL-8", "the socket blocks again and again", send_blocked, NULL, 30, BOTH},
  {"FAIL-9", "Nth receive says EINTR", recv_eintr, NULL, 60, SOCKETS},
  {"FAIL-10", "Nth receive says ECONNREFUSED", recv_refused, NULL, 60, SOCKETS},
  {"FAIL-11", "Nth receive says ENOMEM", recv_enomem, NULL, 60, SOCKETS},
  {"FAIL-12", "bind fails", bind_fails, NULL, 0, SOCKETS},
  {"FAIL-13", "Nth allocation fails", allocations, "no checks", 90, SOCKETS},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
