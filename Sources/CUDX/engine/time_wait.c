/*
 * Closed streams are remembered for a while. A peer whose last packets were acknowledged by a lost ACK gets
 * the acknowledgement again instead of a timeout after 13 s; a peer that missed the DESTROY and goes on sending
 * gets it again. The answer goes to the address that the stream was connected to, a bounded number of times,
 * with 20 bytes for at least 20: nothing here amplifies.
 */
#include "time_wait.h"

#include <stdlib.h>

#include "instance.h"
#include "stream.h"
#include "transmit_control.h"
#include "wire.h"

#define TIME_WAIT_BUCKETS 1024
#define TIME_WAIT_NONE UINT16_MAX

typedef struct time_wait_entry_s {
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
  uint8_t local; /* what the answer leaves from */
} time_wait_entry_t;

struct udx_time_wait_s {
  uint32_t capacity;
  uint32_t cursor; /* the oldest entry is replaced */
  uint16_t buckets[TIME_WAIT_BUCKETS];
  time_wait_entry_t *entries;
};

static uint32_t
time_wait_bucket (uint32_t id) {
  return (id ^ id >> 10 ^ id >> 20) % TIME_WAIT_BUCKETS;
}

static void
time_wait_unlink (struct udx_time_wait_s *time_wait, uint32_t index) {
  UDX_ASSERT(index < time_wait->capacity);
  time_wait_entry_t *entry = &time_wait->entries[index];
  if (!entry->used) return;
  uint16_t *link = &time_wait->buckets[time_wait_bucket(entry->local_id)];
  while (*link != TIME_WAIT_NONE && *link != index) link = &time_wait->entries[*link].next;
  if (*link == index) *link = entry->next;
  entry->used = 0;
}

static int
time_wait_grow (struct udx_time_wait_s *time_wait) {
  UDX_ASSERT(time_wait->capacity < UDX_TIME_WAIT_MAX);
  uint32_t capacity = time_wait->capacity == 0 ? 16 : time_wait->capacity * 2;
  time_wait_entry_t *entries = realloc(time_wait->entries, capacity * sizeof(*entries));
  if (entries == NULL) return UV_ENOMEM;
  memset(entries + time_wait->capacity, 0, (capacity - time_wait->capacity) * sizeof(*entries));
  time_wait->cursor = time_wait->capacity;
  time_wait->entries = entries;
  time_wait->capacity = capacity;
  return 0;
}

void
udx__time_wait_add (udx_stream_t *stream, int destroyed) {
  UDX_ASSERT(stream->socket != NULL);
  udx_t *udx = stream->udx;
  if (udx__instance(udx)->teardown) return;
  struct udx_time_wait_s *time_wait = udx__instance(udx)->time_wait;
  if (time_wait == NULL) {
    time_wait = calloc(1, sizeof(*time_wait));
    if (time_wait == NULL) return;
    memset(time_wait->buckets, 0xff, sizeof(time_wait->buckets));
    udx__instance(udx)->time_wait = time_wait;
  }
  if (time_wait->capacity == 0 ||
      (time_wait->entries[time_wait->cursor].used && time_wait->capacity < UDX_TIME_WAIT_MAX &&
        time_wait->entries[time_wait->cursor].expires > udx__instance(udx)->now)) {
    if (time_wait_grow(time_wait) && time_wait->capacity == 0) return;
  }
  uint32_t index = time_wait->cursor;
  UDX_ASSERT(index < time_wait->capacity);
  time_wait->cursor = (time_wait->cursor + 1) % time_wait->capacity;
  time_wait_unlink(time_wait, index);

  time_wait_entry_t *entry = &time_wait->entries[index];
  entry->socket = stream->socket;
  entry->remote = udx__stream(stream)->remote;
  entry->local = udx__stream(stream)->local;
  entry->local_id = stream->local_id;
  entry->remote_id = stream->remote_id;
  entry->seq = udx__stream(stream)->flight.nxt;
  entry->ack = udx__stream(stream)->ack.next;
  entry->expires = udx__instance(udx)->now + UDX_TIME_WAIT;
  /* what was in flight when we destroyed is no reason to repeat it */
  entry->next_answer = destroyed ? udx__instance(udx)->now +
                                     udx__max_u64(UDX_TIME_WAIT_SPACING, 2 * (uint64_t) udx__stream(stream)->rtt.srtt)
                                 : 0;
  entry->answers = 0;
  entry->destroyed = (uint8_t) destroyed;
  entry->used = 1;
  uint32_t bucket = time_wait_bucket(entry->local_id);
  entry->next = time_wait->buckets[bucket];
  time_wait->buckets[bucket] = (uint16_t) index;
}

int
udx__time_wait_answer (udx_socket_t *socket, const udx_header_t *header, const struct sockaddr *from) {
  udx_t *udx = socket->udx;
  UDX_ASSERT(udx__instance(udx)->time_wait != NULL);
  struct udx_time_wait_s *time_wait = udx__instance(udx)->time_wait;
  uint32_t index = time_wait->buckets[time_wait_bucket(header->id)];
  while (index != TIME_WAIT_NONE && time_wait->entries[index].local_id != header->id)
    index = time_wait->entries[index].next;
  if (index == TIME_WAIT_NONE) return 0;

  time_wait_entry_t *entry = &time_wait->entries[index];
  if (entry->expires <= udx__instance(udx)->now) {
    time_wait_unlink(time_wait, index);
    return 0;
  }
  /* from wherever it comes, as for a live stream: the peer may have moved without our knowing */
  (void) from;
  int asks = entry->destroyed
               ? (header->type & (UDX_HEADER_DATA | UDX_HEADER_END | UDX_HEADER_HEARTBEAT)) != 0 &&
                   !(header->type & UDX_HEADER_DESTROY)
               : (header->type & (UDX_HEADER_DATA | UDX_HEADER_END)) != 0 && udx__seq_before(header->seq, entry->ack);
  if (!asks || entry->answers >= UDX_TIME_WAIT_ANSWERS || udx__instance(udx)->now < entry->next_answer) return 0;
  entry->answers++;
  entry->next_answer = udx__instance(udx)->now + UDX_TIME_WAIT_SPACING;

  UDX_ASSERT(entry->used && entry->answers <= UDX_TIME_WAIT_ANSWERS);
  udx_header_t answer = {
    .type = entry->destroyed ? UDX_HEADER_DESTROY : 0,
    .id = entry->remote_id,
    .window = UDX_WINDOW_DEFAULT,
    .seq = entry->seq,
    .ack = entry->ack,
  };
  uint8_t bytes[UDX_HEADER_SIZE];
  udx__header_encode(bytes, &answer);
  (void) udx__transmit_control(entry->socket, &entry->remote, entry->local, bytes);
  return 1;
}

void
udx__time_wait_forget_socket (udx_t *udx, const udx_socket_t *socket) {
  struct udx_time_wait_s *time_wait = udx__instance(udx)->time_wait;
  if (time_wait == NULL) return;
  for (uint32_t i = 0; i < time_wait->capacity; i++) {
    if (time_wait->entries[i].used && time_wait->entries[i].socket == socket) time_wait_unlink(time_wait, i);
  }
}

void
udx__time_wait_free (udx_t *udx) {
  if (udx__instance(udx)->time_wait == NULL) return;
  free(udx__instance(udx)->time_wait->entries);
  free(udx__instance(udx)->time_wait);
  udx__instance(udx)->time_wait = NULL;
}
