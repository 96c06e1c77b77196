/* The limits: TCP with 64 KiB writes, and a bare UDP sender with GSO to a receiver with GRO that acknowledges
   every batch. Same JSON as the workloads. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define SEGMENT 1472
#define SEGMENTS 44
#define WINDOW 24 /* unacknowledged batches: fits the receive buffer, so nothing is lost */

static double
now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double
cpu (void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double) (r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double) (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static void
die (const char *what) {
  perror(what);
  exit(2);
}

static void
report (uint64_t bytes, double start, double cpu0) {
  printf("{\"bytes\":%llu,\"wall\":%.6f,\"cpu\":%.6f}\n", (unsigned long long) bytes, now() - start, cpu() - cpu0);
}

static char buffer[65536];

static void
receive_tcp (int fd) {
  int peer = accept(fd, NULL, NULL);
  double t = now(), c = cpu();
  uint64_t done = 0;
  ssize_t n;
  while ((n = read(peer, buffer, sizeof(buffer))) > 0) done += (uint64_t) n;
  report(done, t, c);
}

static void
receive_udp (int fd, uint64_t bytes) {
  struct sockaddr_in from;
  double t = 0, c = 0;
  char ack[20] = {0};
  uint64_t pending = 0, done = 0;
  while (done < bytes) {
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *) &from, &len);
    if (n < 0) die("recv");
    if (t == 0) {
      t = now();
      c = cpu();
    }
    done += (uint64_t) n;
    pending += (uint64_t) n;
    while (pending >= SEGMENT * SEGMENTS) {
      pending -= SEGMENT * SEGMENTS;
      if (sendto(fd, ack, sizeof(ack), 0, (struct sockaddr *) &from, len) < 0) die("ack");
    }
  }
  report(done, t, c);
}

static void
send_tcp (int fd, uint64_t bytes) {
  double t = now(), c = cpu();
  uint64_t done = 0;
  while (done < bytes) {
    ssize_t n = write(fd, buffer, sizeof(buffer));
    if (n < 0) die("write");
    done += (uint64_t) n;
  }
  shutdown(fd, SHUT_WR);
  (void) !read(fd, buffer, 1);
  report(done, t, c);
}

static void
send_udp (int fd, uint64_t bytes) {
  double t = now(), c = cpu();
  uint64_t done = 0;
  int gso = SEGMENT, credit = WINDOW;
  if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &gso, sizeof(gso)) < 0) die("UDP_SEGMENT");
  while (done < bytes) {
    while (credit == 0) {
      ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
      if (n > 0) credit += (int) (n / 20);
    }
    ssize_t n = send(fd, buffer, SEGMENT * SEGMENTS, 0);
    if (n < 0) die("send");
    done += (uint64_t) n;
    credit--;
  }
  report(done, t, c);
}

int
main (int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: %s tcp|gso recv|send HOST PORT BYTES [CPU]\n", argv[0]);
    return 64;
  }
  int tcp = strcmp(argv[1], "tcp") == 0, receiver = strcmp(argv[2], "recv") == 0;
  uint64_t bytes = strtoull(argv[5], NULL, 10);
  if (argc > 6) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t) atoi(argv[6]), &set);
    sched_setaffinity(0, sizeof(set), &set);
  }
  alarm(60);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(argv[4]))};
  inet_pton(AF_INET, argv[3], &a.sin_addr);
  int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0), on = 1, size = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (!tcp) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
  }
  if (!receiver) {
    if (connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0) die("connect");
    if (tcp) send_tcp(fd, bytes);
    else send_udp(fd, bytes);
    return 0;
  }
  if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0) die("bind");
  if (tcp && listen(fd, 1) < 0) die("listen");
  printf("ready\n");
  fflush(stdout);
  if (tcp) receive_tcp(fd);
  else receive_udp(fd, bytes);
  return 0;
}
