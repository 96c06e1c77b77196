/* Delivery rate samples (engine/rate_sample.c) and the pacer (engine/pacing.c), each by itself. */
#include "engine/pacing.h"
#include "engine/rate_sample.h"
#include "engine/rtt.h"
#include "unit.h"

#define MS 1000u

/* Ten packets leave at once and are acknowledged 20 ms later: 10 packets in 20 ms. */
TEST(rate_of_a_first_flight) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 10);
  unit_ack(&unit, begin + 20 * MS, 10, 0, 0);
  udx_rate_sample_t sample;
  udx__rate_finish(unit.stream, &sample, begin + 20 * MS);
  CHECK_EQ(sample.delivered, 10);
  CHECK_EQ(sample.interval, 20 * MS);
  CHECK_EQ(sample.acked, 10);
  CHECK_EQ(sample.losses, 0);
  CHECK_EQ(sample.rtt, 20 * MS);
  CHECK_EQ(sample.prior_in_flight, 10);
  CHECK_EQ(sample.prior_delivered, 0);
  /* the next one starts empty */
  udx__rate_finish(unit.stream, &sample, begin + 20 * MS);
  CHECK_EQ(sample.interval, 0);
  CHECK_EQ(sample.delivered, 0);
  CHECK_EQ(sample.rtt, UINT32_MAX);
  unit_free(&unit);
}

/* The send interval counts if it is longer; an interval below the least RTT is no sample. */
TEST(rate_interval) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 4);
  udx__packet_at(unit.stream, 3)->first_sent_ago = 50 * MS;
  unit_ack(&unit, begin + 20 * MS, 4, 0, 0);
  udx_rate_sample_t sample;
  udx__rate_finish(unit.stream, &sample, begin + 20 * MS);
  CHECK_EQ(sample.interval, 20 * MS); /* the first packet of a batch is the sample */
  unit_free(&unit);

  for (uint32_t more = 0; more <= 1; more++) {
    unit = unit_new();
    begin = unit_send(&unit, 1);
    udx__rtt_sample(unit.stream, 20 * MS + more, begin);
    udx__packet_at(unit.stream, 0)->transmits = 2; /* no RTT sample of its own */
    unit_ack(&unit, begin + 20 * MS, 1, 0, 0);
    udx__rate_finish(unit.stream, &sample, begin + 20 * MS);
    CHECK_EQ(sample.interval, more ? 0 : 20 * MS);
    unit_free(&unit);
  }
}

/* Of packets that one acknowledgement covers the one sent last says most; of those sent together, the later one. */
TEST(rate_of_the_freshest_packet) {
  for (uint32_t together = 0; together <= 1; together++) {
    unit_t unit = unit_new();
    uint64_t begin = unit_send(&unit, 2);
    unit_ack(&unit, begin + 20 * MS, 1, 0, 0);
    udx_rate_sample_t sample;
    udx__rate_finish(unit.stream, &sample, begin + 20 * MS);
    CHECK_EQ(sample.delivered, 1);
    (void) unit_send(&unit, 1);
    udx_packet_t *last = udx__packet_at(unit.stream, 2);
    last->sent_at = together ? begin : begin + 20 * MS;
    last->delivered = 1;
    last->delivered_ago = last->first_sent_ago = 0;
    unit_ack(&unit, begin + 40 * MS, 3, 0, 0);
    udx__rate_finish(unit.stream, &sample, begin + 40 * MS);
    CHECK_EQ(sample.prior_delivered, 1);
    CHECK_EQ(sample.delivered, 2);
    CHECK_EQ(sample.interval, together ? 40 * MS : 20 * MS);
    unit_free(&unit);
  }
}

TEST(application_limited) {
  unit_t unit = unit_new();
  uint64_t begin = unit_send(&unit, 3);
  CHECK_EQ(unit.state->rate.app_limited, 3); /* nothing was left to send */
  (void) unit_send(&unit, 1);
  CHECK_EQ(udx__packet_at(unit.stream, 3)->app_limited, 1);
  CHECK_EQ(udx__packet_at(unit.stream, 2)->app_limited, 0);
  unit_ack(&unit, begin + 20 * MS, 4, 0, 0);
  udx_rate_sample_t sample;
  udx__rate_finish(unit.stream, &sample, begin + 20 * MS);
  CHECK_EQ(unit.state->rate.app_limited, 4); /* until more than that is delivered */
  unit.state->rate.delivered++;
  udx__rate_finish(unit.stream, &sample, begin + 21 * MS);
  CHECK_EQ(unit.state->rate.app_limited, 0);
  unit.stream->cwnd = 0;
  udx__rate_check_app_limited(unit.stream);
  CHECK_EQ(unit.state->rate.app_limited, 0); /* the window limits, not the application */
  unit.stream->cwnd = 10;
  unit_free(&unit);
}

/* 12 MB/s: credit grows by 12 bytes per us up to a burst of 1 ms; a packet may leave while it is positive. */
TEST(pacing_bucket) {
  unit_t unit = unit_new();
  udx_pacing_t *pacing = &unit.state->pacing;
  uint64_t now = 1000000;
  pacing->updated = now;
  pacing->credit = 0;
  udx__pacing_set_rate(unit.stream, 12000000);
  CHECK_EQ(udx__pacing_ready(unit.stream, now), 0);
  CHECK_EQ(udx__pacing_ready(unit.stream, now + 1), 1);
  CHECK_EQ(pacing->credit, 12);
  udx__pacing_spend(unit.stream, 1200);
  CHECK_EQ(pacing->credit, -1188);
  CHECK_EQ(udx__pacing_ready(unit.stream, now + 100), 0); /* exactly nothing */
  CHECK_EQ(udx__pacing_ready(unit.stream, now + 101), 1);
  CHECK_EQ(udx__pacing_ready(unit.stream, now + 100000), 1);
  CHECK_EQ(pacing->credit, 12000);
  pacing->credit = 0;
  udx__pacing_wait(unit.stream, now + 100000);
  /* for half a burst, 500 us, on the grid */
  CHECK_EQ(pacing->at, now + 100500);
  CHECK_EQ(pacing->waiting, 1);
  udx__pacing_wait(unit.stream, now + 100001);
  CHECK_EQ(pacing->at, now + 100750);
  udx__pacing_set_rate(unit.stream, 0);
  CHECK_EQ(pacing->rate, 1);
  unit_free(&unit);
}

/* A burst is at least two packets, at any rate. */
TEST(pacing_least_burst) {
  unit_t unit = unit_new();
  udx_pacing_t *pacing = &unit.state->pacing;
  udx__pacing_set_rate(unit.stream, 1000);
  pacing->updated = 0;
  CHECK_EQ(udx__pacing_ready(unit.stream, 3600 * (uint64_t) UDX_SECOND), 1);
  CHECK_EQ(pacing->credit, UDX_PACING_BURST_MIN * unit.stream->mtu);
  unit_free(&unit);
}

/* Loss without a queue: packets go singly for 10 s, unless more than a fifth of those is lost as well. */
TEST(pacing_single_packets) {
  unit_t unit = unit_new();
  udx_pacing_t *pacing = &unit.state->pacing;
  uint64_t now = 5 * UDX_SECOND;
  udx__pacing_lost(unit.stream, 1, now); /* no RTT is known */
  CHECK_EQ(pacing->single_until, 0);
  udx__rtt_sample(unit.stream, 20 * MS, now);
  unit.state->rtt.latest = 20 * MS + 5 * MS + UDX_MS + 1; /* a queue */
  udx__pacing_lost(unit.stream, 1, now);
  CHECK_EQ(pacing->single_until, 0);
  unit.state->rtt.latest--;
  udx__pacing_lost(unit.stream, 1, now);
  CHECK_EQ(pacing->single_until, now + UDX_PACING_SINGLE_TIME);
  CHECK_EQ(pacing->single_judged_from, now + UDX_PACING_SINGLE_ROUNDS * 20 * MS);

  now = pacing->single_judged_from;
  pacing->lost = 0;
  pacing->sent = UDX_PACING_SINGLE_SHARE * UDX_PACING_SINGLE_LOSSES;
  udx__pacing_lost(unit.stream, UDX_PACING_SINGLE_LOSSES - 1, now);
  CHECK_EQ(pacing->lost, UDX_PACING_SINGLE_LOSSES - 1); /* too few to judge */
  udx__pacing_lost(unit.stream, 1, now);
  CHECK_EQ(pacing->lost, 0); /* a fifth, not more: it helps */
  CHECK_EQ(pacing->single_until, now + UDX_PACING_SINGLE_TIME);
  pacing->sent = UDX_PACING_SINGLE_SHARE * UDX_PACING_SINGLE_LOSSES - 1;
  udx__pacing_lost(unit.stream, UDX_PACING_SINGLE_LOSSES, now);
  CHECK_EQ(pacing->single_until, 0);
  CHECK_EQ(pacing->burst_until, now + UDX_PACING_SINGLE_TIME);
  udx__pacing_lost(unit.stream, 1, pacing->burst_until - 1);
  CHECK_EQ(pacing->single_until, 0);
  udx__pacing_lost(unit.stream, 1, pacing->burst_until);
  CHECK(pacing->single_until > 0);
  unit_free(&unit);
}

/* What bursts have lost says nothing about single packets, also when none of those is lost for a while. */
TEST(pacing_forgets_what_bursts_lost) {
  unit_t unit = unit_new();
  udx_pacing_t *pacing = &unit.state->pacing;
  uint64_t now = 5 * UDX_SECOND;
  CHECK_EQ(pacing->lost, 0);
  CHECK_EQ(pacing->sent, 0);
  udx__rtt_sample(unit.stream, 20 * MS, now);
  pacing->sent = 2 * UDX_PACING_SINGLE_LOSSES;
  udx__pacing_lost(unit.stream, UDX_PACING_SINGLE_LOSSES, now);
  CHECK_EQ(pacing->single_until, now + UDX_PACING_SINGLE_TIME);
  now = pacing->single_judged_from;
  for (uint32_t i = 0; i < 2 * UDX_PACING_SINGLE_LOSSES; i++) udx__pacing_spend(unit.stream, 1200);
  udx__pacing_lost(unit.stream, 1, now);
  CHECK_EQ(pacing->single_until, now + UDX_PACING_SINGLE_TIME);
  CHECK_EQ(pacing->burst_until, 0);
  unit_free(&unit);
}

/* A new path has rounds of its own from its first packets on, however much the old one has delivered. */
TEST(rounds_begin_anew_on_another_path) {
  static const uint32_t delivered[] = {0, 1000, INT32_MAX, (uint32_t) INT32_MAX + 1000, UINT32_MAX - 2};
  for (size_t i = 0; i < sizeof(delivered) / sizeof(*delivered); i++) {
    unit_t unit = unit_new();
    unit.state->rate.delivered = delivered[i];
    CHECK_EQ(udx_stream_reroute(unit.stream), 0);
    for (uint32_t round = 1; round <= 3; round++) {
      uint64_t begin = unit_send(&unit, 4);
      unit_ack(&unit, begin + 20 * MS, 4 * round, 0, 0);
      udx__stream_settle(unit.stream);
      CHECK_EQ(unit.state->bbr.round_count, round);
    }
    unit_free(&unit);
  }
}

TEST_MAIN(TEST_ENTRY(rate_of_a_first_flight), TEST_ENTRY(rate_interval), TEST_ENTRY(rate_of_the_freshest_packet),
  TEST_ENTRY(application_limited), TEST_ENTRY(pacing_bucket), TEST_ENTRY(pacing_least_burst),
  TEST_ENTRY(pacing_single_packets), TEST_ENTRY(pacing_forgets_what_bursts_lost),
  TEST_ENTRY(rounds_begin_anew_on_another_path))
