/* udx.md 10.1: what the reference does wrong and this implementation has to do right. The reference is expected to
   fail these. */
#include "harness/conform.h"

#include <dirent.h>
#include <malloc.h>
#include <unistd.h>

static fixture_t f;
static ends_t q;

static void
recovery_cwnd (void) {
  fixture_open(&f, true);
  side_write(&f.s, "w", 1);
  WAIT(DATAS(f.p) == 1, 500);
  settle(20);
  peer_send(f.p, 0, 0, 1, NULL, 0);
  WAIT(f.s.acks == 1, 500);
  side_write_pattern(&f.s, 0, 9000);
  WAIT(peer_count_seq(f.p, 7) == 1, 500);
  settle(20);
  uint32_t b[] = {4, 8};
  peer_sack(f.p, 0, 1, b, 1);
  WAIT(peer_count_seq(f.p, 1) >= 2, 500);
  settle(20);
  peer_send(f.p, 0, 0, 8, NULL, 0);
  settle(10);
  side_write(&f.s, "x", 1);
  WAIT(peer_count_seq(f.p, peer_last(f.p, DATA, DATA)->seq) >= 1, 500);
  settle(20);
  uint32_t next = 0;
  udx_stream_get_seq(&f.s.stream, &next);
  peer_send(f.p, 0, 0, next, NULL, 0);
  settle(20);
  CHECK(stream_cwnd(&f.s.stream) < 1000);
}

static long
resident_kb (void) {
  unsigned long size = 0, pages = 0;
  FILE *s = fopen("/proc/self/statm", "r");
  if (!s || fscanf(s, "%lu %lu", &size, &pages) != 2) pages = 0;
  if (s) fclose(s);
  return (long) pages * 4;
}

static void
far_apart (void) {
  fixture_open(&f, true);
  struct mallinfo2 before = mallinfo2();
  long rss = resident_kb();
  peer_send(f.p, DATA, 1, 0, "a", 1);
  peer_send(f.p, DATA, (1u << 26) + 1, 0, "b", 1); /* equal low bits */
  peer_send(f.p, DATA, 0x7ffffff1u, 0, "c", 1);
  settle(100);
  struct mallinfo2 after = mallinfo2();
  CHECK(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + 4000000);
  CHECK(resident_kb() - rss < 8000);
  peer_send(f.p, DATA, 0, 0, "z", 1);
  WAIT(f.s.len >= 2, 500);
}

static void
random_ids (void) {
  world_open();
  enum { N = 4000 };
  static side_t *s[N];
  static bool used_low[1 << 16];
  uint64_t x = 88172645463325252u;
  struct mallinfo2 before;
  for (int i = 0; i < N; i++) s[i] = malloc(sizeof(side_t));
  before = mallinfo2();
  for (int i = 0; i < N; i++) {
    uint32_t id;
    do {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      id = (uint32_t) (x >> 32);
    } while (used_low[id >> 16]);
    used_low[id >> 16] = true;
    side_init(s[i], &udx, id);
  }
  struct mallinfo2 after = mallinfo2();
  size_t grown = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
  printf("    %zu bytes per stream beyond the struct\n", grown / N);
  CHECK(grown / N <= 1024);
}

static void
keepalive_off (void) {
  fixture_open(&f, false);
  udx_stream_set_keepalive(&f.s.stream, 20);
  side_connect(&f.s, &sock, REMOTE_ID, &f.p->addr);
  settle(50);
  udx_stream_set_keepalive(&f.s.stream, 0);
  size_t before = peer_count(f.p, HEARTBEAT, HEARTBEAT);
  CHECK(before >= 1);
  settle(150);
  CHECK(peer_count(f.p, HEARTBEAT, HEARTBEAT) <= before + 2);
}

static int
descriptors (void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static void
connect_leak (void) {
  fixture_open(&f, false);
  struct sockaddr_storage to;
  memset(&to, 0, sizeof(to));
  uv_ip4_addr("255.255.255.255", 9, (struct sockaddr_in *) &to); /* the kernel refuses it */
  int before = descriptors();
  static side_t s[20];
  for (uint32_t i = 0; i < 20; i++) {
    side_init(&s[i], &udx, 100 + i);
    (void) udx_stream_connect(&s[i].stream, &sock, 1, (struct sockaddr *) &to);
  }
  CHECK_EQ(descriptors(), before);
}

static void
failed_connect (void) {
  fixture_open(&f, false);
  struct sockaddr_storage to;
  memset(&to, 0, sizeof(to));
  uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *) &to);
  CHECK_EQ(udx_stream_connect(&f.s.stream, &sock, 1, (struct sockaddr *) &to), UV_EINVAL);
  side_connect(&f.s, &sock, REMOTE_ID, &f.p->addr);
  side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) == 1, 500);
}

static void
change_without_socket (void) {
  fixture_open(&f, false);
  CHECK_EQ(udx_stream_change_remote(&f.s.stream, &sock, 1, (struct sockaddr *) &f.p->addr, NULL), UV_EINVAL);
}

static int sent;

static void
on_sent (udx_socket_send_t *req, int status) {
  (void) req;
  (void) status;
  sent++;
}

static void
mapped_ttl (void) {
  require_address("::");
  world_open();
  static udx_socket_t six;
  static udx_socket_send_t req;
  socket_open(&udx, &six, "::", 0, 0);
  peer_t *p = peer_open(AF_INET);
  uv_buf_t buf = uv_buf_init((char *) (uintptr_t) "x", 1);
  CHECK_EQ(udx_socket_send_ttl(&req, &six, &buf, 1, (struct sockaddr *) &p->addr, 4, on_sent), 0);
  WAIT(p->n == 1, 500);
  CHECK_EQ(p->log[0].ttl, 4);
}

static void
oversize (void) {
  fixture_open(&f, true);
  uint8_t body[3000] = {0};
  peer_send(f.p, DATA, 0, 0, body, sizeof(body));
  settle(50);
  CHECK(f.s.total == 0 || f.s.total == sizeof(body));
  peer_send(f.p, DATA, 0, 0, "x", 1);
  WAIT(f.s.total >= 1, 500);
}

static void
late_end (void) {
  fixture_open(&f, true);
  side_end(&f.s);
  WAIT(peer_count(f.p, END, END) == 1, 500);
  peer_send(f.p, END, 0, 1, NULL, 0);
  WAIT(f.s.closes == 1, 500);
  WAIT(ACKS(f.p) == 1, 500);
  settle(50);
  peer_send(f.p, END, 0, 1, NULL, 0); /* our last ACK was lost */
  WAIT(ACKS(f.p) == 2, 500);
  CHECK_EQ(peer_last(f.p, (uint8_t) ~SACK, 0)->ack, 1);
  CHECK_EQ(peer_last(f.p, (uint8_t) ~SACK, 0)->id, REMOTE_ID);
}

static uint32_t held;

static uint32_t
held_back (udx_stream_t *s) {
  (void) s;
  return held;
}

static void
no_small_window (void) {
  fixture_open(&f, true);
  f.s.stream.get_read_buffer_size = held_back;
  udx_stream_set_rwnd_max(&f.s.stream, 4000);
  for (uint32_t i = 0; i < 40; i++) {
    held = i * 150;
    size_t before = ACKS(f.p);
    peer_send(f.p, DATA, i, 0, "x", 1);
    WAIT(ACKS(f.p) > before, 500);
    uint32_t w = peer_last(f.p, (uint8_t) ~SACK, 0)->window;
    CHECK(w == 0 || w >= 1500);
    CHECK(held <= 4000 ? w <= 4000 - held : w == 0);
  }
}

/* Less than one packet per 10 ms. The reference passes too: it is limited by cwnd there. */
static void
slow_path (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 10;
  q.path->rate = 125; /* 1 Mbit/s */
  q.path->queue = 60000;
  q.b.checked = q.b.discard = true;
  double start = now_ms();
  uint64_t offset = 0;
  while (now_ms() - start < 8000) {
    while (offset < q.b.total + 100000) {
      side_write_pattern(&q.a, offset, 10000);
      offset += 10000;
    }
    step();
  }
  CHECK_EQ(q.b.mismatches, 0);
  double share = (double) q.b.total / (125 * 8000.0);
  printf("    share of the path %.2f, dropped %llu of %llu\n", share, (unsigned long long) q.path->dropped[1],
    (unsigned long long) q.path->forwarded[1]);
  CHECK(share > 0.85);
  CHECK(q.path->dropped[1] * 20 < q.path->forwarded[1]);
}

/* udx.md 3.3 and OBS of 10.2: data in bulk is acknowledged at most once per two packets on average. */
static void
fewer_acks (void) {
  ends_open(&q, false, 1, 2);
  q.b.checked = q.b.discard = true;
  side_write_pattern(&q.a, 0, 5000000);
  WAIT(q.b.total == 5000000, 5000);
  CHECK_EQ(q.b.mismatches, 0);
  CHECK(q.other.packets_tx * 10 < udx.packets_tx * 6);
}

static int churned;

static void
recreate (void *arg) {
  udx_stream_destroy(&((side_t *) arg)->stream);
}

/* Issue 3: no descriptor or heap growth over 100,000 streams opened and closed. */
static void
churn (void) {
  ends_open(&q, false, 1, 2);
  struct sockaddr_storage to_a = socket_addr(&sock), to_b = socket_addr(&q.other_sock);
  size_t heap = 0;
  int fds = 0;
  for (churned = 0; churned < 50000; churned++) {
    if (churned == 10000) {
      heap = mallinfo2().uordblks;
      fds = descriptors();
    }
    side_t *a = malloc(sizeof(side_t)), *b = malloc(sizeof(side_t));
    uint32_t id = 100 + 2 * (uint32_t) churned;
    side_init(a, &udx, id);
    side_init(b, &q.other, id + 1);
    side_connect(a, &sock, id + 1, &to_b);
    side_connect(b, &q.other_sock, id, &to_a);
    side_read(b);
    b->discard = true;
    b->on_read = recreate;
    side_write(a, "x", 1);
    double end = limit_ms(3000);
    while (!b->finals || !a->finals) {
      if (now_ms() > end) {
        check_failed(__FILE__, __LINE__, "pair %d: read %d, closes %d %d", churned, b->reads, a->closes, b->closes);
      }
      backend->turn(0); /* no waiting: there are 100,000 streams */
    }
    free(a);
    free(b);
  }
  long growth = (long) mallinfo2().uordblks - (long) heap;
  printf("    heap grew by %ld bytes over 80,000 streams\n", growth);
  CHECK(growth < 20000);
  CHECK_EQ(descriptors(), fds);
}

const test_t defect_tests[] = {
  {"OBS-3", "cwnd stays sane after a fast recovery in STARTUP", recovery_cwnd, "OBS-3", 0, SIMULATOR},
  {"OBS-6", "pacing on a 1 Mbit/s path", slow_path, NULL, 0, SIMULATOR},
  {"OBS-8", "a late END is acknowledged again", late_end, "OBS-8", 0, SIMULATOR},
  {"OBS-9", "packets far apart reserve no memory", far_apart, "OBS-9", 0, SIMULATOR},
  {"OBS-10", "random ids cost at most 1 KiB per stream", random_ids, "OBS-10", 0, SIMULATOR},
  {"OBS-12", "keepalive can be switched off", keepalive_off, "OBS-12", 0, SIMULATOR},
  {"OBS-13", "connect leaks no descriptor", connect_leak, "OBS-13", 0, SOCKETS},
  {"OBS-14", "a failed connect can be repeated", failed_connect, "OBS-14", 0, SIMULATOR},
  {"OBS-14", "change of remote without a socket", change_without_socket, "OBS-14", 0, SIMULATOR},
  {"OBS-19", "TTL for IPv4 through an IPv6 socket", mapped_ttl, "OBS-19", 0, BOTH},
  {"OBS-20", "no prefix of an oversize datagram is delivered", oversize, "OBS-20", 0, BOTH},
  {"CHURN", "100,000 streams leave no heap and no descriptors behind", churn, NULL, 60, SOCKETS},
  {"WINDOW", "never a window between 1 byte and one packet", no_small_window, "4.7", 0, SIMULATOR},
  {"ACKS", "at most 0.6 ACKs per data packet in bulk", fewer_acks, "10.2", 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
