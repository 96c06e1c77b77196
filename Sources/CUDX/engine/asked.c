/*
 * Answers of the application leave from the address that was asked, also those that take a while: a node that passes a
 * handshake on answers when the other side has. Remembered for a few seconds only: later the way out may have changed,
 * and the system knows best. The table is a cache: what is overwritten leaves as the system chooses.
 */
#include "asked.h"

#include <stdlib.h>

#include "address.h"
#include "instance.h"
#include "socket.h"

/* The hash stands for socket, address and port: it is seeded, and a wrong match costs one datagram. */
typedef struct asked_entry_s {
  uint32_t hash;
  uint32_t heard; /* seconds of the driver's clock, 24 bits, above the local address */
} asked_entry_t;

struct udx_asked_s {
  asked_entry_t entries[UDX_ASKED_ENTRIES];
};

static uint32_t
asked_hash (udx_socket_t *socket, const struct sockaddr *address) {
  uint64_t hash = udx__instance(socket->udx)->ids.seed ^ (uint64_t) udx__socket(socket)->number << 32;
  const uint8_t *bytes = (const uint8_t *) address;
  size_t from = offsetof(struct sockaddr_in, sin_port), to = offsetof(struct sockaddr_in, sin_addr) + 4;
  if (address->sa_family == AF_INET6) to = offsetof(struct sockaddr_in6, sin6_addr) + 16;
  for (size_t i = from; i < to; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return (uint32_t) (hash ^ hash >> 32);
}

static uint32_t
asked_seconds (const udx_t *udx) {
  return (uint32_t) (udx__instance(udx)->now / UDX_SECOND) & 0xffffff;
}

void
udx__asked_note (udx_socket_t *socket, const struct sockaddr *from, uint8_t local) {
  UDX_ASSERT(local > 0);
  udx_t *udx = socket->udx;
  if (udx__instance(udx)->asked == NULL) {
    udx__instance(udx)->asked = calloc(1, sizeof(struct udx_asked_s));
    if (udx__instance(udx)->asked == NULL) return;
  }
  uint32_t hash = asked_hash(socket, from);
  asked_entry_t *entry = &udx__instance(udx)->asked->entries[hash % UDX_ASKED_ENTRIES];
  entry->hash = hash;
  entry->heard = asked_seconds(udx) << 8 | local;
}

uint8_t
udx__asked_local (udx_socket_t *socket, const struct sockaddr *to) {
  udx_t *udx = socket->udx;
  if (udx__instance(udx)->asked == NULL) return 0;
  uint32_t hash = asked_hash(socket, to);
  const asked_entry_t *entry = &udx__instance(udx)->asked->entries[hash % UDX_ASKED_ENTRIES];
  if (entry->hash != hash || ((asked_seconds(udx) - (entry->heard >> 8)) & 0xffffff) > UDX_ASKED_SECONDS) return 0;
  return (uint8_t) entry->heard;
}

void
udx_forget_asked (udx_t *udx) {
  udx__asked_free(udx);
}

void
udx__asked_free (udx_t *udx) {
  free(udx__instance(udx)->asked);
  udx__instance(udx)->asked = NULL;
}
