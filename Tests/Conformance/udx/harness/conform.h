/* Harness of the conformance tests: streams under test, raw peers that speak the wire format byte by byte, and an
   optional path with delay and loss between two streams, all on one of two backends (backend.h). Only the public
   interface is used, so the same tests judge any implementation of udx.h. */
#ifndef UDX_CONFORM_H
#define UDX_CONFORM_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <udx.h>
#include <uv.h>

#include "backend.h"
#include "inspect.h"
#include "sim/check.h"

#ifndef UDX_SANITIZED
/* The tests' own memory does not pass through the fault injection. */
extern void *
__libc_malloc (size_t n);
extern void *
__libc_calloc (size_t n, size_t size);
extern void *
__libc_realloc (void *p, size_t n);
#define malloc __libc_malloc
#define calloc __libc_calloc
#define realloc __libc_realloc
#endif

/* ------------------------------------------------------------------ results */

typedef void (*test_fn)(void);

/* Protocol tests run on the simulator, tests of the libuv driver on sockets; a reference has sockets only. */
typedef enum { SIMULATOR = 1, SOCKETS = 2, BOTH = SIMULATOR | SOCKETS } backends_t;

enum { EXIT_SKIPPED = 77 };

typedef struct {
  const char *id; /* UDX-1 ... UDX-91, or OBS-n */
  const char *what;
  test_fn run;
  const char *reference_fails; /* OBS number when the reference is known not to pass, else NULL */
  int seconds;                 /* bound, 0 = 20 */
  backends_t on;
} test_t;

/* Every table ends with an entry without an id. */
extern const test_t wire_tests[], receive_tests[], lifecycle_tests[], closing_tests[], recovery_tests[], flow_tests[],
  path_tests[], socket_tests[], congestion_tests[], defect_tests[], failure_tests[];

/* Runs the loop until the expression holds; fails after `ms` milliseconds. */
#define WAIT(expr, ms)                                                                                                 \
  do {                                                                                                                 \
    double end_ = limit_ms(ms);                                                                                        \
    while (!(expr)) {                                                                                                  \
      if (now_ms() > end_) check_failed(__FILE__, __LINE__, "not within %d ms: %s", (int) (ms), #expr);                \
      step();                                                                                                          \
    }                                                                                                                  \
  } while (0)

double
now_ms (void);
double
limit_ms (double ms); /* the time at which something that takes `ms` is late on this backend */
void
step (void); /* one turn of instances, peers and path; waits at most 1 ms */
void
settle (double ms); /* for statements of the kind "nothing happens" */

/* ------------------------------------------------------------------ world */

typedef struct {
  uint8_t *data;
  size_t len;
} blob_t;

typedef struct {
  blob_t *v;
  size_t n;
} blobs_t;

void
blobs_add (blobs_t *b, const void *data, size_t len);

/* A stream under test with everything its callbacks reported. */
typedef struct {
  udx_stream_t stream; /* first: the callbacks cast */
  uint8_t *data;       /* bytes read */
  size_t len, cap;
  uint64_t total;
  bool discard, checked; /* discard: count only; checked: the bytes follow pattern_byte */
  uint64_t mismatches;
  int reads, eofs, closes, finals, drains, remote_changes, firewalls;
  int close_status;
  blobs_t messages;
  char order[64]; /* C close, A ack ok, X ack cancelled, F finalize, E eof */
  int acks, cancels;
  int firewall_result;
  struct sockaddr_storage firewall_from;
  void (*on_read)(void *side); /* called after the default work, may destroy */
  void (*on_firewall)(void *side, udx_socket_t *socket, const struct sockaddr *from);
  void (*on_ack)(void *side);
  void (*on_message)(void *side);
  void (*on_close)(void *side);
} side_t;

/* A raw UDP peer. */
typedef struct {
  uint8_t bytes[2100];
  size_t size;
  uint8_t type, offset;
  uint32_t id, window, seq, ack;
  const uint8_t *body;
  size_t len;
  double at;
  struct sockaddr_storage from;
  int ttl;
} packet_t;

typedef struct peer {
  endpoint_t endpoint;
  struct sockaddr_storage addr; /* its own */
  struct sockaddr_storage to;   /* where it sends: the socket under test */
  uint32_t id;                  /* id that it writes into its packets: the local id of the stream under test */
  uint32_t window;
  packet_t *log;
  size_t n, cap;
  bool auto_ack;                                  /* acknowledges all data at once, cumulatively */
  uint32_t rcv;                                   /* next seq expected, for auto_ack */
  uint32_t seq;                                   /* its own next seq */
  bool (*on_packet)(struct peer *p, packet_t *k); /* true = handled, no auto_ack */
} peer_t;

extern uv_loop_t loop;    /* of the backend with sockets */
extern udx_t udx;         /* the instance under test */
extern udx_socket_t sock; /* its socket, bound to 127.0.0.1 */
extern blobs_t socket_messages;
extern struct sockaddr_storage socket_message_from;

void
world_open (void);
void
socket_open (udx_t *instance, udx_socket_t *socket, const char *host, int port, unsigned flags);
struct sockaddr_storage
socket_addr (udx_socket_t *socket); /* with 0.0.0.0 and :: replaced by loopback */
struct sockaddr_storage
socket_addr4 (udx_socket_t *socket); /* where an IPv6 socket receives IPv4 */
void
address_copy (struct sockaddr_storage *to, const struct sockaddr *from);
void
require_address (const char *host); /* skips the test, visibly, on a machine without it */
void
instance_open (udx_t *instance);

void
side_init (side_t *s, udx_t *instance, uint32_t id);
void
side_connect (side_t *s, udx_socket_t *socket, uint32_t remote_id, const struct sockaddr_storage *to);
void
side_read (side_t *s);
int
side_write (side_t *s, const void *data, size_t len);
int
side_write_pattern (side_t *s, uint64_t offset, size_t len);
int
side_end (side_t *s);
int
side_send (side_t *s, const void *data, size_t len);
void
side_firewall (side_t *s, int result);
uint8_t
pattern_byte (uint64_t i);

void
on_side_close (udx_stream_t *s, int status);
void
on_side_finalize (udx_stream_t *s);

peer_t *
peer_open (int family);
void
peer_to (peer_t *p, const struct sockaddr_storage *to);
void
peer_raw (peer_t *p, const void *data, size_t len);
void
peer_send (peer_t *p, uint8_t type, uint32_t seq, uint32_t ack, const void *body, size_t len);
void
peer_send_full (
  peer_t *p, uint8_t type, uint8_t offset, uint32_t window, uint32_t seq, uint32_t ack, const void *body, size_t len);
void
peer_sack (peer_t *p, uint32_t seq, uint32_t ack, const uint32_t *blocks, size_t n); /* n pairs */
size_t
peer_count (const peer_t *p, uint8_t mask, uint8_t value); /* packets with type & mask == value */
packet_t *
peer_last (peer_t *p, uint8_t mask, uint8_t value);
packet_t *
peer_nth (peer_t *p, uint8_t mask, uint8_t value, size_t n);
size_t
peer_count_seq (const peer_t *p, uint32_t seq); /* transmissions of DATA or END with that seq */
bool
sack_covers (const packet_t *k, uint32_t seq);

#define DATA UDX_HEADER_DATA
#define END UDX_HEADER_END
#define SACK UDX_HEADER_SACK
#define MESSAGE UDX_HEADER_MESSAGE
#define DESTROY UDX_HEADER_DESTROY
#define HEARTBEAT UDX_HEADER_HEARTBEAT
#define ACKS(p) (peer_count((p), (uint8_t) ~SACK, 0)) /* plain and selective acknowledgements */
#define DATAS(p) (peer_count((p), DATA, DATA))

/* The usual beginning: world, one peer, one stream LOCAL_ID connected to it and reading. */
#define LOCAL_ID 0x80000001u
#define REMOTE_ID 0x7a3b0002u

typedef struct {
  side_t s;
  peer_t *p;
} fixture_t;

void
fixture_open (fixture_t *f, bool connect);

/* Two streams under test over two sockets of two instances, through a path. */
typedef struct path {
  endpoint_t side[2];
  struct sockaddr_storage end[2]; /* where side[0] and side[1] forward to */
  struct sockaddr_storage addr[2];
  double delay, jitter; /* ms */
  double rate;          /* bytes per ms towards end[1], 0 = no limit */
  double queue;         /* bytes */
  bool (*drop)(struct path *p, int towards, const uint8_t *data, size_t len);
  double free_at;
  uint64_t forwarded[2], dropped[2];
  uint64_t random;
} path_t;

path_t *
path_open (void);
double
path_uniform (path_t *p);

typedef struct {
  udx_t other; /* the second instance */
  udx_socket_t other_sock;
  side_t a, b; /* a on (udx, sock), b on (other, other_sock) */
  path_t *path;
} ends_t;

void
ends_open (ends_t *q, bool with_path, uint32_t a_id, uint32_t b_id);

/* ------------------------------------------------------------------ faults (see faults.c) */

typedef struct {
  bool block_send;   /* sendmsg and relatives say EAGAIN */
  int fail_send;     /* errno for the sends counted by fail_send_after, 0 = none */
  long fail_after;   /* let this many pass, then fail once */
  long sends, recvs; /* calls seen */
  int fail_recv;
  long fail_recv_after;
  int fail_bind;   /* errno for bind, 0 = none */
  bool fail_alloc; /* the allocation that fail_alloc_after counts down to returns NULL */
  long fail_alloc_after;
  long allocs; /* allocations seen, the harness's own left out */
} faults_t;

extern faults_t faults;

#endif
