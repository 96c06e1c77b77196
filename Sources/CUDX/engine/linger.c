/*
 * Closed streams are remembered for a while. A peer whose last packets were acknowledged by a lost ACK gets
 * the acknowledgement again instead of a timeout after 13 s; a peer that missed our DESTROY and goes on sending
 * gets it again. The answer goes to the address that the stream was connected to, a bounded number of times,
 * with 20 bytes for at least 20: nothing here amplifies.
 */
#include <stdlib.h>

#include "engine.h"

#define LINGER_BUCKETS 1024
#define LINGER_NONE UINT16_MAX

typedef struct linger_entry_s {
  udx_socket_t *socket; /* forgotten when it closes */
  udx_address_t remote;
  uint32_t local_id;
  uint32_t remote_id;
  uint32_t seq;
  uint32_t ack;
  uint64_t expires;
  uint64_t next_answer;
  uint16_t next; /* in the bucket */
  uint8_t answers;
  uint8_t destroyed;
  uint8_t used;
} linger_entry_t;

struct udx_linger_s {
  uint32_t capacity;
  uint32_t cursor; /* the oldest entry is replaced */
  uint16_t buckets[LINGER_BUCKETS];
  linger_entry_t *entries;
};

static uint32_t
linger_bucket (uint32_t id) {
  return (id ^ id >> 10 ^ id >> 20) % LINGER_BUCKETS;
}

static void
linger_unlink (struct udx_linger_s *linger, uint32_t index) {
  linger_entry_t *entry = &linger->entries[index];
  if (!entry->used) return;
  uint16_t *link = &linger->buckets[linger_bucket(entry->local_id)];
  while (*link != LINGER_NONE && *link != index) link = &linger->entries[*link].next;
  if (*link == index) *link = entry->next;
  entry->used = 0;
}

static int
linger_grow (struct udx_linger_s *linger) {
  uint32_t capacity = linger->capacity == 0 ? 16 : linger->capacity * 2;
  linger_entry_t *entries = realloc(linger->entries, capacity * sizeof(*entries));
  if (entries == NULL) return UV_ENOMEM;
  memset(entries + linger->capacity, 0, (capacity - linger->capacity) * sizeof(*entries));
  linger->cursor = linger->capacity;
  linger->entries = entries;
  linger->capacity = capacity;
  return 0;
}

void
udx__linger_add (udx_stream_t *stream, int destroyed) {
  udx_t *udx = stream->udx;
  if (udx->teardown) return;
  struct udx_linger_s *linger = udx->linger;
  if (linger == NULL) {
    linger = calloc(1, sizeof(*linger));
    if (linger == NULL) return;
    memset(linger->buckets, 0xff, sizeof(linger->buckets));
    udx->linger = linger;
  }
  if (linger->capacity == 0 || (linger->entries[linger->cursor].used && linger->capacity < UDX_LINGER_MAX &&
                                linger->entries[linger->cursor].expires > udx->now)) {
    if (linger_grow(linger) && linger->capacity == 0) return;
  }
  uint32_t index = linger->cursor;
  linger->cursor = (linger->cursor + 1) % linger->capacity;
  linger_unlink(linger, index);

  linger_entry_t *entry = &linger->entries[index];
  entry->socket = stream->socket;
  entry->remote = stream->remote;
  entry->local_id = stream->local_id;
  entry->remote_id = stream->remote_id;
  entry->seq = stream->flight.nxt;
  entry->ack = stream->ack.next;
  entry->expires = udx->now + UDX_LINGER_TIME;
  /* what was in flight when we destroyed is no reason to repeat it */
  entry->next_answer = destroyed ? udx->now + udx__max_u64(UDX_LINGER_SPACING, 2 * (uint64_t) stream->rtt.srtt) : 0;
  entry->answers = 0;
  entry->destroyed = (uint8_t) destroyed;
  entry->used = 1;
  uint32_t bucket = linger_bucket(entry->local_id);
  entry->next = linger->buckets[bucket];
  linger->buckets[bucket] = (uint16_t) index;
}

int
udx__linger_answer (udx_socket_t *socket, const udx_header_t *header, const struct sockaddr *from) {
  udx_t *udx = socket->udx;
  struct udx_linger_s *linger = udx->linger;
  uint32_t index = linger->buckets[linger_bucket(header->id)];
  while (index != LINGER_NONE && linger->entries[index].local_id != header->id) index = linger->entries[index].next;
  if (index == LINGER_NONE) return 0;

  linger_entry_t *entry = &linger->entries[index];
  if (entry->expires <= udx->now) {
    linger_unlink(linger, index);
    return 0;
  }
  /* from wherever it comes, as for a live stream: the peer may have moved without our knowing */
  (void) from;
  int asks = entry->destroyed
               ? (header->type & (UDX_HEADER_DATA | UDX_HEADER_END | UDX_HEADER_HEARTBEAT)) != 0 && !(header->type & UDX_HEADER_DESTROY)
               : (header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) != 0 && udx__seq_before(header->seq, entry->ack);
  if (!asks || entry->answers >= UDX_LINGER_ANSWERS || udx->now < entry->next_answer) return 0;
  entry->answers++;
  entry->next_answer = udx->now + UDX_LINGER_SPACING;

  udx_header_t answer = {
    .type = entry->destroyed ? UDX_HEADER_DESTROY : 0,
    .id = entry->remote_id,
    .window = UDX_WINDOW_DEFAULT,
    .seq = entry->seq,
    .ack = entry->ack,
  };
  uint8_t bytes[UDX_HEADER_SIZE];
  udx__header_encode(bytes, &answer);
  (void) udx__transmit_control(entry->socket, &entry->remote, bytes);
  return 1;
}

void
udx__linger_forget_socket (udx_t *udx, const udx_socket_t *socket) {
  struct udx_linger_s *linger = udx->linger;
  if (linger == NULL) return;
  for (uint32_t i = 0; i < linger->capacity; i++) {
    if (linger->entries[i].used && linger->entries[i].socket == socket) linger_unlink(linger, i);
  }
}

void
udx__linger_free (udx_t *udx) {
  if (udx->linger == NULL) return;
  free(udx->linger->entries);
  free(udx->linger);
  udx->linger = NULL;
}
