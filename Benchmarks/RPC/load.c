/*
 * Requests to a DHT node as fast as it answers, and a bare echo to compare it with.
 *
 *   load echo PORT                 answers every datagram with itself, until it is ended
 *   load ping|find PORT SECONDS    prints answers per second; 256 requests are under way
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, UNDER_WAY = 256, BYTES = 2048 };

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];
static uint8_t memory[BATCH][BYTES];

static double
now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void
prepare (size_t size, int named) {
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){memory[i], size};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    if (named) messages[i].msg_hdr.msg_name = &peers[i], messages[i].msg_hdr.msg_namelen = sizeof(*peers);
  }
}

static int
echo (int fd, const struct sockaddr_in *address) {
  if (bind(fd, (const struct sockaddr *) address, sizeof(*address)) != 0) return 1;
  for (;;) {
    prepare(BYTES, 1);
    int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < count; i++) parts[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < count;) {
      int more = sendmmsg(fd, messages + sent, (unsigned) (count - sent), 0);
      if (more <= 0) break;
      sent += more;
    }
  }
}

/* dht-rpc.md 5.1: PING and FIND_NODE are internal commands. */
static size_t
request (uint8_t *bytes, int finds, uint32_t id) {
  static const uint8_t to[] = {127, 0, 0, 1, 1, 0};
  bytes[0] = 3;
  bytes[1] = finds ? 12 : 4;
  bytes[2] = (uint8_t) id;
  bytes[3] = (uint8_t) (id >> 8);
  memcpy(bytes + 4, to, sizeof(to));
  bytes[10] = finds ? 2 : 0;
  if (!finds) return 11;
  for (int i = 0; i < 32; i++) bytes[11 + i] = (uint8_t) ((id * 2654435761u) >> (i % 24));
  return 43;
}

static int
load (int fd, const struct sockaddr_in *address, int finds, double seconds) {
  if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) != 0) return 1;
  uint32_t id = 0;
  uint64_t answers = 0;
  int under_way = 0;
  double start = now(), end = start + seconds;
  while (now() < end) {
    while (under_way + BATCH <= UNDER_WAY) {
      prepare(0, 0);
      for (int i = 0; i < BATCH; i++) parts[i].iov_len = request(memory[i], finds, id++);
      int sent = sendmmsg(fd, messages, BATCH, 0);
      if (sent <= 0) break;
      under_way += sent;
    }
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    // What does not come within 20 ms is lost.
    if (poll(&wait, 1, 20) == 0) under_way = 0;
    prepare(BYTES, 0);
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0) continue;
    answers += (uint64_t) count;
    under_way = under_way > count ? under_way - count : 0;
  }
  printf("%.0f\n", (double) answers / (now() - start));
  return 0;
}

int
main (int argc, char **argv) {
  if (argc < 3) return 64;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(argv[2]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  if (strcmp(argv[1], "echo") == 0) return echo(fd, &address);
  return load(fd, &address, strcmp(argv[1], "find") == 0, argc > 3 ? atof(argv[3]) : 2);
}
