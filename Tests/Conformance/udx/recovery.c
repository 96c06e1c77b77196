/* Recovery: items 53 to 61, against a peer that answers when the test says so. */
#include "harness/conform.h"

static fixture_t f;
static ends_t q;

/* One acknowledged packet, `ms` after it was sent: the sender now has a round-trip time. Uses seq 0. */
static void
warm_up (double ms) {
  side_write(&f.s, "w", 1);
  WAIT(DATAS(f.p) == 1, 500);
  settle(ms);
  peer_send(f.p, 0, 0, 1, NULL, 0);
  WAIT(f.s.acks == 1, 500);
}

static void
silent_peer (void) {
  static const double expected[] = {0, 1000, 3000, 5000, 7000, 9000, 11000};
  fixture_open(&f, true);
  side_write(&f.s, "x", 1);
  double start = now_ms();
  WAIT(f.s.closes == 1, 16000);
  double closed = now_ms() - start;
  CHECK_EQ(f.s.close_status, UV_ETIMEDOUT);
  for (size_t i = 0; i < peer_count_seq(f.p, 0); i++) printf("    sent at %.0f\n", f.p->log[i].at - start);
  printf("    closed at %.0f\n", closed);
  CHECK_EQ(peer_count_seq(f.p, 0), 7);
  for (int i = 0; i < 7; i++) {
    double off = f.p->log[i].at - start - expected[i];
    CHECK(off > -50 && off < 250);
  }
  CHECK(closed > 12900 && closed < 13500);
  CHECK_EQ(peer_count(f.p, DESTROY, DESTROY), 0);
}

static void
timeout_cancels (void) {
  fixture_open(&f, true);
  for (int i = 0; i < 3; i++) side_write_pattern(&f.s, 0, 2000);
  side_end(&f.s);
  WAIT(f.s.finals == 1, 16000);
  CHECK_EQ(f.s.close_status, UV_ETIMEDOUT);
  CHECK_EQ(f.s.cancels, 4);
  CHECK_EQ(f.s.acks, 0);
}

static uint8_t *dropped_times;
static uint64_t transmissions;

static uint32_t
le32 (const uint8_t *b) {
  return (uint32_t) b[0] | (uint32_t) b[1] << 8 | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
}

static bool
drop_third (path_t *p, int towards, const uint8_t *data, size_t len) {
  (void) p;
  if (towards != 1 || len <= 20 || !(data[2] & DATA)) return false;
  uint32_t seq = le32(data + 12);
  if (++transmissions % 3 != 0 || seq >= 200000 || dropped_times[seq] >= 2) return false;
  dropped_times[seq]++;
  return true;
}

static void
every_third (void) {
  ends_open(&q, true, 1, 2);
  dropped_times = calloc(200000, 1);
  q.path->drop = drop_third;
  q.b.checked = q.b.discard = true;
  const uint64_t total = 50000000;
  uint64_t offset = 0;
  double end = limit_ms(110000);
  while (q.b.total < total) {
    if (now_ms() > end || q.a.closes) {
      printf("    %llu bytes, close status %d\n", (unsigned long long) q.b.total, q.a.close_status);
      CHECK(q.a.closes == 0 && now_ms() <= end);
    }
    while (offset < total && offset < q.b.total + 4000000) {
      side_write_pattern(&q.a, offset, 100000);
      offset += 100000;
    }
    step();
  }
  CHECK_EQ(q.b.mismatches, 0);
  CHECK(q.path->dropped[1] > 10000);
  WAIT(q.a.acks == 500, 5000);
}

static void
rack_and_probe (void) {
  fixture_open(&f, true);
  warm_up(80);
  uint16_t recoveries = stream_recovery_count(&f.s.stream);
  side_write_pattern(&f.s, 0, 4400);
  WAIT(peer_count_seq(f.p, 4) == 1, 500);
  settle(40);
  peer_send(f.p, 0, 0, 2, NULL, 0);       /* of P0-P3 only P0 arrives */
  WAIT(peer_count_seq(f.p, 4) == 2, 900); /* tail loss probe */
  CHECK_EQ(peer_count_seq(f.p, 2), 1);
  settle(60); /* more than the minimum RTT: else a retransmission tells nothing */
  uint32_t p3[] = {4, 5};
  peer_sack(f.p, 0, 2, p3, 1);
  WAIT(peer_count_seq(f.p, 2) == 2 && peer_count_seq(f.p, 3) == 2, 500);
  settle(60);
  uint32_t p2p3[] = {3, 5};
  peer_sack(f.p, 0, 2, p2p3, 1); /* P1 lost again */
  WAIT(peer_count_seq(f.p, 2) == 3, 500);
  settle(40);
  peer_send(f.p, 0, 0, 5, NULL, 0);
  WAIT(f.s.acks == 2, 500);
  CHECK_EQ(peer_count_seq(f.p, 1), 1);
  CHECK_EQ(peer_count_seq(f.p, 2), 3);
  CHECK_EQ(peer_count_seq(f.p, 3), 2);
  CHECK_EQ(peer_count_seq(f.p, 4), 2);
  CHECK_EQ(stream_rto_count(&f.s.stream), 0);
  CHECK_EQ(stream_recovery_count(&f.s.stream) - recoveries, 1);
}

static void
one_probe (void) {
  fixture_open(&f, true);
  warm_up(10);
  side_write_pattern(&f.s, 0, 2000); /* seqs 1 and 2 */
  WAIT(peer_count_seq(f.p, 2) == 1, 500);
  double end = limit_ms(3000);
  size_t most = 0;
  while (stream_rto_count(&f.s.stream) == 0) {
    CHECK(now_ms() < end);
    size_t again = peer_count_seq(f.p, 1) + peer_count_seq(f.p, 2) - 2;
    CHECK(again <= 1);
    if (again > most) most = again;
    step();
  }
  CHECK_EQ(most, 1);
}

static void
fresh_header (void) {
  fixture_open(&f, true);
  side_write(&f.s, "x", 1);
  WAIT(DATAS(f.p) == 1, 500);
  CHECK_EQ(f.p->log[0].ack, 0);
  peer_send(f.p, DATA, 0, 0, "y", 1);
  WAIT(f.s.len == 1, 500);
  udx_stream_set_rwnd_max(&f.s.stream, 1048576);
  WAIT(peer_count_seq(f.p, 0) == 2, 2000);
  packet_t *k = peer_last(f.p, DATA, DATA);
  CHECK_EQ(k->ack, 1);
  CHECK_EQ(k->window, 1048576);
}

static void
no_sample_from_retransmission (void) {
  fixture_open(&f, true);
  side_write(&f.s, "x", 1);
  WAIT(peer_count_seq(f.p, 0) == 2, 2500);
  settle(80);
  peer_send(f.p, 0, 0, 1, NULL, 0);
  WAIT(f.s.acks == 1, 500);
  CHECK_EQ(stream_srtt(&f.s.stream), 0);
  side_write(&f.s, "y", 1);
  WAIT(peer_count_seq(f.p, 1) == 1, 500);
  settle(20);
  peer_send(f.p, 0, 0, 2, NULL, 0);
  WAIT(f.s.acks == 2, 500);
  CHECK(stream_srtt(&f.s.stream) >= 15 && stream_srtt(&f.s.stream) < 80);
}

static void
reversed_acks (void) {
  fixture_open(&f, true);
  for (uint32_t i = 0; i < 5; i++) {
    side_write(&f.s, "x", 1);
    WAIT(peer_count_seq(f.p, i) >= 1, 500);
  }
  for (uint32_t ack = 5; ack > 0; ack--) peer_send(f.p, 0, 0, ack, NULL, 0);
  WAIT(f.s.acks == 5, 500);
  settle(30);
  side_write(&f.s, "y", 1);
  WAIT(peer_count_seq(f.p, 5) == 1, 500);
  peer_send(f.p, 0, 0, 6, NULL, 0);
  peer_send(f.p, 0, 0, 2, NULL, 0);
  WAIT(f.s.acks == 6, 500);
  CHECK_EQ(stream_rto_count(&f.s.stream), 0);
}

static uint32_t probe_sizes[256], probes;
static uint32_t probe_outstanding, probe_seq, overlapping;
static bool drop_probes;
static uint32_t largest;

static bool
watch_probes (path_t *p, int towards, const uint8_t *data, size_t len) {
  (void) p;
  if (towards == 0) {
    if (probe_outstanding && (int32_t) (le32(data + 16) - probe_seq) > 0) probe_outstanding = 0;
    return false;
  }
  if (len < 20 || !(data[2] & DATA)) return false;
  if (len + 28 > largest && data[3] == 0) largest = (uint32_t) len + 28;
  if (data[3] == 0) return false;
  if (probe_outstanding && !drop_probes) overlapping++;
  probe_outstanding = 1;
  probe_seq = le32(data + 12);
  if (probes < 256) probe_sizes[probes++] = (uint32_t) len + 28;
  return drop_probes;
}

static void
transfer (uint64_t total, double limit) {
  q.b.checked = q.b.discard = true;
  uint64_t offset = 0;
  double end = limit_ms(limit);
  while (q.b.total < total) {
    CHECK(now_ms() < end && q.a.closes == 0);
    while (offset < total && offset < q.b.total + 400000) {
      side_write_pattern(&q.a, offset, 20000);
      offset += 20000;
    }
    step();
  }
  CHECK_EQ(q.b.mismatches, 0);
}

static void
lost_probes (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 1;
  q.path->drop = watch_probes;
  drop_probes = true;
  transfer(4000000, 15000);
  CHECK_EQ(stream_recovery_count(&q.a.stream), 0);
  CHECK_EQ(stream_rto_count(&q.a.stream), 0);
#ifndef UDX_REFERENCE
  CHECK(probes >= 1); /* the reference never sends one: OBS-2 */
#endif
}

static void
probes_black_hole (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 1;
  q.path->drop = watch_probes;
  drop_probes = true;
  transfer(4000000, 15000);
  CHECK_EQ(stream_mtu(&q.a.stream), 1200);
  CHECK(largest <= 1200);
#ifndef UDX_REFERENCE
  CHECK(probes >= 3);
#endif
}

static void
probe_sizes_in_order (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 2;
  q.path->drop = watch_probes;
  transfer(6000000, 15000);
  uint32_t want = 1232;
  for (uint32_t i = 0; i < probes; i++) {
    printf("    probe %u\n", probe_sizes[i]);
    if (probe_sizes[i] == 1200 && want == 1232) continue;
    if (i > 0 && probe_sizes[i] == probe_sizes[i - 1]) continue; /* the same size again */
    CHECK_EQ(probe_sizes[i], want);
    want = want + 32 > 1500 ? 1500 : want + 32;
  }
  CHECK(probes >= 10);
  CHECK_EQ(probe_sizes[probes - 1], 1500);
  CHECK_EQ(overlapping, 0);
}

static void
larger_after_probe (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 2;
  q.path->drop = watch_probes;
  transfer(6000000, 15000);
  CHECK_EQ(stream_mtu(&q.a.stream), 1500);
  CHECK_EQ(largest, 1500);
}

static void
remote_change_resets (void) {
  ends_open(&q, true, 1, 2);
  q.path->delay = 2;
  transfer(6000000, 15000);
#ifndef UDX_REFERENCE
  CHECK_EQ(stream_mtu(&q.a.stream), 1500);
#endif
  struct sockaddr_storage to_b = socket_addr(&q.other_sock);
  CHECK(udx_stream_change_remote(&q.a.stream, &sock, 2, (struct sockaddr *) &to_b, NULL) >= 0);
  uint16_t mtu = 0;
  udx_stream_get_mtu(&q.a.stream, &mtu);
  CHECK_EQ(mtu, 1200);
}

const test_t recovery_tests[] = {
  {"UDX-53", "silent peer: seven transmissions, ETIMEDOUT at 13 s", silent_peer, NULL, 25, SIMULATOR},
  {"UDX-54", "timeout cancels pending writes", timeout_cancels, NULL, 25, SIMULATOR},
  {"UDX-55", "every third transmission lost, 50 MB", every_third, NULL, 120, SIMULATOR},
  {"UDX-56", "RACK and tail loss probe scenario", rack_and_probe, NULL, 0, SIMULATOR},
  {"UDX-57", "no second probe without an RTT sample", one_probe, NULL, 0, SIMULATOR},
  {"UDX-58", "retransmission carries current ack and window", fresh_header, NULL, 0, SIMULATOR},
  {"UDX-59", "no RTT sample from retransmissions", no_sample_from_retransmission, NULL, 0, SIMULATOR},
  {"UDX-60", "acks in reverse order", reversed_acks, NULL, 0, SIMULATOR},
  {"UDX-61", "losing only MTU probes does not enter recovery", lost_probes, NULL, 0, SIMULATOR},
  {"UDX-70", "probe sizes in order, one at a time", probe_sizes_in_order, "OBS-2", 0, SIMULATOR},
  {"UDX-71", "all probes lost: 1200 stays, transfer completes", probes_black_hole, NULL, 0, SIMULATOR},
  {"UDX-72", "larger packets after an acknowledged probe", larger_after_probe, "OBS-2", 0, SIMULATOR},
  {"UDX-73", "change of remote returns to 1200", remote_change_resets, NULL, 0, SIMULATOR},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
