/* The codec against the golden packets, both directions: groups packet, packet-handmade and not-udx of
   `udx-packets.json`.   udx_packets FILE */
#include "engine/stream.h"
#include "engine/wire.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures, packets, refused;

static void
check (bool ok, const char *id, const char *what) {
  if (ok) return;
  failures++;
  printf("%s FAIL %s\n", id, what);
}

static uint32_t
le32 (const uint8_t *b) {
  return (uint32_t) b[0] | (uint32_t) b[1] << 8 | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
}

static void
packet (const json_t *c, const char *id) {
  const json_t *fields = json_get(c, "fields");
  uint8_t *bytes, *payload, again[UDX_HEADER_SIZE];
  size_t n = json_hex(json_string(c, "hex"), &bytes);
  udx_header_t h;
  memset(&h, 0, sizeof(h));
  packets++;
  check(udx__header_decode(bytes, n, &h), id, "decode");
  check(h.type == json_u32(fields, "type"), id, "type");
  check(h.data_offset == json_u32(fields, "dataOffset"), id, "data offset");
  check(h.id == json_u32(fields, "streamId"), id, "stream id");
  check(h.window == json_u32(fields, "rwnd"), id, "window");
  check(h.seq == json_u32(fields, "seq"), id, "seq");
  check(h.ack == json_u32(fields, "ack"), id, "ack");
  udx__header_encode(again, &h);
  check(memcmp(again, bytes, UDX_HEADER_SIZE) == 0, id, "encode");

  size_t body = n - UDX_HEADER_SIZE, skip = h.data_offset;
  const json_t *sack = json_get(fields, "sack");
  if (h.type & UDX_HEADER_SACK) {
    size_t area = skip > 0 && skip < body ? skip : body, at = 0;
    for (const json_t *b = sack ? sack->first : NULL; b; b = b->next, at += 8) {
      check(at + 8 <= area, id, "number of blocks");
      check(le32(bytes + 20 + at) == (uint32_t) b->first->number, id, "block start");
      check(le32(bytes + 24 + at) == (uint32_t) b->first->next->number, id, "block end");
    }
    check(area / 8 == at / 8, id, "all blocks");
  }
  if (json_has(fields, "payload") && skip <= body && !(h.type & UDX_HEADER_SACK && skip == 0)) {
    size_t len = json_hex(json_string(fields, "payload"), &payload);
    check(len == body - skip && memcmp(payload, bytes + 20 + skip, len) == 0, id, "payload");
    free(payload);
  }
  free(bytes);
}

int
main (int argc, char **argv) {
  static json_t *file;
  file = argc > 1 ? json_load(argv[1]) : NULL;
  if (!file) {
    fprintf(stderr, "vector file missing\n");
    return 1;
  }
  for (const json_t *c = json_get(file, "cases")->first; c; c = c->next) {
    const char *group = json_string(c, "group"), *id = json_string(c, "id");
    if (strcmp(group, "packet") == 0 || strcmp(group, "packet-handmade") == 0) {
      packet(c, id);
    } else if (strcmp(group, "not-udx") == 0) {
      uint8_t *bytes;
      udx_header_t h;
      size_t n = json_hex(json_string(c, "hex"), &bytes);
      check(!udx__header_decode(bytes, n, &h), id, "accepted");
      free(bytes);
      refused++;
    }
  }
  printf("%d packets, %d datagrams refused, %d failures\n", packets, refused, failures);
  return failures || packets == 0 || refused == 0;
}
