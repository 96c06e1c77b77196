/* What any transport of this kind is bounded by, with the JSON of Benchmarks/udx: a sender of UDP datagrams to a
 * receiver that grants credit for every batch, so that nothing is lost on 127.0.0.1.
 *
 *   plain      sendmmsg and recvmmsg, no segmentation offload
 *   gso        batches of 44 datagrams with UDP_SEGMENT, received with UDP_GRO
 *   wireguard  the same, each datagram sealed by itself with ChaCha20-Poly1305, as WireGuard does
 *   frames     the same, each batch sealed as one frame of a secret stream
 *   workers    like frames, sealed and opened in order by a second thread on each side
 *
 *   limits KIND recv|send PORT BYTES [CPU]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <hyper_cipher.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
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

enum {
  SEGMENT = 1472,
  SEGMENTS = 44,
  BATCH = SEGMENT * SEGMENTS,
  WINDOW = 24,  /* batches without credit: they fit the receive buffer */
  TAG = 16,     /* of a datagram */
  OVERHEAD = 17 /* of a frame */
};

typedef enum { PLAIN, GSO, WIREGUARD, FRAMES, WORKERS } kind_t;

static kind_t kind;
static int fd, credit = WINDOW;

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

/* ---- the cipher of a datagram ---- */

static EVP_CIPHER_CTX *datagrams;
static uint64_t counter;

static void
prepare_datagrams (int seals) {
  uint8_t key[32] = {7};
  datagrams = EVP_CIPHER_CTX_new();
  if (!datagrams || EVP_CipherInit_ex(datagrams, EVP_chacha20_poly1305(), NULL, key, NULL, seals) != 1) die("cipher");
}

static int
seal_datagram (uint8_t *to, const uint8_t *from, int length) {
  uint8_t nonce[12] = {0};
  int n = 0, rest = 0;
  memcpy(nonce + 4, &counter, sizeof(counter));
  counter++;
  return EVP_EncryptInit_ex(datagrams, NULL, NULL, NULL, nonce) == 1 &&
         EVP_EncryptUpdate(datagrams, to, &n, from, length) == 1 &&
         EVP_EncryptFinal_ex(datagrams, to + n, &rest) == 1 &&
         EVP_CIPHER_CTX_ctrl(datagrams, EVP_CTRL_AEAD_GET_TAG, TAG, to + length) == 1;
}

static int
open_datagram (uint8_t *to, uint8_t *from, int length) {
  uint8_t nonce[12] = {0};
  int n = 0, rest = 0;
  memcpy(nonce + 4, &counter, sizeof(counter));
  counter++;
  return EVP_DecryptInit_ex(datagrams, NULL, NULL, NULL, nonce) == 1 &&
         EVP_CIPHER_CTX_ctrl(datagrams, EVP_CTRL_AEAD_SET_TAG, TAG, from + length) == 1 &&
         EVP_DecryptUpdate(datagrams, to, &n, from, length) == 1 && EVP_DecryptFinal_ex(datagrams, to + n, &rest) == 1;
}

/* ---- frames, and the thread that works on them in order ---- */

enum { PLACES = 8 };

static hyper_cipher_t frames;
static uint8_t places[PLACES][BATCH], texts[PLACES][BATCH];
static sem_t given, finished;
static unsigned put, taken;

static void
prepare_frames (void) {
  static const uint8_t header[24] = {5}, key[32] = {7};
  hyper_cipher_init(&frames, header, key);
}

static void
work_on (unsigned place, int seals) {
  uint8_t tag;
  int failed = seals ? hyper_cipher_seal(&frames, places[place], texts[place], BATCH - OVERHEAD, 0)
                     : hyper_cipher_open(&frames, texts[place], &tag, places[place], BATCH);
  if (failed) die("frame");
}

static void *
worker (void *seals) {
  for (unsigned number = 0;; number++) {
    while (sem_wait(&given)) {}
    work_on(number % PLACES, seals != NULL);
    sem_post(&finished);
  }
  return NULL;
}

static void
start_worker (int seals) {
  pthread_t thread;
  sem_init(&given, 0, 0);
  sem_init(&finished, 0, 0);
  if (pthread_create(&thread, NULL, worker, seals ? &frames : NULL)) die("thread");
}

/* ---- sender ---- */

static void
wait_for_credit (void) {
  char acks[2048];
  while (credit == 0) {
    ssize_t n = recv(fd, acks, sizeof(acks), 0);
    if (n > 0) credit += (int) (n / 20);
  }
  credit--;
}

static void
send_batch (const uint8_t *batch) {
  wait_for_credit();
  if (kind != PLAIN) {
    if (send(fd, batch, BATCH, 0) != BATCH) die("send");
    return;
  }
  struct mmsghdr messages[SEGMENTS];
  struct iovec parts[SEGMENTS];
  memset(messages, 0, sizeof(messages));
  for (int i = 0; i < SEGMENTS; i++) {
    parts[i] = (struct iovec){(void *) (batch + i * SEGMENT), SEGMENT};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  for (int sent = 0; sent < SEGMENTS;) {
    int n = sendmmsg(fd, messages + sent, (unsigned) (SEGMENTS - sent), 0);
    if (n < 0) die("sendmmsg");
    sent += n;
  }
}

static void
send_all (uint64_t bytes) {
  int segment = SEGMENT;
  if (kind != PLAIN && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) < 0) die("UDP_SEGMENT");
  if (kind == WIREGUARD) prepare_datagrams(1);
  if (kind >= FRAMES) prepare_frames();
  if (kind == WORKERS) start_worker(1);
  double t = now(), c = cpu();
  uint64_t done = 0;
  for (; done < bytes; done += BATCH) {
    if (kind == WIREGUARD) {
      for (int i = 0; i < SEGMENTS; i++) {
        if (!seal_datagram(places[0] + i * SEGMENT, texts[0] + i * SEGMENT, SEGMENT - TAG)) die("seal");
      }
    } else if (kind == FRAMES) {
      work_on(0, 1);
    } else if (kind == WORKERS) {
      while (put - taken < PLACES) {
        put++;
        sem_post(&given);
      }
      while (sem_wait(&finished)) {}
      send_batch(places[taken++ % PLACES]);
      continue;
    }
    send_batch(places[0]);
  }
  report(done, t, c);
}

/* ---- receiver ---- */

static void
take_batch (uint8_t *batch) {
  if (kind == WIREGUARD) {
    for (int i = 0; i < SEGMENTS; i++) {
      if (!open_datagram(texts[0], batch + i * SEGMENT, SEGMENT - TAG)) die("open");
    }
  } else if (kind == FRAMES) {
    memcpy(places[0], batch, BATCH);
    work_on(0, 0);
  } else if (kind == WORKERS) {
    if (put - taken == PLACES) {
      while (sem_wait(&finished)) {}
      taken++;
    }
    memcpy(places[put++ % PLACES], batch, BATCH);
    sem_post(&given);
  }
}

static void
receive_all (uint64_t bytes) {
  static uint8_t held[2 * BATCH + 65536];
  static uint8_t many[64][SEGMENT];
  struct sockaddr_in from;
  char ack[20] = {0};
  double t = 0, c = 0;
  uint64_t done = 0;
  size_t length = 0;
  if (kind == WIREGUARD) prepare_datagrams(0);
  if (kind >= FRAMES) prepare_frames();
  if (kind == WORKERS) start_worker(0);
  struct mmsghdr messages[64];
  struct iovec parts[64];
  memset(messages, 0, sizeof(messages));
  for (int i = 0; i < 64; i++) {
    parts[i] = (struct iovec){many[i], SEGMENT};
    messages[i].msg_hdr =
      (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1, .msg_name = i ? NULL : &from, .msg_namelen = sizeof(from)};
  }
  while (done < bytes) {
    socklen_t size = sizeof(from);
    ssize_t n;
    if (kind == PLAIN) {
      n = recvmmsg(fd, messages, 64, MSG_WAITFORONE, NULL) * SEGMENT;
    } else {
      n = recvfrom(fd, held + length, 65536, 0, (struct sockaddr *) &from, &size);
    }
    if (n < 0) die("recv");
    if (t == 0) {
      t = now();
      c = cpu();
    }
    done += (uint64_t) n;
    length += (size_t) n;
    while (length >= BATCH) {
      if (kind != PLAIN) take_batch(held);
      length -= BATCH;
      if (kind != PLAIN) memmove(held, held + BATCH, length);
      if (sendto(fd, ack, sizeof(ack), 0, (struct sockaddr *) &from, sizeof(from)) < 0) die("ack");
    }
  }
  for (; kind == WORKERS && taken < put; taken++) {
    while (sem_wait(&finished)) {}
  }
  report(done, t, c);
}

int
main (int argc, char **argv) {
  static const char *names[] = {"plain", "gso", "wireguard", "frames", "workers"};
  for (kind = PLAIN; argc >= 5 && kind <= WORKERS && strcmp(argv[1], names[kind]); kind++) {}
  if (argc < 5 || kind > WORKERS) {
    fprintf(stderr, "usage: %s plain|gso|wireguard|frames|workers recv|send PORT BYTES [CPU]\n", argv[0]);
    return 64;
  }
  uint64_t bytes = strtoull(argv[4], NULL, 10) / BATCH * BATCH;
  if (argc > 5) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t) atoi(argv[5]), &set);
    sched_setaffinity(0, sizeof(set), &set);
  }
  alarm(60);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(argv[3]))};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1, size = 4 << 20;
  fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  if (strcmp(argv[2], "send") == 0) {
    if (connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0) die("connect");
    send_all(bytes);
    return 0;
  }
  if (kind != PLAIN) setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0) die("bind");
  printf("ready\n");
  fflush(stdout);
  receive_all(bytes);
  return 0;
}
