/* The trace as qlog: JSON text sequences, one record per event (udx_trace.h). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/address.h"
#include "engine/instance.h"
#include "engine/wire.h"
#include "trace.h"

#define QLOG_BUFFER 65536 /* bytes */
#define QLOG_WRITE (QLOG_BUFFER / 2)
#define QLOG_RECORD_MAX 4096                /* bytes of one record; the longest has all ranges and 500 bytes besides */
#define QLOG_RANGES_MAX UDX_SACK_BLOCKS_MAX /* 24 bytes each; a foreign datagram may hold more */
#define QLOG_TITLE_MAX 256                  /* bytes of title and vantage point, escaped */

_Static_assert(QLOG_RANGES_MAX * 24 + 700 <= QLOG_RECORD_MAX, "a record fits");

typedef struct qlog_s {
  udx_qlog_write_cb write;
  void *data;
  int fd; /* -1 with a sink of the caller's */
  uint64_t start;
  udx_qlog_stats_t stats;
  size_t length;
  int broken;   /* the record being built did not fit */
  size_t begin; /* of it */
  char buffer[QLOG_BUFFER];
} qlog_t;

/* ---- the buffer ---- */

static ssize_t
file_write (void *data, const void *bytes, size_t length) {
  const qlog_t *qlog = data;
  ssize_t written;
  do written = write(qlog->fd, bytes, length);
  while (written < 0 && errno == EINTR);
  if (written >= 0) return written;
  return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

static uint64_t
count_records (const char *bytes, size_t length) {
  uint64_t count = 0;
  for (size_t i = 0; i < length; i++) count += bytes[i] == '\x1e';
  return count;
}

static void
qlog_flush (qlog_t *qlog) {
  size_t done = 0;
  while (done < qlog->length) {
    ssize_t taken = qlog->write(qlog->data, qlog->buffer + done, qlog->length - done);
    if (taken == 0) break;
    if (taken < 0) {
      uint64_t lost = count_records(qlog->buffer + done, qlog->length - done);
      qlog->stats.errors++;
      qlog->stats.dropped += lost;
      qlog->stats.events -= udx__min_u64(lost, qlog->stats.events);
      done = qlog->length;
      break;
    }
    if ((size_t) taken > qlog->length - done) taken = (ssize_t) (qlog->length - done);
    done += (size_t) taken;
    qlog->stats.bytes += (uint64_t) taken;
  }
  memmove(qlog->buffer, qlog->buffer + done, qlog->length - done);
  qlog->length -= done;
}

__attribute__((format(printf, 2, 3))) static void
put (qlog_t *qlog, const char *format, ...) {
  if (qlog->broken) return;
  size_t room = QLOG_BUFFER - qlog->length;
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(qlog->buffer + qlog->length, room, format, arguments);
  va_end(arguments);
  if (n < 0 || (size_t) n >= room) qlog->broken = 1;
  else qlog->length += (size_t) n;
}

static void
record_begin (qlog_t *qlog) {
  if (qlog->length + QLOG_RECORD_MAX > QLOG_BUFFER) qlog_flush(qlog);
  qlog->begin = qlog->length;
  qlog->broken = 0;
  put(qlog, "\x1e{");
}

static void
record_end (qlog_t *qlog) {
  put(qlog, "}\n");
  if (qlog->broken) {
    qlog->length = qlog->begin;
    qlog->stats.dropped++;
    return;
  }
  qlog->stats.events++;
  if (qlog->length >= QLOG_WRITE) qlog_flush(qlog);
}

static void
event_begin (qlog_t *qlog, const udx_trace_event_t *event, const char *name) {
  uint64_t time = event->time > qlog->start ? event->time - qlog->start : 0;
  record_begin(qlog);
  put(qlog, "\"time\":%" PRIu64 ".%03u,\"name\":\"%s\",", time / 1000, (unsigned) (time % 1000), name);
  if (event->stream != NULL) put(qlog, "\"group_id\":\"%" PRIu32 "\",", event->local_id);
  put(qlog, "\"data\":{");
}

static void
event_end (qlog_t *qlog) {
  put(qlog, "}");
  record_end(qlog);
}

/* ---- values ---- */

static void
put_string (qlog_t *qlog, const char *text) {
  put(qlog, "\"");
  for (size_t i = 0; text[i] != 0 && i < QLOG_TITLE_MAX; i++) {
    unsigned char c = (unsigned char) text[i];
    if (c == '"' || c == '\\') put(qlog, "\\%c", c);
    else if (c < 0x20) put(qlog, "\\u%04x", c);
    else put(qlog, "%c", c);
  }
  put(qlog, "\"");
}

static void
put_address (qlog_t *qlog, const char *prefix, const struct sockaddr *address) {
  char host[INET6_ADDRSTRLEN] = "";
  udx_address_t scratch;
  const struct sockaddr *plain = udx__address_plain(address, &scratch);
  if (plain->sa_family == AF_INET) uv_ip4_name((const struct sockaddr_in *) (const void *) plain, host, sizeof(host));
  else uv_ip6_name((const struct sockaddr_in6 *) (const void *) plain, host, sizeof(host));
  put(qlog, "\"%s_ip\":\"%s\",\"%s_port\":%u", prefix, host, prefix, udx__address_port(plain));
}

/* ms with three decimals */
static void
put_ms (qlog_t *qlog, const char *name, uint64_t us) {
  put(qlog, "\"%s\":%" PRIu64 ".%03u,", name, us / 1000, (unsigned) (us % 1000));
}

static const char *
packet_type (uint8_t type) {
  if (type & UDX_HEADER_HEARTBEAT) return "heartbeat";
  if (type & UDX_HEADER_DESTROY) return "destroy";
  if (type & UDX_HEADER_MESSAGE) return "message";
  if (type & UDX_HEADER_END) return type & UDX_HEADER_DATA ? "data_end" : "end";
  if (type & UDX_HEADER_DATA) return "data";
  return type & UDX_HEADER_SACK ? "sack" : "ack";
}

static const char *
trigger_name (udx_trace_trigger_t trigger) {
  switch (trigger) {
  case UDX_TRACE_RETRANSMISSION:
    return "retransmission";
  case UDX_TRACE_MTU_PROBE:
    return "mtu_probe";
  case UDX_TRACE_RELAYED:
    return "relayed";
  case UDX_TRACE_TIME_THRESHOLD:
    return "time_threshold";
  case UDX_TRACE_REORDERING_THRESHOLD:
    return "reordering_threshold";
  case UDX_TRACE_RTO_EXPIRED:
    return "rto_expired";
  case UDX_TRACE_FIREWALL:
    return "firewall";
  case UDX_TRACE_UNEXPECTED_SOURCE:
    return "unexpected_source_address";
  case UDX_TRACE_BAD_DATA_OFFSET:
    return "header_parse_error";
  case UDX_TRACE_TOO_FAR_AHEAD:
    return "too_far_ahead";
  case UDX_TRACE_NO_ROOM:
    return "no_room";
  case UDX_TRACE_DUPLICATE:
    return "duplicate";
  case UDX_TRACE_BAD_ACK:
    return "invalid_ack";
  default:
    return NULL;
  }
}

static void
put_trigger (qlog_t *qlog, udx_trace_trigger_t trigger) {
  const char *name = trigger_name(trigger);
  if (name != NULL) put(qlog, ",\"trigger\":\"%s\"", name);
}

static const char *
state_name (udx_trace_state_t state) {
  static const char *const names[] = {"slow_start", "drain", "congestion_avoidance", "probe_rtt", "recovery", "loss"};
  return (size_t) state < sizeof(names) / sizeof(*names) ? names[state] : "unknown";
}

/* ---- events ---- */

static void
write_packet (qlog_t *qlog, const udx_trace_event_t *event, const char *name) {
  const uint32_t length = event->as.packet.length;
  const uint8_t type = event->as.packet.type;
  event_begin(qlog, event, name);
  put(qlog,
    "\"header\":{\"packet_type\":\"%s\",\"packet_number\":%" PRIu32 ",\"dcid\":\"%" PRIu32
    "\",\"flags\":%u,\"data_offset\":%u,",
    packet_type(type), event->as.packet.seq, event->as.packet.id, type, event->as.packet.data_offset);
  put(qlog,
    "\"ack\":%" PRIu32 ",\"window\":%" PRIu32 "},\"raw\":{\"length\":%" PRIu32 ",\"payload_length\":%" PRIu32 "},",
    event->as.packet.ack, event->as.packet.window, length, event->as.packet.payload_length);
  if (event->as.packet.sack_count > 0) {
    put(qlog, "\"acked_ranges\":[");
    for (unsigned int i = 0; i < event->as.packet.sack_count && i < QLOG_RANGES_MAX; i++) {
      const uint8_t *block = event->as.packet.sack + 8 * (size_t) i;
      put(qlog, "%s[%" PRIu32 ",%" PRIu32 "]", i > 0 ? "," : "", udx__get_u32(block), udx__get_u32(block + 4) - 1);
    }
    put(qlog, "],");
  }
  put_address(qlog, event->type == UDX_TRACE_PACKET_SENT ? "dst" : "src", event->as.packet.address);
  put_trigger(qlog, event->as.packet.trigger);
  event_end(qlog);
}

static void
write_metrics (qlog_t *qlog, const udx_trace_event_t *event) {
  event_begin(qlog, event, "recovery:metrics_updated");
  if (event->as.metrics.smoothed_rtt > 0) {
    put_ms(qlog, "smoothed_rtt", event->as.metrics.smoothed_rtt);
    put_ms(qlog, "latest_rtt", event->as.metrics.latest_rtt);
    put_ms(qlog, "rtt_variance", event->as.metrics.rtt_variance);
    if (event->as.metrics.min_rtt != UINT32_MAX) put_ms(qlog, "min_rtt", event->as.metrics.min_rtt);
  }
  put_ms(qlog, "rto", event->as.metrics.rto);
  put(qlog, "\"cwnd_packets\":%" PRIu32 ",\"ssthresh_packets\":%" PRIu32 ",\"packets_in_flight\":%" PRIu32 ",",
    event->as.metrics.cwnd, event->as.metrics.ssthresh, event->as.metrics.packets_in_flight);
  put(qlog, "\"congestion_window\":%" PRIu64 ",\"bytes_in_flight\":%" PRIu64 ",",
    (uint64_t) event->as.metrics.cwnd * (event->stream != NULL ? event->stream->mtu : 0),
    event->as.metrics.bytes_in_flight);
  /* qlog has the rate in bits per second */
  put(qlog, "\"pacing_rate\":%" PRIu64 ",\"bandwidth\":%" PRIu64 ",\"peer_window\":%" PRIu32,
    8 * event->as.metrics.pacing_rate, 8 * event->as.metrics.bandwidth, event->as.metrics.peer_window);
  event_end(qlog);
}

static void
write_timer (qlog_t *qlog, const udx_trace_event_t *event) {
  static const char *const timers[] = {"rto", "tlp", "reordering", "pacing"};
  static const char *const changes[] = {"set", "expired", "cancelled"};
  size_t timer = (size_t) event->as.timer.timer, change = (size_t) event->as.timer.change;
  if (timer >= sizeof(timers) / sizeof(*timers) || change >= sizeof(changes) / sizeof(*changes)) return;
  event_begin(qlog, event, timer == UDX_TRACE_PACING ? "udx:pacing_timer_updated" : "recovery:loss_timer_updated");
  if (event->as.timer.change == UDX_TRACE_SET) put_ms(qlog, "delta", event->as.timer.delay);
  put(qlog, "\"timer_type\":\"%s\",\"event_type\":\"%s\"", timers[timer], changes[change]);
  event_end(qlog);
}

static void
write_batch (qlog_t *qlog, const udx_trace_event_t *event, const char *name) {
  event_begin(qlog, event, name);
  put(qlog, "\"count\":%" PRIu32 ",\"messages\":%" PRIu32 ",\"bytes\":%" PRIu64, event->as.batch.datagrams,
    event->as.batch.messages, event->as.batch.bytes);
  if (event->as.batch.left > 0) put(qlog, ",\"left\":%" PRIu32, event->as.batch.left);
  event_end(qlog);
}

static void
write_path (qlog_t *qlog, const udx_trace_event_t *event, const char *name) {
  event_begin(qlog, event, name);
  put(qlog, "\"src_cid\":\"%" PRIu32 "\",\"dst_cid\":\"%" PRIu32 "\",", event->local_id, event->as.path.remote_id);
  put_address(qlog, "dst", event->as.path.address);
  event_end(qlog);
}

static void
write_datagram (qlog_t *qlog, const udx_trace_event_t *event, const char *name) {
  event_begin(qlog, event, name);
  put(qlog, "\"raw\":{\"length\":%" PRIu32 "},", event->as.datagram.length);
  put_address(qlog, event->type == UDX_TRACE_DATAGRAM_SENT ? "dst" : "src", event->as.datagram.address);
  event_end(qlog);
}

static void
write_lost (qlog_t *qlog, const udx_trace_event_t *event) {
  event_begin(qlog, event, "recovery:packet_lost");
  put_ms(qlog, "since_sent", event->time > event->as.lost.sent_at ? event->time - event->as.lost.sent_at : 0);
  put(qlog,
    "\"header\":{\"packet_type\":\"data\",\"packet_number\":%" PRIu32 "},\"raw\":{\"payload_length\":%" PRIu32
    "},\"transmits\":%" PRIu32,
    event->as.lost.seq, event->as.lost.length, event->as.lost.transmits);
  put_trigger(qlog, event->as.lost.trigger);
  event_end(qlog);
}

static void
write_event (udx_t *udx, const udx_trace_event_t *event, void *data) {
  (void) udx;
  qlog_t *qlog = data;
  switch (event->type) {
  case UDX_TRACE_PACKET_SENT:
    write_packet(qlog, event, "transport:packet_sent");
    break;
  case UDX_TRACE_PACKET_RECEIVED:
    write_packet(qlog, event, "transport:packet_received");
    break;
  case UDX_TRACE_PACKET_DROPPED:
    event_begin(qlog, event, "transport:packet_dropped");
    put(qlog, "\"header\":{\"packet_type\":\"%s\",\"packet_number\":%" PRIu32 "},\"raw\":{\"length\":%" PRIu32 "}",
      packet_type(event->as.dropped.type), event->as.dropped.seq, event->as.dropped.length);
    put_trigger(qlog, event->as.dropped.trigger);
    event_end(qlog);
    break;
  case UDX_TRACE_PACKET_LOST:
    write_lost(qlog, event);
    break;
  case UDX_TRACE_METRICS:
    write_metrics(qlog, event);
    break;
  case UDX_TRACE_STATE:
    event_begin(qlog, event, "recovery:congestion_state_updated");
    put(qlog, "\"old\":\"%s\",\"new\":\"%s\"", state_name(event->as.state.old_state),
      state_name(event->as.state.new_state));
    event_end(qlog);
    break;
  case UDX_TRACE_TIMER:
    write_timer(qlog, event);
    break;
  case UDX_TRACE_MTU:
    event_begin(qlog, event, "connectivity:mtu_updated");
    put(qlog, "\"old\":%u,\"new\":%u,\"done\":%s", event->as.mtu.old_mtu, event->as.mtu.new_mtu,
      event->as.mtu.done ? "true" : "false");
    event_end(qlog);
    break;
  case UDX_TRACE_STREAM_CONNECTED:
    write_path(qlog, event, "connectivity:connection_started");
    break;
  case UDX_TRACE_STREAM_MOVED:
    write_path(qlog, event, "connectivity:path_assigned");
    break;
  case UDX_TRACE_STREAM_CLOSED:
    event_begin(qlog, event, "connectivity:connection_closed");
    put(qlog, "\"status\":%d,\"reason\":\"%s\"", event->as.closed.status,
      event->as.closed.status == 0 ? "" : uv_err_name(event->as.closed.status));
    event_end(qlog);
    break;
  case UDX_TRACE_BATCH_SENT:
    write_batch(qlog, event, "transport:datagrams_sent");
    break;
  case UDX_TRACE_BATCH_RECEIVED:
    write_batch(qlog, event, "transport:datagrams_received");
    break;
  case UDX_TRACE_DATAGRAM_SENT:
    write_datagram(qlog, event, "udx:message_sent");
    break;
  case UDX_TRACE_DATAGRAM_RECEIVED:
    write_datagram(qlog, event, "udx:message_received");
    break;
  }
}

/* ---- open and close ---- */

static void
write_header (qlog_t *qlog, const udx_qlog_options_t *options) {
  /* the instance has only a monotonic clock: when that began, for people */
  struct timeval wall = {0, 0};
  (void) gettimeofday(&wall, NULL);
  uint64_t ms = (uint64_t) wall.tv_sec * 1000 + (uint64_t) wall.tv_usec / 1000;
  record_begin(qlog);
  put(qlog, "\"qlog_version\":\"0.3\",\"qlog_format\":\"JSON-SEQ\",\"title\":");
  put_string(qlog, options->title != NULL ? options->title : "udx");
  put(qlog, ",\"trace\":{\"vantage_point\":{\"name\":\"udx\",\"type\":");
  put_string(qlog, options->vantage_point != NULL ? options->vantage_point : "unknown");
  put(qlog,
    "},\"common_fields\":{\"protocol_type\":[\"UDX\"],\"time_format\":\"relative\",\"reference_time\":%" PRIu64 "}}",
    ms);
  record_end(qlog);
}

int
udx_qlog_open (udx_t *udx, const udx_qlog_options_t *options) {
  if (options == NULL || options->size < sizeof(*options)) return UV_EINVAL;
  if ((options->path == NULL) == (options->write == NULL)) return UV_EINVAL;
  if (udx__instance(udx)->on_trace == write_event) return UV_EBUSY;
  qlog_t *qlog = malloc(sizeof(*qlog));
  if (qlog == NULL) return UV_ENOMEM;
  memset(qlog, 0, offsetof(qlog_t, buffer));
  qlog->fd = -1;
  qlog->write = options->write;
  qlog->data = options->data;
  if (options->path != NULL) {
    /* For its owner only: the events name addresses of peers. Non-blocking: a pipe whose reader sleeps must not stop
     * the transport. */
    qlog->fd = open(options->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0600);
    if (qlog->fd < 0) {
      int err = uv_translate_sys_error(errno);
      free(qlog);
      return err;
    }
    qlog->write = file_write;
    qlog->data = qlog;
  }
  qlog->start = udx__instance(udx)->driver->now(udx);
  write_header(qlog, options);
  qlog->stats.events = 0;
  udx_set_trace(udx, write_event, qlog);
  return 0;
}

void
udx_qlog_flush (udx_t *udx) {
  if (udx__instance(udx)->on_trace == write_event) qlog_flush(udx__instance(udx)->trace_data);
}

int
udx_qlog_close (udx_t *udx, udx_qlog_stats_t *stats) {
  if (udx__instance(udx)->on_trace != write_event) return UV_EINVAL;
  qlog_t *qlog = udx__instance(udx)->trace_data;
  udx_set_trace(udx, NULL, NULL);
  udx_qlog_stats_t before = qlog->stats;
  uint64_t now = udx__instance(udx)->driver->now(udx) - qlog->start;
  record_begin(qlog);
  put(qlog,
    "\"time\":%" PRIu64 ".%03u,\"name\":\"udx:trace_closed\",\"data\":{\"events\":%" PRIu64 ",\"dropped\":%" PRIu64
    ",\"errors\":%" PRIu64 "}",
    now / 1000, (unsigned) (now % 1000), before.events, before.dropped, before.errors);
  record_end(qlog);
  qlog_flush(qlog);
  if (qlog->length > 0) qlog->stats.dropped += count_records(qlog->buffer, qlog->length);
  if (stats != NULL) *stats = qlog->stats;
  if (qlog->fd >= 0) (void) close(qlog->fd);
  free(qlog);
  return 0;
}
