// The distance of the lab's internet: takes IP packets from the tun device tun0 of its namespace and gives each back
// after a fixed number of milliseconds. Not every kernel has netem.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { CAPACITY = 8192, LARGEST = 2048 };

static struct {
  int64_t due; // microseconds
  ssize_t length;
  unsigned char bytes[LARGEST];
} packets[CAPACITY];

static int64_t
now (void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static int
open_tun (void) {
  struct ifreq request;
  memset(&request, 0, sizeof(request));
  strcpy(request.ifr_name, "tun0");
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (tun >= 0 && ioctl(tun, TUNSETIFF, &request) == 0) return tun;
  perror("tun0");
  exit(1);
}

int
main (int argc, char **argv) {
  if (argc != 2) return 64;
  int64_t delay = atoll(argv[1]) * 1000;
  int tun = open_tun();
  puts("ready");
  fflush(stdout);

  unsigned first = 0; // the next to leave
  unsigned count = 0;
  for (;;) {
    int64_t wait = count ? packets[first].due - now() : 1000000;
    if (wait < 0) wait = 0;
    struct timespec timeout = {wait / 1000000, (wait % 1000000) * 1000};
    struct pollfd readable = {tun, POLLIN, 0};
    ppoll(&readable, 1, &timeout, NULL);

    int64_t time = now();
    while (count < CAPACITY) {
      unsigned last = (first + count) % CAPACITY;
      packets[last].length = read(tun, packets[last].bytes, LARGEST);
      if (packets[last].length <= 0) break;
      packets[last].due = time + delay;
      count++;
    }
    while (count && packets[first].due <= time) {
      ssize_t written = write(tun, packets[first].bytes, (size_t) packets[first].length);
      (void) written; // a packet that the device refuses is lost, as others are on the way
      first = (first + 1) % CAPACITY;
      count--;
    }
  }
}
