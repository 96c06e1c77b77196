/* Each mechanism of the engine by itself. */
#include "engine/stream.h"
#include "engine/wire.h"
#include "test.h"

/* A small deterministic generator for randomised comparisons with naive models. */
static uint64_t state = 88172645463325252u;

static uint32_t
next_random (void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t) (state >> 16);
}

TEST(wire_annex_c) {
  static const uint8_t data[] = {
    0xff, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'};
  udx_header_t header;
  CHECK(udx__header_decode(data, sizeof(data), &header));
  CHECK_EQ(header.type, UDX_HEADER_DATA);
  CHECK_EQ(header.id, 1);
  CHECK_EQ(header.window, 4194304);
  CHECK_EQ(header.seq, 0);
  CHECK_EQ(header.ack, 0);
  uint8_t out[UDX_HEADER_SIZE];
  udx__header_encode(out, &header);
  CHECK(memcmp(out, data, UDX_HEADER_SIZE) == 0);

  udx_header_t wrap = {
    .type = UDX_HEADER_END, .data_offset = 7, .id = 0x80000001u, .window = 1, .seq = 0xfffffffbu, .ack = 9};
  udx__header_encode(out, &wrap);
  static const uint8_t expected[] = {0xff, 1, 2, 7, 1, 0, 0, 0x80, 1, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff, 9, 0, 0, 0};
  CHECK(memcmp(out, expected, UDX_HEADER_SIZE) == 0);

  CHECK(!udx__header_decode(data, 19, &header));
  uint8_t bad[20];
  memcpy(bad, data, 20);
  bad[0] = 0xfe;
  CHECK(!udx__header_decode(bad, 20, &header));
  bad[0] = 0xff;
  bad[1] = 2;
  CHECK(!udx__header_decode(bad, 20, &header));
}

TEST(sequence_arithmetic) {
  CHECK(udx__seq_before(0xffffffffu, 0));
  CHECK(!udx__seq_before(0, 0xffffffffu));
  CHECK_EQ(udx__seq_diff(3, 0xfffffffeu), 5);
  CHECK_EQ(udx__seq_diff(0xfffffffeu, 3), -5);
}

/* ---- interval set against a bitmap ---- */

#define SPAN 512
static uint8_t fresh_map[SPAN];
static uint32_t fresh_base;

static void
on_fresh (void *ctx, uint32_t start, uint32_t end) {
  (void) ctx;
  for (uint32_t seq = start; seq != end; seq++) {
    CHECK_EQ(fresh_map[seq - fresh_base], 0);
    fresh_map[seq - fresh_base] = 1;
  }
}

TEST(interval_set_model) {
  for (int round = 0; round < 300; round++) {
    udx_interval_set_t set;
    memset(&set, 0, sizeof(set));
    fresh_base = round % 2 ? 0xffffff00u : next_random(); /* half of the rounds wrap */
    uint8_t model[SPAN] = {0};
    memset(fresh_map, 0, sizeof(fresh_map));
    uint32_t trimmed = 0;
    for (int i = 0; i < 60; i++) {
      if (next_random() % 8 == 0) {
        trimmed += next_random() % 20;
        if (trimmed > SPAN) trimmed = SPAN;
        udx__intervals_trim(&set, fresh_base + trimmed);
      }
      if (trimmed >= SPAN - 1) break;
      uint32_t start = trimmed + next_random() % (SPAN - trimmed);
      uint32_t length = 1 + next_random() % 24;
      if (start + length > SPAN) length = SPAN - start;
      CHECK_EQ(udx__intervals_add(&set, fresh_base + start, fresh_base + start + length, on_fresh, NULL), 0);
      for (uint32_t k = 0; k < length; k++) model[start + k] = 1;
      CHECK(memcmp(model, fresh_map, SPAN) == 0);
      for (uint32_t k = 0; k < set.count; k++) {
        CHECK(udx__seq_before(set.ranges[k].start, set.ranges[k].end));
        if (k > 0) CHECK(udx__seq_before(set.ranges[k - 1].end, set.ranges[k].start));
      }
      uint8_t now[SPAN] = {0};
      for (uint32_t k = 0; k < set.count; k++) {
        for (uint32_t seq = set.ranges[k].start; seq != set.ranges[k].end; seq++) now[seq - fresh_base] = 1;
      }
      CHECK(memcmp(now + trimmed, model + trimmed, SPAN - trimmed) == 0);
    }
    udx__intervals_free(&set);
  }
}

TEST(interval_set_is_bounded) {
  udx_interval_set_t set;
  memset(&set, 0, sizeof(set));
  for (uint32_t i = 0; i < UDX_SACKED_RANGES_MAX; i++)
    CHECK_EQ(udx__intervals_add(&set, 2 * i, 2 * i + 1, NULL, NULL), 0);
  CHECK_EQ(udx__intervals_add(&set, 0x10000000u, 0x10000001u, NULL, NULL), UV_ENOBUFS);
  CHECK_EQ(set.count, UDX_SACKED_RANGES_MAX);
  udx__intervals_free(&set);
}

/* ---- id table against an array ---- */

TEST(id_table_model) {
  enum { IDS = 3000 };
  static uint8_t present[IDS];
  static udx_stream_t streams[1];
  udx_id_table_t table;
  memset(&table, 0, sizeof(table));
  table.seed = next_random();
  uint32_t count = 0;
  for (int i = 0; i < 200000; i++) {
    uint32_t k = next_random() % IDS;
    uint32_t id = k * 0x01000193u; /* spread over the whole space */
    if (next_random() % 2) {
      CHECK_EQ(udx__ids_insert(&table, id, streams), present[k] ? UV_EEXIST : 0);
      if (!present[k]) count++;
      present[k] = 1;
    } else {
      udx__ids_remove(&table, id);
      if (present[k]) count--;
      present[k] = 0;
    }
    CHECK_EQ(table.count, count);
    uint32_t other = next_random() % IDS;
    CHECK_EQ(udx__ids_find(&table, other * 0x01000193u) != NULL, present[other]);
  }
  udx__ids_free(&table);
}

/* OBS-10: n random ids need O(n) slots, ids that differ in the high bits only as well. */
TEST(id_table_size) {
  udx_id_table_t table;
  memset(&table, 0, sizeof(table));
  static udx_stream_t stream;
  for (uint32_t i = 0; i < 4000; i++) CHECK_EQ(udx__ids_insert(&table, i << 20 | (i >> 12), &stream), 0);
  CHECK(table.mask + 1 <= 8192);
  for (uint32_t i = 0; i < 4000; i++) udx__ids_remove(&table, i << 20 | (i >> 12));
  CHECK_EQ(table.mask + 1, 64);
  udx__ids_free(&table);
}

/* ---- timer heap ---- */

TEST(timer_heap_order) {
  enum { STREAMS = 500 };
  static udx_t udx;
  static udx_stream_t streams[STREAMS];
  memset(&udx, 0, sizeof(udx));
  CHECK_EQ(udx__timers_reserve(&udx__instance(&udx)->timers, STREAMS), 0);
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < STREAMS; i++) {
      streams[i].udx = &udx;
      udx__timer_at_most(&streams[i], 1000 + next_random() % 1000);
      udx__timer_at_most(&streams[i], 900 + next_random() % 1000); /* only an earlier one counts */
      if (next_random() % 4 == 0) {
        uint64_t moved = next_random() % 8 == 0 ? UDX_NEVER : 800 + next_random() % 3000;
        udx__timer_move(&streams[i], moved);
        CHECK_EQ(udx__stream(&streams[i])->timer_index == 0, moved == UDX_NEVER);
        if (moved != UDX_NEVER) CHECK_EQ(udx__stream(&streams[i])->timer_key, moved);
      }
    }
    for (int i = 0; i < STREAMS; i += 3) {
      udx__timer_remove(&streams[i]);
      udx__timer_remove(&streams[i]);
    }
    uint64_t last = 0;
    uint32_t count = 0, armed = 0;
    for (int i = 0; i < STREAMS; i++) armed += udx__stream(&streams[i])->timer_index != 0;
    CHECK(armed > STREAMS / 2);
    udx_stream_t *stream;
    while ((stream = udx__timers_pop(&udx__instance(&udx)->timers, 5000)) != NULL) {
      CHECK(udx__stream(stream)->timer_key >= last);
      last = udx__stream(stream)->timer_key;
      count++;
    }
    CHECK_EQ(count, armed);
    CHECK_EQ(udx__instance(&udx)->timers.count, 0);
  }
  udx__timers_free(&udx__instance(&udx)->timers);
}

/* ---- windowed filter ---- */

TEST(udx_90_windowed_minimum) {
  udx_filter_t filter;
  udx__filter_reset(&filter, 0, 0);
  for (uint64_t t = 0; t <= 300000; t++) CHECK_EQ(udx__filter_min(&filter, 300000, t, (double) t), 0);
  CHECK_EQ(udx__filter_min(&filter, 300000, 300001, 300001), 75001);
}

TEST(windowed_maximum_follows) {
  udx_filter_t filter;
  udx__filter_reset(&filter, 0, 0);
  for (uint64_t t = 1; t < 5000; t++) {
    double value = (double) (next_random() % 1000);
    double max = udx__filter_max(&filter, 100, t, value);
    CHECK(max >= value && max < 1000);
  }
  CHECK_EQ(udx__filter_max(&filter, 100, 6000, 5), 5);
}

/* The second and third best take over when the best falls out of the window; an equal value is as good, and newer. */
TEST(filter_keeps_the_next_best) {
  static const struct {
    uint64_t time;
    double value, best;
  } steps[] = {{0, 10, 10}, {30, 20, 10}, {60, 25, 10}, {70, 22, 10}, {101, 40, 20}, {131, 41, 22}, {140, 22, 22},
    {171, 50, 22}, {240, 50, 22}, {241, 51, 50}};
  for (int is_max = 0; is_max <= 1; is_max++) {
    udx_filter_t filter;
    udx__filter_reset(&filter, 0, is_max ? -100 : 100);
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
      double value = is_max ? -steps[i].value : steps[i].value;
      double best = is_max ? -udx__filter_max(&filter, 100, steps[i].time, value)
                           : udx__filter_min(&filter, 100, steps[i].time, value);
      if (best != steps[i].best) printf("  step %zu: %g\n", i, best);
      CHECK(best == steps[i].best);
    }
  }
}

/* ---- RTT ---- */

TEST(rtt_estimator) {
  static udx_stream_t stream;
  udx__rtt_init(&stream);
  CHECK_EQ(stream.rto, 1000);
  CHECK_EQ(udx_rtt_min(&stream), UINT32_MAX);
  udx__rtt_sample(&stream, 100 * UDX_MS, 1);
  CHECK_EQ(stream.srtt, 100);
  CHECK_EQ(stream.rto, 300);
  udx__rtt_sample(&stream, 100 * UDX_MS, 2);
  CHECK_EQ(udx__stream(&stream)->rtt.var, 37500);
  /* a sample after suspend/resume is cut to srtt + 5 var */
  udx__rtt_sample(&stream, 3600 * UDX_SECOND, 3);
  CHECK(udx__stream(&stream)->rtt.srtt < 150 * UDX_MS);
  /* sub-millisecond samples are samples */
  udx__rtt_init(&stream);
  udx__rtt_sample(&stream, 30, 1);
  CHECK_EQ(udx__stream(&stream)->rtt.srtt, 30);
  CHECK_EQ(stream.srtt, 1);
  CHECK_EQ(udx__stream(&stream)->rtt.rto, UDX_RTO_MIN);
}

/* ---- reordering ---- */

static udx_t reorder_udx;
static udx_stream_t reorder_stream;

static void
reorder_begin (void) {
  memset(&reorder_udx, 0, sizeof(reorder_udx));
  memset(&reorder_stream, 0, sizeof(reorder_stream));
  udx__pool_init(&udx__instance(&reorder_udx)->buffers, UDX_REORDER_BLOCK, 16);
  udx__pool_init(&udx__instance(&reorder_udx)->buffers_large, UDX_REORDER_BLOCK_LARGE, 16);
  reorder_stream.udx = &reorder_udx;
  udx__stream(&reorder_stream)->flow.window_max = UDX_WINDOW_DEFAULT;
}

static void
reorder_end (void) {
  udx__reorder_free(&reorder_stream);
  CHECK_EQ(udx__instance(&reorder_udx)->reorder_memory, 0);
  udx__pool_drain(&udx__instance(&reorder_udx)->buffers);
  udx__pool_drain(&udx__instance(&reorder_udx)->buffers_large);
}

/* Streams whose peers never fill their gaps take what they can: another one has room all the same. */
TEST(greedy_streams_leave_room) {
  static udx_stream_t hogs[50];
  reorder_begin();
  memset(hogs, 0, sizeof(hogs));
  int took = 1;
  for (int i = 0; i < 50; i++) {
    hogs[i].udx = &reorder_udx;
    udx__stream(&hogs[i])->flow.window_max = UDX_WINDOW_DEFAULT;
  }
  while (took) {
    took = 0;
    for (int i = 0; i < 50; i++) {
      if (!udx__reorder_has_room(&hogs[i], UDX_REORDER_BLOCK)) continue;
      udx__stream(&hogs[i])->reorder.memory += UDX_REORDER_BLOCK;
      udx__instance(&reorder_udx)->reorder_memory += UDX_REORDER_BLOCK;
      took = 1;
    }
  }
  CHECK(udx__instance(&reorder_udx)->reorder_memory <= UDX_REORDER_TOTAL_MAX);
  uint32_t room = 0;
  while (udx__reorder_has_room(&reorder_stream, UDX_REORDER_BLOCK)) {
    udx__stream(&reorder_stream)->reorder.memory += UDX_REORDER_BLOCK;
    udx__instance(&reorder_udx)->reorder_memory += UDX_REORDER_BLOCK;
    room += UDX_REORDER_BLOCK;
  }
  CHECK(room > 2 << 20);
  udx__stream(&reorder_stream)->reorder.memory = 0;
  udx__instance(&reorder_udx)->reorder_memory = 0;
  reorder_end();
}

TEST(reorder_model) {
  for (int round = 0; round < 200; round++) {
    reorder_begin();
    uint32_t base = round % 2 ? 0xfffffff0u : 5;
    uint32_t expected = base;
    uint8_t present[256] = {0};
    udx__stream(&reorder_stream)->ack.next = udx__stream(&reorder_stream)->ack.delivered = base;
    for (int i = 0; i < 400; i++) {
      uint32_t k = next_random() % 200;
      uint32_t seq = base + k;
      if (udx__seq_before(seq, expected)) continue;
      uint8_t byte = (uint8_t) k;
      CHECK_EQ(udx__reorder_insert(&reorder_stream, seq, UDX_HEADER_DATA, &byte, 1), present[k] ? 0 : 1);
      present[k] = 1;
      udx_reorder_node_t *node;
      while ((node = udx__reorder_pop(&reorder_stream, expected)) != NULL) {
        CHECK_EQ(node->data[0], (uint8_t) (expected - base));
        CHECK_EQ(present[expected - base], 1);
        udx__reorder_put(&reorder_udx, node);
        expected++;
      }
      CHECK_EQ(present[expected - base], 0);
      udx__stream(&reorder_stream)->ack.next = udx__stream(&reorder_stream)->ack.delivered = expected;

      /* the blocks are exactly what is held */
      uint8_t blocks[8 * 200];
      int count = udx__reorder_blocks(&reorder_stream, blocks, 200);
      uint8_t reported[256] = {0};
      for (int b = 0; b < count; b++) {
        uint32_t start = udx__get_u32(blocks + 8 * b), end = udx__get_u32(blocks + 8 * b + 4);
        CHECK(udx__seq_before(start, end));
        CHECK(udx__seq_before(expected, start));
        for (uint32_t s = start; s != end; s++) reported[s - base] = 1;
      }
      for (uint32_t s = expected; s != base + 200; s++) CHECK_EQ(reported[s - base], present[s - base]);
    }
    reorder_end();
  }
}

/* With more ranges than fit, each is reported again and again, and the latest at once. */
TEST(reorder_blocks_rotate) {
  reorder_begin();
  uint8_t byte = 0;
  for (uint32_t i = 0; i < 300; i++) {
    udx__instance(&reorder_udx)->now = i;
    CHECK_EQ(udx__reorder_insert(&reorder_stream, 2 * i + 2, UDX_HEADER_DATA, &byte, 1), 1);
    uint8_t blocks[8 * UDX_SACK_BLOCKS_MAX];
    int count = udx__reorder_blocks(&reorder_stream, blocks, UDX_SACK_BLOCKS_MAX);
    int found = 0;
    for (int b = 0; b < count; b++) found += udx__get_u32(blocks + 8 * b) == 2 * i + 2;
    CHECK_EQ(found, 1);
  }
  uint8_t seen[300] = {0};
  for (int round = 0; round < 8; round++) {
    udx__instance(&reorder_udx)->now++;
    uint8_t blocks[8 * UDX_SACK_BLOCKS_MAX];
    int count = udx__reorder_blocks(&reorder_stream, blocks, UDX_SACK_BLOCKS_MAX);
    CHECK_EQ(count, UDX_SACK_BLOCKS_MAX);
    for (int b = 0; b < count; b++) seen[(udx__get_u32(blocks + 8 * b) - 2) / 2] = 1;
  }
  for (int i = 0; i < 300; i++) CHECK_EQ(seen[i], 1);
  reorder_end();
}

/* OBS-9: far apart costs nothing; the store is bounded in bytes and in ranges. */
TEST(reorder_is_bounded) {
  reorder_begin();
  uint8_t byte = 0;
  CHECK_EQ(udx__reorder_insert(&reorder_stream, 10, UDX_HEADER_DATA, &byte, 1), 1);
  CHECK_EQ(udx__reorder_insert(&reorder_stream, 10 + (1u << 26), UDX_HEADER_DATA, &byte, 1), 1);
  CHECK(udx__stream(&reorder_stream)->reorder.capacity <= 8);
  uint32_t kept = 2;
  for (uint32_t i = 1; i < 10000; i++)
    kept += udx__reorder_insert(&reorder_stream, 10 + 2 * i, UDX_HEADER_DATA, &byte, 1) == 1;
  CHECK_EQ(udx__stream(&reorder_stream)->reorder.nodes, kept);
  CHECK_EQ(kept, UDX_REORDER_RUNS_MAX);
  uint32_t more = 0;
  for (uint32_t i = 1; i < 20000; i++)
    more += udx__reorder_insert(&reorder_stream, 10 + (1u << 26) + i, UDX_HEADER_DATA, &byte, 1) == 1;
  CHECK((uint64_t) (kept + more) * UDX_REORDER_BLOCK <= UDX_REORDER_WINDOWS * (uint64_t) UDX_WINDOW_DEFAULT);
  CHECK(more < 19999);
  CHECK_EQ(udx__reorder_insert(&reorder_stream, 4, UDX_HEADER_DATA, &byte, 1), UV_ENOBUFS);
  CHECK_EQ(udx__reorder_insert(&reorder_stream, 5, UDX_HEADER_DATA, &byte, UDX_DATAGRAM_MAX + 1), UV_EMSGSIZE);
  reorder_end();
}

TEST(addresses) {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  CHECK_EQ(uv_ip4_addr("192.0.2.7", 4321, &v4), 0);
  udx_address_t mapped, scratch;
  CHECK_EQ(udx__address_for(&mapped, (struct sockaddr *) &v4, AF_INET6), 0);
  CHECK_EQ(mapped.any.sa_family, AF_INET6);
  CHECK_EQ(udx__address_port(&mapped.any), 4321);
  CHECK(udx__address_equal(&mapped.any, (struct sockaddr *) &v4));
  const struct sockaddr *plain = udx__address_plain(&mapped.any, &scratch);
  CHECK(memcmp(plain, &v4, sizeof(v4)) == 0);
  CHECK_EQ(uv_ip6_addr("2001:db8::1", 1, &v6), 0);
  CHECK_EQ(udx__address_for(&mapped, (struct sockaddr *) &v6, AF_INET), UV_EINVAL);
  CHECK(udx__address_plain((struct sockaddr *) &v6, &scratch) == (struct sockaddr *) &v6);
}

/* A host of IPv6 has a /64 to itself, one of IPv4 its address, also where that is written in 16 bytes. */
TEST(networks_of_addresses) {
  static const struct {
    const char *a, *b;
    int same;
  } cases[] = {
    {"2001:db8::1", "2001:db8::ffff:1", 1},
    {"2001:db8:0:1::1", "2001:db8::1", 0},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.1", 1},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.2", 0},
    {"::ffff:192.0.2.1", "::1", 0},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct sockaddr_in6 a, b;
    CHECK_EQ(uv_ip6_addr(cases[i].a, 7, &a), 0);
    CHECK_EQ(uv_ip6_addr(cases[i].b, 8, &b), 0);
    CHECK_EQ(udx__address_same_network((struct sockaddr *) &a, (struct sockaddr *) &b), cases[i].same);
  }
}

/* Every byte of an address counts, and its port. */
TEST(addresses_differ) {
  struct sockaddr_in6 a, b;
  CHECK_EQ(uv_ip6_addr("2001:db8::1", 7, &a), 0);
  for (int byte = 0; byte < 16; byte++) {
    b = a;
    CHECK(udx__address_equal((struct sockaddr *) &a, (struct sockaddr *) &b));
    b.sin6_addr.s6_addr[byte] ^= 1;
    CHECK(!udx__address_equal((struct sockaddr *) &a, (struct sockaddr *) &b));
  }
  b = a;
  b.sin6_port = htons(8);
  CHECK(!udx__address_equal((struct sockaddr *) &a, (struct sockaddr *) &b));
  struct sockaddr_in v4, other;
  CHECK_EQ(uv_ip4_addr("192.0.2.7", 7, &v4), 0);
  CHECK(!udx__address_equal((struct sockaddr *) &a, (struct sockaddr *) &v4));
  other = v4;
  CHECK(udx__address_equal((struct sockaddr *) &v4, (struct sockaddr *) &other));
  other.sin_port = htons(8);
  CHECK(!udx__address_equal((struct sockaddr *) &v4, (struct sockaddr *) &other));
  CHECK_EQ(uv_ip4_addr("192.0.2.8", 7, &other), 0);
  CHECK(!udx__address_equal((struct sockaddr *) &v4, (struct sockaddr *) &other));
}

TEST_MAIN(TEST_ENTRY(wire_annex_c), TEST_ENTRY(sequence_arithmetic), TEST_ENTRY(interval_set_model),
  TEST_ENTRY(interval_set_is_bounded), TEST_ENTRY(id_table_model), TEST_ENTRY(id_table_size),
  TEST_ENTRY(timer_heap_order), TEST_ENTRY(udx_90_windowed_minimum), TEST_ENTRY(windowed_maximum_follows),
  TEST_ENTRY(rtt_estimator), TEST_ENTRY(greedy_streams_leave_room), TEST_ENTRY(reorder_model),
  TEST_ENTRY(reorder_blocks_rotate), TEST_ENTRY(reorder_is_bounded), TEST_ENTRY(addresses),
  TEST_ENTRY(addresses_differ), TEST_ENTRY(networks_of_addresses), TEST_ENTRY(filter_keeps_the_next_best))
