/*
 * The sizes of the public structs (64-bit Linux and macOS). A change of a number here changes the ABI: raise SOVERSION,
 * and say so in the change log. The engine's state has to fit with room to spare, which base.h asserts when compiling.
 */
#include "engine/stream.h"
#include "test.h"

#define ROOM(type, state) (sizeof(((type *) 0)->reserved) - sizeof(state))

TEST(sizes_of_public_structs) {
  printf("  sizeof: udx_t %zu, socket %zu, stream %zu, write %zu, send %zu, message %zu\n", sizeof(udx_t),
    sizeof(udx_socket_t), sizeof(udx_stream_t), sizeof(udx_stream_write_t), sizeof(udx_socket_send_t),
    sizeof(udx_stream_send_t));
  if (sizeof(void *) != 8) return;
  CHECK_EQ(sizeof(udx_t), 848);
  CHECK_EQ(sizeof(udx_socket_t), 248);
  CHECK_EQ(sizeof(udx_stream_t), 1280);
  CHECK_EQ(sizeof(udx_stream_write_t), 88);
  CHECK_EQ(sizeof(udx_socket_send_t), 128);
  CHECK_EQ(sizeof(udx_stream_send_t), 128);
}

TEST(private_state_has_room) {
  printf("  room: udx_t %zu, socket %zu, stream %zu, write %zu, send %zu bytes\n", ROOM(udx_t, udx_instance_state_t),
    ROOM(udx_socket_t, udx_socket_state_t), ROOM(udx_stream_t, udx_stream_state_t),
    ROOM(udx_stream_write_t, udx_write_state_t), ROOM(udx_socket_send_t, udx_send_state_t));
  CHECK(ROOM(udx_t, udx_instance_state_t) >= UDX_ROOM_SPARE);
  CHECK(ROOM(udx_socket_t, udx_socket_state_t) >= UDX_ROOM_SPARE);
  CHECK(ROOM(udx_stream_t, udx_stream_state_t) >= UDX_ROOM_SPARE);
  CHECK(ROOM(udx_stream_write_t, udx_write_state_t) >= UDX_ROOM_SPARE);
  CHECK(ROOM(udx_socket_send_t, udx_send_state_t) >= UDX_ROOM_SPARE);
}

/* An idle stream costs its struct and its places in the table and the heap. */
TEST(memory_per_stream) {
  CHECK(sizeof(udx_stream_t) <= 1536);
  CHECK(sizeof(udx_packet_t) <= 64);
}

TEST_MAIN(TEST_ENTRY(sizes_of_public_structs), TEST_ENTRY(private_state_has_room), TEST_ENTRY(memory_per_stream))
