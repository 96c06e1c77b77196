/* The table of addresses that were asked (engine/asked.c), which is a cache. */
#include "engine/asked.h"
#include "unit.h"

enum { HOSTS = 4 * UDX_ASKED_ENTRIES };

static const struct sockaddr *
host_at (udx_address_t *address, uint32_t host) {
  memset(address, 0, sizeof(*address));
  address->v4.sin_family = AF_INET;
  address->v4.sin_port = htons(1000);
  address->v4.sin_addr.s_addr = htonl(0x0a000000 + host);
  return &address->any;
}

/* What is overwritten depends on the seed alone, so that simulations repeat: not on where a socket lies. */
TEST(what_is_forgotten_is_the_same_in_every_run) {
  unit_t units[] = {unit_new(), unit_new()};
  CHECK(units[0].socket != units[1].socket);
  udx_address_t address;
  for (uint32_t i = 0; i < 2; i++) {
    for (uint32_t host = 0; host < HOSTS; host++) udx__asked_note(units[i].socket, host_at(&address, host), 7);
  }
  uint32_t known = 0;
  for (uint32_t host = 0; host < HOSTS; host++) {
    uint8_t local = udx__asked_local(units[0].socket, host_at(&address, host));
    CHECK_EQ(udx__asked_local(units[1].socket, host_at(&address, host)), local);
    known += local == 7;
  }
  CHECK(known > UDX_ASKED_ENTRIES / 2 && known <= UDX_ASKED_ENTRIES);
  for (uint32_t i = 0; i < 2; i++) unit_free(&units[i]);
}

/* Two sockets of one instance do not share what they know. */
TEST(sockets_are_told_apart) {
  unit_t unit = unit_new();
  udx_socket_t other;
  memset(&other, 0, sizeof(other));
  CHECK_EQ(udx_socket_init(unit.udx, &other, NULL), 0);
  udx_address_t address;
  udx__asked_note(unit.socket, host_at(&address, 1), 3);
  CHECK_EQ(udx__asked_local(unit.socket, host_at(&address, 1)), 3);
  CHECK_EQ(udx__asked_local(&other, host_at(&address, 1)), 0);
  CHECK_EQ(udx_socket_close(&other), 0);
  unit_free(&unit);
}

/* For ten seconds, whatever the second in which it was heard; then the system chooses. */
TEST(what_was_asked_is_forgotten) {
  for (uint64_t begin = 1; begin <= 0x1000000; begin += 0xfffffb) {
    unit_t unit = unit_new();
    udx_address_t address;
    udx__instance(unit.udx)->now = begin * UDX_SECOND;
    udx__asked_note(unit.socket, host_at(&address, 1), 3);
    for (uint64_t seconds = 0; seconds <= UDX_ASKED_SECONDS + 1; seconds++) {
      udx__instance(unit.udx)->now = (begin + seconds) * UDX_SECOND;
      CHECK_EQ(udx__asked_local(unit.socket, host_at(&address, 1)), seconds <= UDX_ASKED_SECONDS ? 3 : 0);
    }
    unit_free(&unit);
  }
}

/* The way out has changed: nothing leaves from an address because that was asked, until it is asked again. */
TEST(all_is_forgotten_when_the_way_out_changes) {
  unit_t unit = unit_new();
  udx_address_t address;
  udx_forget_asked(unit.udx);
  udx__asked_note(unit.socket, host_at(&address, 1), 3);
  udx_forget_asked(unit.udx);
  CHECK_EQ(udx__asked_local(unit.socket, host_at(&address, 1)), 0);
  udx__asked_note(unit.socket, host_at(&address, 1), 4);
  CHECK_EQ(udx__asked_local(unit.socket, host_at(&address, 1)), 4);
  unit_free(&unit);
}

TEST_MAIN(TEST_ENTRY(what_is_forgotten_is_the_same_in_every_run), TEST_ENTRY(sockets_are_told_apart),
  TEST_ENTRY(what_was_asked_is_forgotten), TEST_ENTRY(all_is_forgotten_when_the_way_out_changes))
