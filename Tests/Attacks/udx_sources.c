/*
 * What a stranger that knows the ids of a checked stream can do to it, measured in the simulator. One line per attack:
 *
 *   attack | bound | measured
 *
 * Fails if a figure is above its bound.
 */
#include "sources_support.h"

static int failed;

static void
row (const char *attack, const char *unit, double bound, double measured) {
  printf("%s | at most %g %s | %g\n", attack, bound, unit, measured);
  if (measured > bound) failed = 1;
}

/* Streams that one packet ends, holds up or fills with something else, of those that got one. */
static double
harmed (uint8_t type, int32_t ahead, int32_t ack_ahead, uint32_t window, size_t length) {
  int count = 0;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    pair_t *p = checked_pair(seed, 1 * MS);
    pair_write(p, 0, 3000);
    pair_write(p, 1, 3000);
    sim_run(p->sim, 1 * S);
    udx_header_t header = plausible(p, 1, type);
    header.seq += (uint32_t) ahead;
    header.ack += (uint32_t) ack_ahead;
    header.window = window;
    uint8_t body[1200] = {0};
    forge(p, 1, stranger(), &header, body, length);
    sim_run(p->sim, 100 * MS);
    pair_write(p, 0, 100000);
    pair_write(p, 1, 100000);
    pair_end(p, 0);
    pair_end(p, 1);
    int closed = pair_run_closed(p, 2 * S);
    for (int i = 0; i < 2; i++) {
      const pair_side_t *side = &p->side[i];
      closed = closed && side->received == 103000 && side->mismatches == 0 && side->close_status == 0;
    }
    count += !closed;
    pair_free(p);
  }
  return count;
}

static void
single_packets (void) {
  static const struct {
    const char *name;
    uint8_t type;
    int32_t ahead, ack_ahead;
    uint32_t window;
    size_t length;
  } packets[] = {
    {"DESTROY, next", UDX_HEADER_DESTROY, 0, 0, UDX_WINDOW_DEFAULT, 0},
    {"DESTROY, 60000 ahead", UDX_HEADER_DESTROY, 60000, 0, UDX_WINDOW_DEFAULT, 0},
    {"END, next", UDX_HEADER_END, 0, 0, UDX_WINDOW_DEFAULT, 0},
    {"DATA of no sense, next", UDX_HEADER_DATA, 0, 0, UDX_WINDOW_DEFAULT, 100},
    {"DATA and END, next", UDX_HEADER_DATA | UDX_HEADER_END, 0, 0, UDX_WINDOW_DEFAULT, 1200},
    {"acknowledgement of what was not sent", 0, 0, 1000, UDX_WINDOW_DEFAULT, 0},
    {"window 0", 0, 0, 0, 0, 0},
    {"SACK", UDX_HEADER_SACK, 0, 0, UDX_WINDOW_DEFAULT, 800},
  };
  for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
    char name[80];
    snprintf(name, sizeof(name), "stranger with the id: %s", packets[i].name);
    row(name, "of 5 streams harmed", 0,
      harmed(packets[i].type, packets[i].ahead, packets[i].ack_ahead, packets[i].window, packets[i].length));
  }
}

static uint64_t answers;

static sim_verdict_t
count_answers (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  (void) ctx;
  const struct sockaddr_in *to = (const struct sockaddr_in *) &datagram->to;
  if ((ntohl(to->sin_addr.s_addr) & 0xffffff00) == 0xc0000200) answers += datagram->length;
  return SIM_PASS;
}

/* 100,000 packets a second for a second, within a message of that size. */
static void
flood (uint32_t sources, uint64_t message) {
  char name[80];
  pair_t *p = checked_pair(1, 1 * MS);
  frame_size = message;
  pair_write(p, 0, 2000);
  sim_run(p->sim, 1 * S);
  sim_set_tap(p->sim, count_answers, NULL);
  uint64_t most = 0;
  answers = 0;
  for (uint32_t i = 0; i < 100000; i++) {
    struct sockaddr_in from = stranger_at(i % sources, 666);
    forge_part(p, &from, i % 3 == 0 ? (uint32_t) -1 : i / sources % 80, 1000);
    sim_run(p->sim, 10);
    most = udx__max_u64(most, udx__instance(&p->side[1].node->udx)->held_memory);
  }
  int length = snprintf(name, sizeof(name), "100,000 forged packets a second from %u addresses: ", sources);
  size_t room = sizeof(name) - (size_t) length;
  snprintf(name + length, room, "memory");
  row(name, "KiB per stream", UDX_STRANGERS_MAX * UDX_HELD_MAX * (UDX_DATAGRAM_MAX + 64) / 1024., (double) most / 1024);
  snprintf(name + length, room, "frames checked");
  row(name, "in a second", UDX_REFUSALS_MAX * 11., frames_asked);
  snprintf(name + length, room, "bytes back");
  row(name, "in a second", 51 * UDX_HEADER_SIZE, (double) answers);
  pair_write(p, 0, 1000000);
  snprintf(name + length, room, "a transfer fails");
  row(name, "times", 0, !pair_run_received(p, 1, 1002000, 5 * S));
  pair_free(p);
}

int
main (void) {
  single_packets();
  flood(UDX_STRANGERS_MAX, 65556);
  flood(50, 1000);
  return failed;
}
