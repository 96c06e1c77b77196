/* Packet header (udx.md 1.1). */
#include "wire.h"

void
udx__header_encode (uint8_t *bytes, const udx_header_t *header) {
  bytes[0] = UDX_MAGIC_BYTE;
  bytes[1] = UDX_VERSION;
  bytes[2] = header->type;
  bytes[3] = header->data_offset;
  udx__put_u32(bytes + 4, header->id);
  udx__put_u32(bytes + 8, header->window);
  udx__put_u32(bytes + 12, header->seq);
  udx__put_u32(bytes + 16, header->ack);
}

int
udx__header_decode (const uint8_t *bytes, size_t length, udx_header_t *header) {
  if (length < UDX_HEADER_SIZE || bytes[0] != UDX_MAGIC_BYTE || bytes[1] != UDX_VERSION) return 0;
  header->type = bytes[2];
  header->data_offset = bytes[3];
  header->id = udx__get_u32(bytes + 4);
  header->window = udx__get_u32(bytes + 8);
  header->seq = udx__get_u32(bytes + 12);
  header->ack = udx__get_u32(bytes + 16);
  return 1;
}
