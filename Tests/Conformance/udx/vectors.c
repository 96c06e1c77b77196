/* Replays the golden vectors `udx-packets.json`: what one stream does with crafted packets (group reaction) and whole
   recorded sessions (group session), each session once in the place of every recorded role.
     udx_vectors FILE [ID ...]
   The recorded peer is a raw socket that sends the recorded bytes; the stream under test must answer compatibly:
   the same stream bytes under the same seqs, the same events, and acknowledgements that cover at least as much. ACK
   frequency, SACK completeness and retransmissions are free (section 10.3 of the specification). */
#define _GNU_SOURCE
#include "conform.h"
#include "json.h"

#include <sys/wait.h>
#include <unistd.h>

#ifdef UDX_REFERENCE
static const bool reference = true;
#else
static const bool reference = false;
#endif

static side_t s;
static peer_t *p, *p2;
static udx_socket_t sock2;

/* What the transcript says that our stream has sent: payload and type per seq. */
typedef struct {
  uint32_t seq;
  uint8_t type;
  uint8_t *data;
  size_t len;
} sent_t;

static sent_t *sent;
static size_t sent_count;

static void
remember (uint32_t seq, uint8_t type, const uint8_t *data, size_t len) {
  sent = realloc(sent, (sent_count + 1) * sizeof(sent_t));
  sent[sent_count].seq = seq;
  sent[sent_count].type = type;
  sent[sent_count].data = malloc(len + 1);
  memcpy(sent[sent_count].data, data, len);
  sent[sent_count++].len = len;
}

/* Everything our stream emitted in sequence, put together, must be a prefix of what the transcript sent; returns the
   number of bytes. Packet boundaries may differ. */
static size_t
check_emitted (uint32_t first_seq) {
  uint8_t *want = NULL, *have = NULL;
  size_t wanted = 0, got = 0;
  for (size_t i = 0; i < sent_count; i++) {
    want = realloc(want, wanted + sent[i].len + 1);
    memcpy(want + wanted, sent[i].data, sent[i].len);
    wanted += sent[i].len;
  }
  for (uint32_t seq = first_seq;; seq++) {
    bool found = false;
    peer_t *peers[2] = {p, p2};
    for (int k = 0; k < 2 && !found; k++) {
      for (size_t i = 0; peers[k] && i < peers[k]->n && !found; i++) {
        packet_t *x = &peers[k]->log[i];
        if (!(x->type & (DATA | END)) || x->seq != seq) continue;
        found = true;
        have = realloc(have, got + x->len + 1);
        memcpy(have + got, x->bytes + 20 + x->offset, x->len);
        got += x->len;
      }
    }
    if (!found) break;
  }
  CHECK(got <= wanted);
  if (got) CHECK(memcmp(want, have, got) == 0);
  free(want);
  free(have);
  return got;
}

static bool
emitted (uint32_t seq) {
  return peer_count_seq(p, seq) > 0 || (p2 && peer_count_seq(p2, seq) > 0);
}

/* ------------------------------------------------------------------ reaction */

static void
check_read (const uint8_t *want, size_t len) {
  if (s.len < len || (len && memcmp(s.data, want, len) != 0)) CHECK(!"bytes read as recorded");
  CHECK_EQ(s.len, len);
}

static void
reaction (const json_t *c) {
  world_open();
  p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(p, &to);
  side_init(&s, &udx, json_u32(c, "streamId"));
  udx_stream_set_seq(&s.stream, json_u32(c, "initialSeq"));
  udx_stream_set_ack(&s.stream, json_u32(c, "initialAck"));
  side_read(&s);
  const json_t *steps = json_get(c, "steps");
  bool connect_later = false;
  for (const json_t *t = steps->first; t; t = t->next) {
    if (strcmp(json_string(t, "action"), "connect") == 0) connect_later = true;
  }
  if (!connect_later) side_connect(&s, &sock, json_u32(c, "remoteStreamId"), &p->addr);

  uint8_t *read = NULL;
  size_t read_len = 0, messages = 0, stray = 0;
  int ends = 0;
  for (const json_t *t = steps->first; t; t = t->next) {
    const char *action = json_string(t, "action");
    const json_t *out = json_get(t, "out");
    size_t log_before = p->n, acks_before = ACKS(p), messages_before = peer_count(p, MESSAGE, MESSAGE);
    bool closes = false, destroys = false;
    int status = 0;

    /* what the application writes is what the recording shows it to have sent */
    uint8_t *written = NULL;
    size_t written_len = 0, sends = 0;
    uint32_t last_seq = 0;
    bool any = false;
    for (const json_t *o = out->first; o; o = o->next) {
      const json_t *fields = json_get(o, "fields");
      uint8_t type = (uint8_t) json_u32(fields, "type");
      if (!fields || !(type & (DATA | END | MESSAGE))) continue;
      uint32_t seq = json_u32(fields, "seq");
      uint8_t *bytes;
      size_t n = json_hex(json_string(o, "packet"), &bytes);
      if (type & MESSAGE) {
        sends++;
        written = realloc(written, n);
        memcpy(written, bytes + 20, n - 20);
        written_len = n - 20;
      } else if (*action && (!any || (int32_t) (seq - last_seq) > 0)) { /* not a retransmission */
        any = true;
        last_seq = seq;
        remember(seq, type, bytes + 20, n - 20);
        written = realloc(written, written_len + n);
        memcpy(written + written_len, bytes + 20, n - 20);
        written_len += n - 20;
      }
      free(bytes);
    }

    if (*action) {
      if (strncmp(action, "write", 5) == 0) side_write(&s, written, written_len);
      else if (strncmp(action, "trySend", 7) == 0) side_send(&s, written, written_len);
      else if (strcmp(action, "end") == 0 || strcmp(action, "local end") == 0) side_end(&s);
      else if (strcmp(action, "destroy") == 0) udx_stream_destroy(&s.stream);
      else if (strcmp(action, "connect") == 0) side_connect(&s, &sock, json_u32(c, "remoteStreamId"), &p->addr);
      else test_fail(__FILE__, __LINE__, "action %s", action);
    } else {
      uint8_t *bytes;
      size_t n = json_hex(json_string(t, "in"), &bytes);
      peer_raw(p, bytes, n);
      free(bytes);
    }

    const json_t *ack = NULL;
    bool linger = false;
    for (const json_t *o = out->first; o; o = o->next) {
      const char *event = json_string(o, "event");
      const json_t *fields = json_get(o, "fields");
      uint8_t *bytes;
      if (strcmp(event, "data") == 0) {
        size_t n = json_hex(json_string(o, "hex"), &bytes);
        read = realloc(read, read_len + n + 1);
        memcpy(read + read_len, bytes, n);
        read_len += n;
      } else if (strcmp(event, "end") == 0) {
        ends++;
      } else if (strcmp(event, "message") == 0) {
        size_t n = json_hex(json_string(o, "hex"), &bytes);
        WAIT(s.messages.n > messages, 500);
        CHECK_EQ(s.messages.v[messages].len, n);
        CHECK(memcmp(s.messages.v[messages].data, bytes, n) == 0);
        messages++;
      } else if (strcmp(event, "socket-message") == 0) {
        size_t n = json_hex(json_string(o, "hex"), &bytes);
        if (s.finals && !reference) { /* a closed stream may linger and answer a late END itself */
          linger = true;
          continue;
        }
        WAIT(socket_messages.n > stray, 500);
        CHECK_EQ(socket_messages.v[stray].len, n);
        CHECK(memcmp(socket_messages.v[stray].data, bytes, n) == 0);
        stray++;
      } else if (strcmp(event, "error") == 0) {
        status = strcmp(json_string(o, "code"), "ECONNRESET") == 0 ? UV_ECONNRESET : UV_ETIMEDOUT;
      } else if (strcmp(event, "close") == 0) {
        closes = true;
      } else if (fields) {
        uint8_t type = (uint8_t) json_u32(fields, "type");
        if (type == 0 || type == SACK) ack = o;
        if (type == DESTROY) destroys = true;
        if (!*action && (type & (DATA | END))) { /* provoked by the packet: a retransmission or, later, new data */
          uint32_t seq = json_u32(fields, "seq");
          WAIT(peer_count_seq(p, seq) >= 2, 3000);
        }
      }
    }
    int limit = closes && status == UV_ETIMEDOUT ? 16000 : 1000;
    WAIT(s.len >= read_len, 500);
    WAIT(s.eofs == ends, 500);
    if (closes) {
      WAIT(s.finals == 1, limit);
      CHECK_EQ(s.close_status, status);
    }
    if (*action && any) WAIT(emitted(last_seq), 1000);
    if (sends) {
      WAIT(peer_count(p, MESSAGE, MESSAGE) == messages_before + 1, 500);
      packet_t *k = peer_last(p, MESSAGE, MESSAGE);
      CHECK_EQ(k->len, written_len);
      CHECK(memcmp(k->body, written, written_len) == 0);
    }
    if (destroys) {
      WAIT(peer_count(p, DESTROY, DESTROY) >= 1, 500);
      CHECK_EQ(peer_last(p, DESTROY, DESTROY)->seq, sent_count ? sent[sent_count - 1].seq + 1 : 0);
    }
    if (ack) {
      const json_t *fields = json_get(ack, "fields");
      uint32_t want = json_u32(fields, "ack");
      WAIT(ACKS(p) > acks_before && peer_last(p, (uint8_t) ~SACK, 0)->ack == want, 500);
      packet_t *k = peer_last(p, (uint8_t) ~SACK, 0);
      CHECK_EQ(k->seq, json_u32(fields, "seq"));
      CHECK_EQ(k->id, json_u32(fields, "streamId"));
      CHECK_EQ(k->window, json_u32(fields, "rwnd"));
      const json_t *blocks = json_get(fields, "sack");
      for (const json_t *b = blocks ? blocks->first : NULL; b; b = b->next) {
        for (uint32_t q = (uint32_t) b->first->number; q != (uint32_t) b->first->next->number; q++) CHECK(sack_covers(k, q));
      }
    } else {
      settle(8);
      const json_t *in = json_get(t, "inFields");
      uint8_t type = (uint8_t) json_u32(in, "type");
      if (!linger && !(in && type & (DATA | END))) CHECK_EQ(ACKS(p), acks_before);
      (void) log_before;
    }
    check_read(read, read_len);
    check_emitted(json_u32(c, "initialSeq"));
    if (!closes && !s.finals) CHECK_EQ(s.closes, 0);
    CHECK_EQ(s.messages.n, messages);
    CHECK_EQ(socket_messages.n, stray);
    free(written);
  }
}

/* ------------------------------------------------------------------ session */

typedef struct {
  uint32_t seq;
  uint8_t *data;
  size_t len;
} piece_t;

static bool
acknowledged (peer_t *at, uint32_t ack) {
  return at && ACKS(at) && peer_last(at, (uint8_t) ~SACK, 0)->ack == ack;
}

static void
session_role (const json_t *c, const char *role) {
  const char *other = strcmp(role, "a") == 0 ? "b" : "a";
  const json_t *ids = json_get(c, "streams"), *packets = json_get(c, "packets");
  world_open();
  p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(p, &to);
  uint32_t remote = json_u32(ids, other), first_seq = 0, first_ack = 0;
  bool have_seq = false, have_ack = false;
  for (const json_t *k = packets->first; k; k = k->next) {
    const json_t *fields = json_get(k, "fields");
    bool ours = json_string(k, "from")[0] == role[0];
    if (ours && !have_seq) first_seq = json_u32(fields, "seq"), have_seq = true;
    if (!ours && !have_ack) first_ack = json_u32(fields, "seq"), have_ack = true;
  }
  side_init(&s, &udx, json_u32(ids, role));
  udx_stream_set_seq(&s.stream, first_seq);
  udx_stream_set_ack(&s.stream, first_ack);
  side_read(&s);
  side_connect(&s, &sock, remote, &p->addr);

  piece_t *pieces = NULL; /* of the other role, that arrived */
  size_t npieces = 0, messages = 0, said = 0, writes = 0;
  uint32_t next = first_seq;
  bool ended = false, other_ended = false, destroyed = false, reset = false, moved = false;
  for (const json_t *k = packets->first; k; k = k->next) {
    const json_t *fields = json_get(k, "fields");
    const char *from = json_string(k, "from");
    uint8_t type = (uint8_t) json_u32(fields, "type"), *bytes;
    uint32_t seq = json_u32(fields, "seq");
    size_t n = json_hex(json_string(k, "hex"), &bytes);
    bool lost = json_has(k, "lost") && json_get(k, "lost")->number > 0;
    if (strstr(from, "New") && !moved) {
      moved = true;
      p2 = peer_open(AF_INET);
      socket_open(&udx, &sock2, "127.0.0.1", 0, 0);
      struct sockaddr_storage to2 = socket_addr(&sock2);
      peer_to(p2, &to2);
      if (from[0] == role[0]) {
        CHECK(udx_stream_change_remote(&s.stream, &sock2, remote, (struct sockaddr *) &p2->addr, NULL) >= 0);
      }
    }
    if (from[0] == role[0]) {
      if (type & MESSAGE) {
        side_send(&s, bytes + 20, n - 20);
        said++;
        WAIT(peer_count(p, MESSAGE, MESSAGE) == said, 500);
      } else if (type & DESTROY) {
        if (!destroyed) udx_stream_destroy(&s.stream);
        destroyed = true;
      } else if ((type & (DATA | END)) && (int32_t) (seq - next) >= 0) {
        CHECK_EQ(seq, next);
        next = seq + 1;
        remember(seq, type, bytes + 20, n - 20);
        writes++;
        if (n > 20) CHECK(side_write(&s, bytes + 20, n - 20) >= 0);
        if (type & END) {
          ended = true;
          CHECK(side_end(&s) >= 0);
          writes += n > 20;
        }
        WAIT(emitted(seq), 4000);
      }
    } else if (!lost) {
      if (type & (DATA | END)) {
        bool known = false;
        for (size_t i = 0; i < npieces; i++) known = known || pieces[i].seq == seq;
        if (!known) {
          pieces = realloc(pieces, (npieces + 1) * sizeof(piece_t));
          pieces[npieces++] = (piece_t){seq, bytes + 20, n - 20};
        }
      }
      other_ended = other_ended || type & END;
      reset = reset || (type & DESTROY && !destroyed);
      messages += (type & MESSAGE) != 0;
      peer_raw(strstr(from, "New") ? p2 : p, bytes, n);
      step();
    }
  }

  uint8_t *want = NULL;
  size_t wanted = 0;
  uint32_t expected_ack = first_ack;
  for (bool found = true; found;) {
    found = false;
    for (size_t i = 0; i < npieces && !found; i++) {
      if (pieces[i].seq != expected_ack) continue;
      found = true;
      want = realloc(want, wanted + pieces[i].len + 1);
      memcpy(want + wanted, pieces[i].data, pieces[i].len);
      wanted += pieces[i].len;
      expected_ack++;
    }
  }
  WAIT(s.len >= wanted, 1000);
  check_read(want, wanted);
  WAIT(s.messages.n == messages, 500);
  CHECK_EQ(s.eofs, other_ended ? 1 : 0);
  if (npieces && !reset) {
    WAIT(acknowledged(p, expected_ack) || acknowledged(p2, expected_ack), 1000);
  }
  size_t bytes_out = check_emitted(first_seq), bytes_in = 0;
  for (size_t i = 0; i < sent_count; i++) bytes_in += sent[i].len;
  CHECK_EQ(bytes_out, bytes_in);
  if (destroyed || reset || (ended && other_ended)) {
    WAIT(s.finals == 1, 1000);
    CHECK_EQ(s.close_status, reset ? UV_ECONNRESET : 0);
    if (!destroyed && !reset) CHECK_EQ(s.acks, writes);
  } else {
    CHECK_EQ(s.closes, 0);
  }
  if (json_has(c, "totalBytes") && wanted) CHECK_EQ(wanted, json_u32(c, "totalBytes"));
  printf("    %s: %zu bytes out, %zu bytes in, %zu messages\n", role, bytes_out, wanted, messages);
}

static void
session_relay (const json_t *c) {
  static side_t relay[4];
  world_open();
  socket_open(&udx, &sock2, "127.0.0.1", 0, 0);
  p = peer_open(AF_INET);
  p2 = peer_open(AF_INET);
  struct sockaddr_storage left = socket_addr(&sock), right = socket_addr(&sock2);
  peer_to(p, &left);
  peer_to(p2, &right);
  const json_t *pairs[2] = {json_get(c, "streams"), json_get(c, "secondPair")};
  for (int i = 0; i < 2; i++) {
    side_t *x = &relay[2 * i], *y = &relay[2 * i + 1];
    side_init(x, &udx, json_u32(pairs[i], "relayA"));
    side_init(y, &udx, json_u32(pairs[i], "relayB"));
    side_connect(x, &sock, json_u32(pairs[i], "a"), &p->addr);
    side_connect(y, &sock2, json_u32(pairs[i], "b"), &p2->addr);
    CHECK_EQ(udx_stream_relay_to(&x->stream, &y->stream), 0);
    CHECK_EQ(udx_stream_relay_to(&y->stream, &x->stream), 0);
  }
  int forwarded = 0;
  for (const json_t *k = json_get(c, "packets")->first; k; k = k->next) {
    const char *from = json_string(k, "from");
    if (strlen(from) > 1) continue; /* what the recorded relay sent: ours is compared with the same bytes below */
    uint8_t *bytes;
    size_t n = json_hex(json_string(k, "hex"), &bytes);
    uint32_t to = (uint32_t) bytes[4] | (uint32_t) bytes[5] << 8 | (uint32_t) bytes[6] << 16 | (uint32_t) bytes[7] << 24;
    uint32_t id = 0;
    for (int i = 0; i < 2; i++) {
      if (to == json_u32(pairs[i], "relayA")) id = json_u32(pairs[i], "b");
      if (to == json_u32(pairs[i], "relayB")) id = json_u32(pairs[i], "a");
    }
    peer_t *in = from[0] == 'a' ? p : p2, *out = from[0] == 'a' ? p2 : p;
    size_t before = out->n;
    peer_raw(in, bytes, n);
    WAIT(out->n == before + 1, 500);
    packet_t *x = &out->log[before];
    CHECK_EQ(x->size, n);
    CHECK_EQ(x->id, id);
    memcpy(bytes + 4, x->bytes + 4, 4);
    CHECK(memcmp(bytes, x->bytes, n) == 0);
    free(bytes);
    forwarded++;
  }
  WAIT(relay[2].finals == 1 && relay[3].finals == 1, 500);
  CHECK_EQ(relay[2].close_status, UV_ECONNRESET);
  CHECK_EQ(relay[0].closes + relay[1].closes, 0);
  printf("    %d packets forwarded\n", forwarded);
}

/* ------------------------------------------------------------------ run */

static int failures, cases, skipped;

static void
run (const json_t *c, const char *role) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    if (strcmp(json_string(c, "group"), "reaction") == 0) reaction(c);
    else if (*role) session_role(c, role);
    else session_relay(c);
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  cases++;
  failures += !ok;
  printf("%s %s  %s%s%s\n", json_string(c, "id"), ok ? "ok" : "FAIL", json_string(c, "name"), *role ? ", as " : "", role);
}

int
main (int argc, char **argv) {
  if (argc < 2) return 64;
  static json_t *file; /* static: everything stays reachable for the leak check */
  file = json_load(argv[1]);
  if (!file) {
    fprintf(stderr, "%s: missing\n", argv[1]);
    return 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (const json_t *c = json_get(file, "cases")->first; c; c = c->next) {
    const char *group = json_string(c, "group"), *id = json_string(c, "id");
    bool wanted = argc == 2;
    for (int i = 2; i < argc; i++) wanted = wanted || strcmp(argv[i], id) == 0;
    if (!wanted) continue;
    if (strcmp(group, "reaction") == 0) {
      if (strcmp(json_string(c, "name"), "zero window") == 0) {
        printf("%s skipped: 1.20.7 probes a zero window with data, later versions with HEARTBEAT (UDX-62)\n", id);
        skipped++;
      } else {
        run(c, "");
      }
    } else if (strcmp(group, "session") == 0) {
      if (json_has(json_get(c, "streams"), "relayA")) {
        run(c, "");
      } else {
        if (json_has(c, "lostPackets")) {
          printf("%s skipped as the sender: when a seq leaves under loss is the congestion controller's choice\n", id);
          skipped++;
        } else {
          run(c, "a");
        }
        run(c, "b");
      }
    }
  }
  printf("%d replays, %d failed, %d skipped\n", cases, failures, skipped);
  return failures || cases == 0;
}
