/* The event trace: what the observer sees agrees with the counters, and the qlog text parses. */
#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/pair.h"
#include "test.h"
#include "trace_seen.h"

/* Drops every `every`th data packet that side 0 transmits and remembers which. */
typedef struct dropper_s {
  sim_node_t *from;
  unsigned int every;
  unsigned int count;
  uint16_t dropped[SEQS];
  unsigned int total;
} dropper_t;

static sim_verdict_t
drop_some (sim_t *sim, sim_datagram_t *datagram, void *ctx) {
  (void) sim;
  dropper_t *dropper = ctx;
  if (datagram->from_node != dropper->from || datagram->length < UDX_HEADER_SIZE) return SIM_PASS;
  if (!(datagram->data[2] & (UDX_HEADER_DATA | UDX_HEADER_END))) return SIM_PASS;
  if (++dropper->count % dropper->every != 0) return SIM_PASS;
  uint32_t seq =
    (uint32_t) datagram->data[12] | (uint32_t) datagram->data[13] << 8 | (uint32_t) datagram->data[14] << 16;
  CHECK(seq < SEQS);
  dropper->dropped[seq]++;
  dropper->total++;
  return SIM_DROP;
}

static seen_t seen[2];
static dropper_t dropper;

static void
counters_agree (pair_t *p) {
  for (int i = 0; i < 2; i++) {
    udx_t *udx = &p->side[i].node->udx;
    CHECK_EQ(seen[i].packets_sent, udx->packets_tx);
    CHECK_EQ(seen[i].bytes_sent, udx->bytes_tx);
    CHECK_EQ(seen[i].packets_received, udx->packets_rx);
    CHECK_EQ(seen[i].bytes_received, udx->bytes_rx);
    CHECK_EQ(seen[i].retransmissions, p->side[i].stream.retransmit_count);
    CHECK_EQ(seen[i].rto_expired, p->side[i].stream.rto_count);
    CHECK_EQ(seen[i].datagrams_in_batches_sent, p->side[i].node->datagrams_sent);
    CHECK_EQ(seen[i].datagrams_in_batches_received, p->side[i].node->datagrams_received);
    CHECK_EQ(seen[i].count[UDX_TRACE_STREAM_CONNECTED], 1);
    CHECK_EQ(seen[i].count[UDX_TRACE_STREAM_CLOSED], 1);
  }
}

static pair_t *
traced_pair (uint64_t seed, const sim_link_t *link) {
  memset(seen, 0, sizeof(seen));
  pair_t *p = pair_new_unconnected(seed, link);
  for (int i = 0; i < 2; i++) udx_set_trace(&p->side[i].node->udx, on_event, &seen[i]);
  pair_bind(p);
  pair_connect(p, 0);
  pair_connect(p, 1);
  return p;
}

TEST(a_lossy_transfer_reports_every_lost_packet) {
  for (unsigned int every = 7; every <= 91; every += 12) {
    sim_link_t link = sim_link_default();
    link.latency = 10000;
    memset(&dropper, 0, sizeof(dropper));
    pair_t *p = traced_pair(every, &link);
    dropper.from = p->side[0].node;
    dropper.every = every;
    sim_set_tap(p->sim, drop_some, &dropper);
    pair_write(p, 0, 2000000);
    pair_end(p, 0);
    pair_end(p, 1);
    CHECK(pair_run_closed(p, 600000000));
    CHECK_EQ(p->side[1].received, 2000000);
    sim_run(p->sim, 1000000);
    counters_agree(p);
    CHECK(dropper.total > 10);
    for (unsigned int seq = 0; seq < SEQS; seq++) {
      CHECK(seen[0].lost[seq] >= dropper.dropped[seq]);
      CHECK(seen[0].repaired[seq] >= dropper.dropped[seq]);
    }
    CHECK(seen[0].count[UDX_TRACE_PACKET_LOST] + seen[0].tlp_expired >= dropper.total);
    CHECK(seen[0].states & 1u << UDX_TRACE_RECOVERY);
    CHECK(seen[0].count[UDX_TRACE_METRICS] > 10);
    CHECK(seen[0].probes > 0);
    CHECK_EQ(seen[0].mtu, p->side[0].stream.mtu);
    CHECK_EQ(seen[0].close_status, 0);
    printf("  1 of %u dropped: %u packets, %llu lost events, %llu tail probes, %llu timeouts\n", every, dropper.total,
      (unsigned long long) seen[0].count[UDX_TRACE_PACKET_LOST], (unsigned long long) seen[0].tlp_expired,
      (unsigned long long) seen[0].rto_expired);
    pair_free(p);
  }
}

TEST(random_weather_agrees_with_the_counters) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    sim_link_t link = sim_link_default();
    link.latency = 5000;
    link.jitter = 3000;
    link.loss = 0.05;
    link.duplicate = 0.05;
    link.reorder = 0.02;
    link.reorder_delay = 20000;
    pair_t *p = traced_pair(seed, &link);
    pair_write(p, 0, 500000);
    pair_write(p, 1, 300000);
    pair_end(p, 0);
    pair_end(p, 1);
    CHECK(pair_run_closed(p, 600000000));
    sim_run(p->sim, 1000000);
    counters_agree(p);
    CHECK(seen[1].duplicates > 0);
    pair_free(p);
  }
}

TEST(a_silent_peer_shows_its_timeouts) {
  sim_link_t link = sim_link_default();
  link.down = true;
  pair_t *p = traced_pair(3, &link);
  pair_write(p, 0, 100);
  sim_run(p->sim, 60000000);
  CHECK_EQ(p->side[0].close_status, UV_ETIMEDOUT);
  CHECK_EQ(seen[0].close_status, UV_ETIMEDOUT);
  CHECK_EQ(seen[0].rto_expired, p->side[0].stream.rto_count + 1); /* the last one gives up */
  CHECK_EQ(seen[0].count[UDX_TRACE_PACKET_LOST], p->side[0].stream.rto_count);
  CHECK(seen[0].states & 1u << UDX_TRACE_LOSS);
  pair_free(p);
}

/* A full socket takes part of a batch: what was not taken is not reported as sent. */
TEST(a_blocked_socket_sends_nothing) {
  sim_link_t link = sim_link_default();
  pair_t *p = traced_pair(4, &link);
  sim_node_block(p->side[0].node, true);
  pair_write(p, 0, 50000);
  sim_run(p->sim, 100000);
  CHECK_EQ(seen[0].packets_sent, 0);
  sim_node_block(p->side[0].node, false);
  pair_end(p, 0);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 60000000));
  CHECK_EQ(p->side[1].received, 50000);
  sim_run(p->sim, 1000000);
  CHECK_EQ(seen[0].packets_sent, p->side[0].node->udx.packets_tx);
  CHECK_EQ(seen[0].bytes_sent, p->side[0].node->udx.bytes_tx);
  pair_free(p);
}

/* A keep-alive that repeats END belongs to no packet in flight; idle streams have no room for any. */
TEST(keepalives_after_the_end_show) {
  pair_t *p = traced_pair(6, NULL);
  pair_write(p, 0, 100);
  pair_end(p, 0);
  CHECK_EQ(udx_stream_set_keepalive(&p->side[0].stream, 1000), 0);
  sim_run(p->sim, 60000000);
  CHECK(seen[0].packets_sent >= 20);
  CHECK_EQ(seen[0].packets_sent, p->side[0].node->udx.packets_tx);
  CHECK_EQ(seen[0].retransmissions + seen[0].probes, 0);
  pair_free(p);
}

static int
refuse (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  (void) stream;
  (void) socket;
  (void) from;
  return 1;
}

TEST(the_firewall_shows) {
  memset(seen, 0, sizeof(seen));
  pair_t *p = pair_new_unconnected(5, NULL);
  udx_set_trace(&p->side[1].node->udx, on_event, &seen[1]);
  udx_stream_firewall(&p->side[1].stream, refuse);
  pair_bind(p);
  pair_connect(p, 0);
  pair_write(p, 0, 100);
  sim_run(p->sim, 500000);
  CHECK(seen[1].firewalled > 0);
  CHECK_EQ(seen[1].firewalled, seen[1].count[UDX_TRACE_PACKET_RECEIVED]);
  pair_free(p);
}

/* ---- qlog ---- */

/* A validating reader of JSON: returns what follows the value, or NULL. */
static const char *
json_value (const char *s, int depth) {
  if (depth > 16) return NULL;
  if (*s == '"') {
    for (s++; *s != '"'; s++) {
      if ((unsigned char) *s < 0x20) return NULL;
      if (*s == '\\' && *++s == 0) return NULL;
    }
    return s + 1;
  }
  if (*s == '{' || *s == '[') {
    char close = *s == '{' ? '}' : ']';
    s++;
    if (*s == close) return s + 1;
    for (;;) {
      if (close == '}') {
        if (*s != '"' || (s = json_value(s, depth + 1)) == NULL || *s != ':') return NULL;
        s++;
      }
      if ((s = json_value(s, depth + 1)) == NULL) return NULL;
      if (*s == close) return s + 1;
      if (*s++ != ',') return NULL;
    }
  }
  if (strncmp(s, "true", 4) == 0) return s + 4;
  if (strncmp(s, "false", 5) == 0) return s + 5;
  const char *begin = s;
  if (*s == '-') s++;
  if (!isdigit((unsigned char) *s)) return NULL;
  if (*s == '0' && isdigit((unsigned char) s[1])) return NULL;
  while (isdigit((unsigned char) *s)) s++;
  if (*s == '.') {
    s++;
    if (!isdigit((unsigned char) *s)) return NULL;
    while (isdigit((unsigned char) *s)) s++;
  }
  return s == begin ? NULL : s;
}

typedef struct sink_s {
  char *text;
  size_t length;
  size_t capacity;
  size_t at_once; /* takes at most this much per call */
  long remaining; /* then takes nothing (-1 = no limit) */
  int error;      /* ... or fails with this */
  unsigned int calls;
} sink_t;

static ssize_t
sink_write (void *data, const void *bytes, size_t length) {
  sink_t *sink = data;
  sink->calls++;
  if (sink->remaining == 0) return sink->error;
  if (sink->at_once > 0 && length > sink->at_once) length = sink->at_once;
  if (sink->remaining > 0) {
    if (length > (size_t) sink->remaining) length = (size_t) sink->remaining;
    sink->remaining -= (long) length;
  }
  if (sink->length + length > sink->capacity) {
    sink->capacity = 2 * (sink->length + length);
    sink->text = realloc(sink->text, sink->capacity + 1);
    CHECK(sink->text != NULL);
  }
  memcpy(sink->text + sink->length, bytes, length);
  sink->length += length;
  return (ssize_t) length;
}

static uint64_t
count_named (const char *text, const char *name) {
  char pattern[64];
  snprintf(pattern, sizeof(pattern), "\"name\":\"%s\"", name);
  uint64_t count = 0;
  for (const char *s = text; (s = strstr(s, pattern)) != NULL; s++) count++;
  return count;
}

/* Every line is one record; returns their number. */
static uint64_t
check_text (char *text, size_t length) {
  uint64_t records = 0;
  double last = 0;
  text[length] = 0;
  for (char *s = text; s < text + length;) {
    char *end = strchr(s, '\n');
    CHECK(end != NULL);
    *end = 0;
    CHECK(*s == '\x1e');
    CHECK(s[1] == '{');
    CHECK(json_value(s + 1, 0) == end);
    if (records == 0) {
      CHECK(strstr(s, "\"qlog_format\":\"JSON-SEQ\"") != NULL);
      CHECK(strstr(s, "\"vantage_point\":{") != NULL);
    } else {
      CHECK(strncmp(s + 2, "\"time\":", 7) == 0);
      double time = atof(s + 9);
      CHECK(time >= last);
      last = time;
      CHECK(strstr(s, "\"data\":{") != NULL);
    }
    *end = '\n';
    records++;
    s = end + 1;
  }
  return records;
}

static pair_t *
weather (uint64_t seed, udx_trace_cb cb, const udx_qlog_options_t *options) {
  sim_link_t link = sim_link_default();
  link.latency = 10000;
  link.loss = 0.03;
  link.duplicate = 0.01;
  memset(seen, 0, sizeof(seen));
  pair_t *p = pair_new_unconnected(seed, &link);
  udx_t *udx = &p->side[0].node->udx;
  if (cb != NULL) udx_set_trace(udx, cb, &seen[0]);
  if (options != NULL) CHECK_EQ(udx_qlog_open(udx, options), 0);
  pair_bind(p);
  pair_connect(p, 0);
  pair_connect(p, 1);
  pair_write(p, 0, 1000000);
  pair_end(p, 0);
  pair_end(p, 1);
  CHECK(pair_run_closed(p, 600000000));
  CHECK_EQ(p->side[1].received, 1000000);
  CHECK_EQ(p->side[1].mismatches, 0);
  sim_run(p->sim, 1000000);
  return p;
}

/* The same seed gives the same events: once counted, once written. */
TEST(qlog_has_every_event_and_parses) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    pair_t *p = weather(seed, on_event, NULL);
    uint64_t tx = p->side[0].node->udx.packets_tx, rx = p->side[0].node->udx.packets_rx;
    seen_t counted = seen[0];
    pair_free(p);

    sink_t sink = {.at_once = seed % 2 ? 0 : 777, .remaining = -1};
    udx_qlog_options_t options = {.size = sizeof(options),
      .write = sink_write,
      .data = &sink,
      .title = "a \"title\"\\\n",
      .vantage_point = "client"};
    p = weather(seed, NULL, &options);
    CHECK_EQ(udx_qlog_open(&p->side[0].node->udx, &options), UV_EBUSY);
    udx_qlog_stats_t stats;
    CHECK_EQ(udx_qlog_close(&p->side[0].node->udx, &stats), 0);
    CHECK_EQ(udx_qlog_close(&p->side[0].node->udx, NULL), UV_EINVAL);
    uint64_t records = check_text(sink.text, sink.length);
    uint64_t total = 0;
    for (int i = 0; i < 32; i++) total += counted.count[i];
    CHECK_EQ(records, total + 2); /* header and end */
    CHECK_EQ(stats.events, total + 1);
    CHECK_EQ(stats.dropped, 0);
    CHECK_EQ(stats.bytes, sink.length);
    CHECK_EQ(count_named(sink.text, "transport:packet_sent"), tx);
    CHECK_EQ(count_named(sink.text, "transport:packet_received") + count_named(sink.text, "udx:message_received"), rx);
    CHECK_EQ(count_named(sink.text, "recovery:packet_lost"), counted.count[UDX_TRACE_PACKET_LOST]);
    CHECK(counted.count[UDX_TRACE_PACKET_LOST] > 0);
    CHECK_EQ(count_named(sink.text, "recovery:metrics_updated"), counted.count[UDX_TRACE_METRICS]);
    CHECK_EQ(count_named(sink.text, "connectivity:connection_closed"), 1);
    CHECK_EQ(count_named(sink.text, "udx:trace_closed"), 1);
    printf(
      "  seed %llu: %llu records, %zu bytes\n", (unsigned long long) seed, (unsigned long long) records, sink.length);
    free(sink.text);
    pair_free(p);
  }
}

TEST(qlog_that_cannot_be_written_does_not_disturb) {
  int errors[] = {0, UV_ENOSPC};
  for (int i = 0; i < 2; i++) {
    sink_t sink = {.remaining = 100000, .error = errors[i]};
    udx_qlog_options_t options = {.size = sizeof(options), .write = sink_write, .data = &sink};
    pair_t *p = weather(9, NULL, &options);
    udx_qlog_stats_t stats;
    CHECK_EQ(udx_qlog_close(&p->side[0].node->udx, &stats), 0);
    CHECK(stats.dropped > 100);
    CHECK_EQ(stats.errors > 0, errors[i] != 0);
    CHECK_EQ(stats.bytes, 100000);
    CHECK_EQ(sink.length, 100000);
    free(sink.text);
    pair_free(p);
  }
}

TEST(qlog_files) {
  sim_t *sim = sim_new(1);
  udx_t *udx = &sim_node(sim)->udx;
  udx_qlog_options_t options = {.size = sizeof(options)};
  CHECK_EQ(udx_qlog_open(udx, &options), UV_EINVAL);
  options.path = "/nonexistent/x.qlog";
  CHECK_EQ(udx_qlog_open(udx, &options), UV_ENOENT);
  char path[] = "/tmp/udx-trace-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  options.path = path;
  options.size = 8;
  CHECK_EQ(udx_qlog_open(udx, &options), UV_EINVAL);
  options.size = sizeof(options);
  CHECK_EQ(udx_qlog_open(udx, &options), 0);
  udx_qlog_flush(udx);
  udx_qlog_stats_t stats;
  CHECK_EQ(udx_qlog_close(udx, &stats), 0);
  char text[4096];
  ssize_t length = read(fd, text, sizeof(text) - 1);
  CHECK(length > 0);
  CHECK_EQ((uint64_t) length, stats.bytes);
  CHECK_EQ(check_text(text, (size_t) length), 2);
  close(fd);
  unlink(path);
  /* a file that is made is for its owner only: it names the addresses of peers */
  mode_t mask = umask(0);
  CHECK_EQ(udx_qlog_open(udx, &options), 0);
  (void) umask(mask);
  struct stat info;
  CHECK_EQ(stat(path, &info), 0);
  CHECK_EQ(info.st_mode & 0777, 0600);
  CHECK_EQ(udx_qlog_close(udx, &stats), 0);
  unlink(path);
  sim_free(sim);
}

TEST_MAIN(TEST_ENTRY(a_lossy_transfer_reports_every_lost_packet), TEST_ENTRY(random_weather_agrees_with_the_counters),
  TEST_ENTRY(a_silent_peer_shows_its_timeouts), TEST_ENTRY(a_blocked_socket_sends_nothing),
  TEST_ENTRY(keepalives_after_the_end_show), TEST_ENTRY(the_firewall_shows),
  TEST_ENTRY(qlog_has_every_event_and_parses), TEST_ENTRY(qlog_that_cannot_be_written_does_not_disturb),
  TEST_ENTRY(qlog_files))
