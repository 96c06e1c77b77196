/* A path in user space: delay, random loss, and a rate-limited drop-tail queue between two UDP ports.
   Datagrams from `--a-peer` arrive at `--a`, leave from `--b` to `--b-peer`, and the other way round.
   With `--pairs 2` a second pair, whose four ports are each two higher, shares the queue.
   The rate limit acts from a to b only. Statistics are one JSON line at SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define SLOT_BYTES 2048u
#define SLOTS 131072u /* per direction: 100 ms at 1.3 million packets per second */
#define BATCH 44u
#define IP_OVERHEAD 28u
#define MAX_BIN 4096u    /* queue delay histogram, 0.1 ms per bin */
#define SKIP_SECONDS 2.0 /* start-up, left out of the histogram */

typedef struct {
  uint64_t due;
  uint16_t len;
} record_t;

#define PAIRS_MAX 2

typedef struct {
  uint64_t free_at; /* when the bottleneck has sent everything queued so far */
  double rate;      /* bytes per ns */
  double queue;     /* bytes */
  uint64_t bins[MAX_BIN];
  uint64_t binned;
} bottleneck_t;

typedef struct {
  int in, out;
  struct sockaddr_in to;
  record_t *records;
  uint8_t *slots;
  uint32_t head, tail;
  bottleneck_t *bottleneck; /* NULL = no limit */
  double loss;
  uint64_t seen, lost, overflow, full, sent, errors;
} path_t;

static uint64_t delay_ns, first_ns;
static uint64_t rng = 0x9e3779b97f4a7c15u;
static volatile sig_atomic_t stop;

static void
on_signal (int s) {
  (void) s;
  stop = 1;
}

static uint64_t
now_ns (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static double
uniform (void) {
  rng ^= rng << 13;
  rng ^= rng >> 7;
  rng ^= rng << 17;
  return (double) (rng >> 11) * (1.0 / 9007199254740992.0);
}

static void
accept_packet (path_t *p, const uint8_t *data, size_t len, uint64_t now) {
  p->seen++;
  if (len > SLOT_BYTES) {
    p->errors++;
    return;
  }
  if (p->loss > 0 && uniform() < p->loss) {
    p->lost++;
    return;
  }
  uint64_t leave = now;
  bottleneck_t *line = p->bottleneck;
  if (line) {
    uint64_t begin = line->free_at > now ? line->free_at : now;
    double waiting = (double) (begin - now) * line->rate;
    if (waiting + (double) len > line->queue) {
      p->overflow++;
      return;
    }
    if (now - first_ns > (uint64_t) (SKIP_SECONDS * 1e9)) {
      uint64_t bin = (begin - now) / 100000u;
      line->bins[bin < MAX_BIN ? bin : MAX_BIN - 1]++;
      line->binned++;
    }
    leave = begin + (uint64_t) ((double) (len + IP_OVERHEAD) / line->rate);
    line->free_at = leave;
  }
  if (p->tail - p->head == SLOTS) {
    p->full++;
    return;
  }
  uint32_t i = p->tail++ & (SLOTS - 1);
  p->records[i].due = leave + delay_ns;
  p->records[i].len = (uint16_t) len;
  memcpy(p->slots + (size_t) i * SLOT_BYTES, data, len);
}

static void
receive (path_t *p) {
  static uint8_t buffer[65536];
  for (int turn = 0; turn < 64; turn++) {
    union {
      char bytes[CMSG_SPACE(sizeof(int))];
      struct cmsghdr align;
    } control;
    struct iovec iov = {buffer, sizeof(buffer)};
    struct msghdr m = {0};
    m.msg_iov = &iov;
    m.msg_iovlen = 1;
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof(control.bytes);
    ssize_t n = recvmsg(p->in, &m, MSG_DONTWAIT);
    if (n < 0) return;
    size_t segment = (size_t) n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
      if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
        int size;
        memcpy(&size, CMSG_DATA(c), sizeof(size));
        if (size > 0) segment = (size_t) size;
      }
    }
    uint64_t now = now_ns();
    if (first_ns == 0) first_ns = now;
    size_t at = 0;
    do {
      size_t len = (size_t) n - at < segment ? (size_t) n - at : segment;
      accept_packet(p, buffer + at, len, now);
      at += len;
    } while (at < (size_t) n);
  }
}

static void
transmit (path_t *p, uint64_t now) {
  while (p->head != p->tail) {
    struct iovec iov[BATCH];
    uint32_t n = 0;
    uint16_t size = 0;
    while (n < BATCH && p->head + n != p->tail) {
      uint32_t i = (p->head + n) & (SLOTS - 1);
      record_t *r = &p->records[i];
      if (r->due > now) break;
      if (n == 0) size = r->len;
      if (r->len > size) break;
      iov[n].iov_base = p->slots + (size_t) i * SLOT_BYTES;
      iov[n].iov_len = r->len;
      n++;
      if (r->len < size || size == 0) break;
    }
    if (n == 0) return;
    union {
      char bytes[CMSG_SPACE(sizeof(uint16_t))];
      struct cmsghdr align;
    } control;
    struct msghdr m = {0};
    m.msg_name = &p->to;
    m.msg_namelen = sizeof(p->to);
    m.msg_iov = iov;
    m.msg_iovlen = n;
    if (n > 1) {
      memset(&control, 0, sizeof(control));
      m.msg_control = control.bytes;
      m.msg_controllen = sizeof(control.bytes);
      struct cmsghdr *c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = SOL_UDP;
      c->cmsg_type = UDP_SEGMENT;
      c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
      memcpy(CMSG_DATA(c), &size, sizeof(size));
    }
    if (sendmsg(p->out, &m, 0) < 0) p->errors += n;
    else p->sent += n;
    p->head += n;
  }
}

static int
open_port (int port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  int size = 4 << 20, on = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0) {
    perror("bind");
    exit(2);
  }
  return fd;
}

static double
quantile (const bottleneck_t *p, double q) {
  uint64_t want = (uint64_t) (q * (double) p->binned), sum = 0;
  for (uint32_t i = 0; i < MAX_BIN; i++) {
    sum += p->bins[i];
    if (sum > want) return i * 0.1;
  }
  return 0;
}

typedef struct options_s {
  int a, b, a_peer, b_peer, pairs;
  double loss, rate_mbit, queue, limit;
} options_t;

static int
parse (options_t *o, int argc, char **argv) {
  static const struct option options[] = {
    {"a", required_argument, 0, 'a'},
    {"b", required_argument, 0, 'b'},
    {"a-peer", required_argument, 0, 'A'},
    {"b-peer", required_argument, 0, 'B'},
    {"delay", required_argument, 0, 'd'},
    {"loss", required_argument, 0, 'l'},
    {"rate", required_argument, 0, 'r'},
    {"queue", required_argument, 0, 'q'},
    {"limit", required_argument, 0, 't'},
    {"seed", required_argument, 0, 's'},
    {"pairs", required_argument, 0, 'p'},
    {0, 0, 0, 0},
  };
  *o = (options_t){.a = 18010, .b = 18011, .a_peer = 18000, .b_peer = 18001, .pairs = 1, .queue = 1e6, .limit = 120};
  int c;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    switch (c) {
    case 'a':
      o->a = atoi(optarg);
      break;
    case 'b':
      o->b = atoi(optarg);
      break;
    case 'A':
      o->a_peer = atoi(optarg);
      break;
    case 'B':
      o->b_peer = atoi(optarg);
      break;
    case 'd':
      delay_ns = (uint64_t) (atof(optarg) * 1e6);
      break;
    case 'l':
      o->loss = atof(optarg) / 100;
      break;
    case 'r':
      o->rate_mbit = atof(optarg);
      break;
    case 'q':
      o->queue = atof(optarg);
      break;
    case 't':
      o->limit = atof(optarg);
      break;
    case 'p':
      o->pairs = atoi(optarg);
      break;
    case 's':
      rng ^= strtoull(optarg, NULL, 10) * 2654435761u;
      break;
    default:
      return -1;
    }
  }
  return o->pairs < 1 || o->pairs > PAIRS_MAX ? -1 : 0;
}

static path_t paths[2 * PAIRS_MAX]; /* there and back, per pair */
static bottleneck_t line;

static int
open_pair (const options_t *o, int pair) {
  int fd_a = open_port(o->a + 2 * pair), fd_b = open_port(o->b + 2 * pair);
  for (int i = 0; i < 2; i++) {
    path_t *p = &paths[2 * pair + i];
    p->in = i ? fd_b : fd_a;
    p->out = i ? fd_a : fd_b;
    p->to.sin_family = AF_INET;
    p->to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->to.sin_port = htons((uint16_t) ((i ? o->a_peer : o->b_peer) + 2 * pair));
    p->records = calloc(SLOTS, sizeof(record_t));
    p->slots = malloc((size_t) SLOTS * SLOT_BYTES);
    p->loss = o->loss;
    if (!p->records || !p->slots) return -1;
    if (i == 0 && o->rate_mbit > 0) p->bottleneck = &line;
  }
  return 0;
}

static void
forward (int count, double limit) {
  uint64_t end = now_ns() + (uint64_t) (limit * 1e9);
  while (!stop) {
    uint64_t now = now_ns();
    if (now > end) break;
    uint64_t wake = now + 100000000u;
    struct pollfd fds[2 * PAIRS_MAX];
    for (int i = 0; i < count; i++) {
      path_t *p = &paths[i];
      transmit(p, now);
      if (p->head != p->tail && p->records[p->head & (SLOTS - 1)].due < wake)
        wake = p->records[p->head & (SLOTS - 1)].due;
      fds[i] = (struct pollfd){p->in, POLLIN, 0};
    }
    now = now_ns();
    uint64_t wait = wake > now ? wake - now : 0;
    struct timespec t = {(time_t) (wait / 1000000000u), (long) (wait % 1000000000u)};
    if (ppoll(fds, (nfds_t) count, &t, NULL) <= 0) continue;
    for (int i = 0; i < count; i++) {
      if (fds[i].revents) receive(&paths[i]);
    }
  }
}

static void
print_summary (int count) {
  path_t there = {0}, back = {0};
  for (int i = 0; i < count; i++) {
    path_t *sum = i % 2 ? &back : &there;
    sum->seen += paths[i].seen;
    sum->lost += paths[i].lost;
    sum->overflow += paths[i].overflow;
    sum->full += paths[i].full;
    sum->errors += paths[i].errors;
  }
  printf("{\"seen\":%llu,\"lost\":%llu,\"overflow\":%llu,\"full\":%llu,\"errors\":%llu,\"back_seen\":%llu,"
         "\"queue_ms_p50\":%.1f,\"queue_ms_p95\":%.1f}\n",
    (unsigned long long) there.seen, (unsigned long long) there.lost, (unsigned long long) there.overflow,
    (unsigned long long) (there.full + back.full), (unsigned long long) (there.errors + back.errors),
    (unsigned long long) back.seen, quantile(&line, 0.5), quantile(&line, 0.95));
}

int
main (int argc, char **argv) {
  options_t o;
  if (parse(&o, argc, argv)) return 64;
  prctl(PR_SET_TIMERSLACK, 1000);
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);

  line.rate = o.rate_mbit / 8e3; /* Mbit/s -> bytes per ns */
  line.queue = o.queue;
  for (int pair = 0; pair < o.pairs; pair++) {
    if (open_pair(&o, pair)) return 2;
  }
  printf("ready\n");
  fflush(stdout);
  forward(2 * o.pairs, o.limit);
  print_summary(2 * o.pairs);
  return 0;
}
