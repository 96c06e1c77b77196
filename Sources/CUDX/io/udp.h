/*
 * UDP sockets of the operating system, non-blocking. udp_posix.c has what all systems share,
 * udp_batch_linux.c and udp_batch_posix.c how batches are sent and received.
 */
#ifndef UDX_IO_UDP_H
#define UDX_IO_UDP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "engine/address.h"
#include "udx.h"
#include "udx_driver.h"

/* addresses of the host per socket; datagrams to further ones are answered as the system chooses */
#define UDX_UDP_LOCALS_MAX 64

/* An address of the host that a socket for all of them was asked at. */
typedef struct udx_local_s {
  struct in6_addr address; /* of an IPv4 socket: the first 4 bytes */
  bool gone;               /* the system does not send from it any more */
} udx_local_t;

typedef struct udx_udp_s {
  int fd; /* -1 = not bound */
  int family;
  bool gso;       /* segmented sends work */
  bool gro;       /* segmented receives are on */
  bool overflow;  /* the kernel counts what it drops */
  bool no_memory; /* the last send found none: the system will not tell when there is some */
  bool rebound;   /* the port was taken away and bound anew, which is to be reported */
  uint32_t dropped;
  udx_t *counters; /* the gso_* and gro_* of the instance */
  udx_address_t bound;
  uint8_t locals_count;
  uint8_t local_last; /* the number that was given last: mostly the next one, too */
  udx_local_t *locals;
} udx_udp_t;

/* Receive memory, shared by the sockets of a loop. */
#define UDX_UDP_SLOTS 16
#define UDX_UDP_SLOT_SIZE 65536
#define UDX_UDP_SMALL_SLOTS 64
#define UDX_UDP_SMALL_SIZE 4096

typedef struct udx_udp_rx_s {
  uint8_t *memory;    /* UDX_UDP_SLOTS * UDX_UDP_SLOT_SIZE bytes, touched as far as used */
  unsigned int slots; /* to use for the next call: fewer when datagrams are large, to stay in the cache */
  unsigned int count;
  bool drained; /* there was no more */
  udx_received_t received[UDX_UDP_SMALL_SLOTS];
  struct sockaddr_storage from[UDX_UDP_SMALL_SLOTS];
} udx_udp_rx_t;

int
udx__udp_bind (udx_udp_t *udp, const struct sockaddr *addr, unsigned int flags);

void
udx__udp_close (udx_udp_t *udp);

int
udx__udp_name (const udx_udp_t *udp, struct sockaddr *name, int *name_len);

int
udx__udp_option (const udx_udp_t *udp, udx_option_t option, bool set, int *value);

int
udx__udp_membership (
  const udx_udp_t *udp, const char *group, const char *interface_addr, const char *source, bool join);

int
udx__udp_multicast_interface (const udx_udp_t *udp, const char *addr);

/* Takes what the system reports as the socket's asynchronous error. 0, or the error of a descriptor that is none. */
int
udx__udp_clear_error (udx_udp_t *udp);

/*
 * An error that may belong to an earlier datagram: the system reports it once, and the call has sent nothing. One of
 * them says that the port is lost, which is then bound anew.
 */
bool
udx__udp_error_is_old (udx_udp_t *udp, int err);

/* The number of an address of the host, of the socket's family. 0 if there are too many. */
uint8_t
udx__udp_local (udx_udp_t *udp, const void *address);

/* What a datagram leaves from; NULL = as the system chooses. */
static inline const struct in6_addr *
udx__udp_source (const udx_udp_t *udp, uint8_t local) {
  if (local == 0 || local > udp->locals_count || udp->locals[local - 1].gone) return NULL;
  return &udp->locals[local - 1].address;
}

/* Whether a datagram was refused because the address it should leave from is gone: then the system chooses. */
bool
udx__udp_source_is_gone (udx_udp_t *udp, uint8_t local, int err);

/* Binds the port anew if the system took it away. */
void
udx__udp_restore (udx_udp_t *udp);

/* Called once the socket is bound: turns on and probes what the system can do. */
void
udx__udp_probe (udx_udp_t *udp);

/* Whether the network may fragment what is sent from now on. */
void
udx__udp_set_fragment (const udx_udp_t *udp, bool on);

/* How many datagrams were taken (or refused for good); fewer than count = would block. */
unsigned int
udx__udp_send (udx_udp_t *udp, const udx_datagram_t *datagrams, unsigned int count);

/* Fills rx->received. */
void
udx__udp_receive (udx_udp_t *udp, udx_udp_rx_t *rx);

#endif
