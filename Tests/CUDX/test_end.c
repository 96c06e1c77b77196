/*
 * The end of a stream on paths that lose packets (udx.md 2.5): END, its acknowledgement, or DESTROY is lost; a side
 * closes its socket, as a program that exits does, the moment its stream is closed; and each side ends first. Neither
 * may end with ETIMEDOUT after everything arrived, except where the documentation says so.
 */
#include "engine/stream.h"
#include "engine/wire.h"
#include "sim/pair.h"
#include "test.h"

#define MS 1000ull
#define S 1000000ull

/* ---- both sides of a pair, one of which may vanish when it is done ---- */

typedef struct end_s {
  pair_t *pair;
  int leaves[2]; /* its datagrams go nowhere and nothing reaches it once its stream is closed: the program has exited */
  int (*drop)(struct end_s *end, int from, const udx_header_t *header);
  uint32_t seen[256]; /* by type, from either side */
  uint32_t copies[2]; /* plain acknowledgements of a side after it closed */
} end_t;

static sim_verdict_t
end_tap (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  end_t *end = ctx;
  udx_header_t header;
  if (!udx__header_decode(datagram->data, datagram->length, &header)) return SIM_PASS;
  int from = datagram->from_node == end->pair->side[1].node;
  /* the turn in which it closes still sends; later ones do not exist */
  const pair_side_t *side = &end->pair->side[from], *other = &end->pair->side[1 - from];
  if (end->leaves[from] && side->closed && sim_now(sim) > side->close_time) return SIM_DROP;
  if (end->leaves[1 - from] && other->closed) return SIM_DROP;
  end->seen[header.type]++;
  if (side->closed && header.type == 0) end->copies[from]++;
  return end->drop != NULL && end->drop(end, from, &header) ? SIM_DROP : SIM_PASS;
}

static pair_t *
end_new (end_t *end, uint64_t seed, const sim_link_t *link) {
  memset(end, 0, sizeof(*end));
  end->pair = pair_new(seed, link);
  sim_set_tap(end->pair->sim, end_tap, end);
  return end->pair;
}

/* As udxbench's receiver: ends when the other side has ended. */
static int
other_ended (void *ctx) {
  return ((pair_side_t *) ctx)->eof;
}

typedef struct tally_s {
  int runs, clean, timed_out[2];
} tally_t;

enum { ANSWERING, AT_ONCE };

static void
transfers (tally_t *tally, double loss, int runs, int how, int leaving, uint64_t bytes) {
  memset(tally, 0, sizeof(*tally));
  for (int i = 0; i < runs; i++) {
    sim_link_t link = sim_link_default();
    link.latency = (uint64_t) (i % 40 + 1) * MS / 2;
    link.jitter = (uint64_t) (i % 3) * MS / 2;
    link.loss = loss;
    end_t end;
    pair_t *p = end_new(&end, (uint64_t) i + 1, &link);
    end.leaves[0] = leaving & 1;
    end.leaves[1] = leaving >> 1 & 1;
    pair_write(p, 0, bytes);
    if (how != ANSWERING) pair_write(p, 1, bytes);
    pair_end(p, 0);
    if (how == ANSWERING) (void) sim_run_until(p->sim, other_ended, &p->side[1], 300 * S);
    pair_end(p, 1);
    CHECK(pair_run_closed(p, 300 * S));
    tally->runs++;
    int clean = 1;
    for (int k = 0; k < 2; k++) {
      CHECK_EQ(p->side[k].mismatches, 0);
      if (p->side[k].close_status == 0) continue;
      CHECK_EQ(p->side[k].close_status, UV_ETIMEDOUT);
      tally->timed_out[k]++;
      clean = 0;
    }
    if (clean) {
      tally->clean++;
      CHECK_EQ(p->side[1].received, bytes);
      CHECK_EQ(p->side[0].received, how == ANSWERING ? 0 : bytes);
      CHECK_EQ(p->side[0].eof, 1);
      CHECK_EQ(p->side[1].eof, 1);
    }
    pair_free(p);
  }
}

static const double losses[] = {0.001, 0.01, 0.05, 0.2, 0.3};
enum { LOSSES = sizeof(losses) / sizeof(*losses) };

/* The programs live on: the linger state answers whatever was lost. */
TEST(both_sides_stay) {
  for (int l = 0; l < LOSSES; l++) {
    for (int how = ANSWERING; how <= AT_ONCE; how++) {
      tally_t tally;
      transfers(&tally, losses[l], 200, how, 0, 20000);
      printf("  loss %4.1f %%, %s: %d of %d clean\n", 100 * losses[l],
        how == ANSWERING ? "answers the end" : "ends at once", tally.clean, tally.runs);
      CHECK_EQ(tally.clean, tally.runs);
    }
  }
}

/* The one that sends the last acknowledgement exits with it, as udxbench does. */
TEST(last_acknowledgement_and_exit) {
  for (int l = 0; l < LOSSES; l++) {
    for (int leaving = 1; leaving <= 3; leaving++) {
      tally_t tally;
      transfers(&tally, losses[l], 200, ANSWERING, leaving, 20000);
      printf("  loss %4.1f %%, exits %d: %d of %d clean, timed out %d + %d\n", 100 * losses[l], leaving, tally.clean,
        tally.runs, tally.timed_out[0], tally.timed_out[1]);
      CHECK_EQ(tally.clean, tally.runs);
    }
  }
}

/*
 * Both sides have data in their last packet: a side that exits takes the proof with it if the last acknowledgement is
 * lost, that is, all copies of it, or the only one if it was the first loss of the stream. This is ETIMEDOUT by the
 * specification (udx.md 2.5, 3.7), for the data may be missing.
 */
TEST(last_data_and_exit) {
  for (int l = 0; l < LOSSES; l++) {
    tally_t tally;
    transfers(&tally, losses[l], 200, AT_ONCE, 3, 20000);
    printf("  loss %4.1f %%: %d of %d clean, timed out %d + %d\n", 100 * losses[l], tally.clean, tally.runs,
      tally.timed_out[0], tally.timed_out[1]);
    CHECK(tally.timed_out[0] + tally.timed_out[1] <= tally.runs * 3 / 100);
  }
}

/* ---- one loss at a time ---- */

static int lost;

static int
drop_end (end_t *end, int from, const udx_header_t *header) {
  (void) end;
  return from == 0 && (header->type & UDX_HEADER_END) && lost-- > 0;
}

static int
drop_other_end (end_t *end, int from, const udx_header_t *header) {
  (void) end;
  return from == 1 && (header->type & UDX_HEADER_END) && lost-- > 0;
}

static int
drop_ack_of_end (end_t *end, int from, const udx_header_t *header) {
  return from == 0 && end->pair->side[0].eof && header->type == 0 && lost-- > 0;
}

TEST(one_packet_of_the_end_is_lost) {
  int (*const drops[])(end_t *, int, const udx_header_t *) = {drop_end, drop_other_end, drop_ack_of_end};
  for (int which = 0; which < 3; which++) {
    for (int times = 1; times <= 3; times++) {
      end_t end;
      pair_t *p = end_new(&end, 1, NULL);
      end.drop = drops[which];
      lost = times;
      pair_write(p, 0, 5000);
      pair_end(p, 0);
      CHECK(sim_run_until(p->sim, other_ended, &p->side[1], 20 * S));
      pair_end(p, 1);
      CHECK(pair_run_closed(p, 20 * S));
      CHECK(lost <= 0);
      for (int k = 0; k < 2; k++) CHECK_EQ(p->side[k].close_status, 0);
      CHECK_EQ(p->side[1].received, 5000);
      pair_free(p);
    }
  }
}

/* No copies on a path that loses nothing: a peer that is closed would get them as socket messages. */
TEST(one_final_acknowledgement_on_a_clean_path) {
  for (int lossy = 0; lossy < 2; lossy++) {
    sim_link_t link = sim_link_default();
    link.loss = lossy ? 0.1 : 0;
    end_t end;
    pair_t *p = end_new(&end, 4, &link);
    pair_write(p, 0, 200000);
    pair_end(p, 0);
    CHECK(sim_run_until(p->sim, other_ended, &p->side[1], 20 * S));
    pair_end(p, 1);
    CHECK(pair_run_closed(p, 20 * S));
    sim_run(p->sim, 1 * S);
    CHECK_EQ(end.copies[0], lossy ? UDX_FINAL_ACKS : 1);
    pair_free(p);
  }
}

/* ---- a peer that closed without a trace, as libudx does ---- */

static int
drop_all_acks_of_end (end_t *end, int from, const udx_header_t *header) {
  (void) header;
  return from == 0 && end->pair->side[0].eof;
}

/* All data arrived and the peer had ended: after 13 s that is a clean end, for the END's own callback, too. */
TEST(end_without_answer_after_everything_is_a_clean_close) {
  end_t end;
  pair_t *p = end_new(&end, 1, NULL);
  end.leaves[0] = 1;
  end.drop = drop_all_acks_of_end;
  pair_write(p, 0, 5000);
  pair_write(p, 1, 5000);
  sim_run(p->sim, 100 * MS);
  pair_end(p, 0);
  CHECK(sim_run_until(p->sim, other_ended, &p->side[1], 20 * S));
  uint64_t at = sim_now(p->sim);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 30 * S));
  for (int k = 0; k < 2; k++) CHECK_EQ(p->side[k].close_status, 0);
  CHECK_EQ(p->side[1].cancelled, 0);
  CHECK_EQ(p->side[0].received, 5000);
  CHECK(p->side[1].close_time - at >= 13 * S);
  CHECK(p->side[1].close_time - at < 16 * S);
  pair_free(p);
}

/* But data without an answer, or an END to a peer that did not end, is a timeout (items 53, 54). */
TEST(data_without_answer_is_a_timeout) {
  for (int data = 0; data < 2; data++) {
    end_t end;
    pair_t *p = end_new(&end, 1, NULL);
    pair_write(p, 0, 5000);
    sim_run(p->sim, 100 * MS);
    if (data) {
      pair_end(p, 0);
      CHECK(sim_run_until(p->sim, other_ended, &p->side[1], 20 * S));
    }
    sim_link(p->side[0].node, p->side[1].node)->down = true;
    sim_link(p->side[1].node, p->side[0].node)->down = true;
    if (data) pair_write(p, 1, 10);
    pair_end(p, 1);
    sim_run(p->sim, 30 * S);
    CHECK_EQ(p->side[1].close_status, UV_ETIMEDOUT);
    pair_free(p);
  }
}

/* ---- DESTROY ---- */

static int
drop_destroy (end_t *end, int from, const udx_header_t *header) {
  (void) end;
  (void) from;
  return (header->type & UDX_HEADER_DESTROY) && lost-- > 0;
}

/* Lost: a side that sends learns it at once; a silent one does not (udx.md 2.6), without harm. */
TEST(destroy_is_lost) {
  for (int busy = 0; busy < 2; busy++) {
    end_t end;
    pair_t *p = end_new(&end, 1, NULL);
    end.drop = drop_destroy;
    lost = 1;
    pair_write(p, 0, 5000);
    sim_run(p->sim, 100 * MS);
    CHECK_EQ(udx_stream_destroy(&p->side[0].stream), 1);
    sim_run(p->sim, 100 * MS);
    CHECK_EQ(p->side[1].closed, 0);
    if (busy) {
      pair_write(p, 1, 5000);
      sim_run(p->sim, 3 * S);
      CHECK_EQ(p->side[1].close_status, UV_ECONNRESET);
    } else {
      sim_run(p->sim, 60 * S);
      CHECK_EQ(p->side[1].closed, 0);
    }
    pair_free(p);
  }
}

TEST_MAIN(TEST_ENTRY(both_sides_stay), TEST_ENTRY(last_acknowledgement_and_exit), TEST_ENTRY(last_data_and_exit),
  TEST_ENTRY(one_packet_of_the_end_is_lost), TEST_ENTRY(one_final_acknowledgement_on_a_clean_path),
  TEST_ENTRY(end_without_answer_after_everything_is_a_clean_close), TEST_ENTRY(data_without_answer_is_a_timeout),
  TEST_ENTRY(destroy_is_lost))
