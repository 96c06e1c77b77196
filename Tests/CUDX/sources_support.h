/*
 * What the tests of the source check share: an owner that takes bytes for its peer's if a whole frame of them goes on
 * with what pair_write writes, and a stranger that knows the ids.
 */
#ifndef UDX_TEST_SOURCES_SUPPORT_H
#define UDX_TEST_SOURCES_SUPPORT_H

#include "engine/address.h"
#include "engine/sources.h"
#include "migration_support.h"

static uint64_t frame_size = 1000;
static int frames_asked, messages_asked, owner_is_deaf;
static int strays, follows, ends;

static ssize_t
on_source (udx_stream_t *stream, int is_message, const uv_buf_t bufs[], unsigned int count) {
  const pair_side_t *side = stream->data;
  messages_asked += is_message;
  if (is_message) return count == 1 && bufs[0].len == 4 && memcmp(bufs[0].base, "peer", 4) == 0 ? 0 : UV_EPROTO;
  frames_asked++;
  if (owner_is_deaf) return UV_EAGAIN;
  uint64_t need = frame_size - side->received % frame_size, have = 0;
  for (unsigned int i = 0; i < count; i++) have += bufs[i].len;
  if (have < need) return (ssize_t) need;
  uint64_t offset = side->received;
  for (unsigned int i = 0; i < count && need > 0; i++) {
    uint64_t length = bufs[i].len < need ? bufs[i].len : need;
    if (memcmp(bufs[i].base, pair_pattern(offset), length) != 0) return UV_EPROTO;
    offset += length;
    need -= length;
  }
  return 0;
}

static void
on_stray (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  strays++;
  if (follows) CHECK_EQ(udx_stream_migrate(stream, socket, from), 0);
  if (ends) (void) udx_stream_destroy(stream);
}

static inline void
check_sources (pair_t *p) {
  frame_size = 1000;
  frames_asked = messages_asked = strays = owner_is_deaf = ends = 0;
  follows = 1;
  for (int i = 0; i < 2; i++) CHECK_EQ(udx_stream_check_sources(&p->side[i].stream, on_source, on_stray), 0);
}

/* A pair with the check on both sides. */
static inline pair_t *
checked_pair (uint64_t seed, uint64_t latency) {
  sim_link_t link = sim_link_default();
  link.latency = latency;
  pair_t *p = pair_new(seed, &link);
  check_sources(p);
  return p;
}

static inline udx_sources_t *
sources_of (pair_t *p, int side) {
  return udx__stream(&p->side[side].stream)->sources;
}

static inline uint32_t
count_sources (pair_t *p, int side, int is_path) {
  uint32_t count = 0;
  for (udx_source_t *source = sources_of(p, side)->list; source != NULL; source = source->next)
    count += source->is_path == is_path;
  return count;
}

static inline struct sockaddr_in
stranger_at (uint32_t host, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(0xc0000200 + host); /* 192.0.2.0/24 */
  return address;
}

/* A packet for a side's stream, from anywhere. */
static inline void
forge (
  pair_t *p, int side, const struct sockaddr_in *from, const udx_header_t *wanted, const void *body, size_t length) {
  udx_header_t header = *wanted;
  uint8_t bytes[UDX_HEADER_SIZE + 2048];
  CHECK(length <= 2048);
  header.id = (uint32_t) side + 1;
  udx__header_encode(bytes, &header);
  if (length > 0) memcpy(bytes + UDX_HEADER_SIZE, body, length);
  struct sockaddr_in to = sim_address4(p->side[side].node, (uint16_t) (5001 + side));
  sim_inject(p->sim, (const struct sockaddr *) from, (struct sockaddr *) &to, bytes, UDX_HEADER_SIZE + length, 0);
}

/* What an honest packet of the moment has. */
static inline udx_header_t
plausible (pair_t *p, int side, uint8_t type) {
  return (udx_header_t){
    .type = type,
    .window = UDX_WINDOW_DEFAULT,
    .seq = udx__stream(&p->side[side].stream)->ack.next,
    .ack = udx__stream(&p->side[side].stream)->flight.nxt,
  };
}

static inline const struct sockaddr_in *
stranger (void) {
  static struct sockaddr_in address;
  address = stranger_at(66, 666);
  return &address;
}

/* Bytes that are not the peer's. */
static inline void
forge_part (pair_t *p, const struct sockaddr_in *from, uint32_t ahead, size_t length) {
  udx_header_t header = plausible(p, 1, UDX_HEADER_DATA);
  header.seq += ahead;
  uint8_t body[1200] = {0};
  forge(p, 1, from, &header, body, length);
}

#endif
