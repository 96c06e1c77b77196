/* Group session: a whole recorded session, our stream in the place of one role, or our relay between both. */
#include "vectors.h"

/* A packet of the other role that arrived. */
typedef struct {
  uint32_t seq;
  uint8_t *data;
  size_t len;
} piece_t;

typedef struct {
  const char *role;
  uint32_t remote, first_seq, first_ack; /* of our stream */
  uint32_t next;                         /* seq of ours that comes next in the transcript */
  piece_t *pieces;
  size_t pieces_len, messages, said, writes;
  bool ended, other_ended, destroyed, reset, moved;
} session_t;

static session_t session;

static bool
acknowledged (peer_t *at, uint32_t ack) {
  return at && ACKS(at) && peer_last(at, (uint8_t) ~SACK, 0)->ack == ack;
}

/* The first seq of each role tells where the streams begin. */
static void
find_start (const json_t *packets) {
  bool have_seq = false, have_ack = false;
  for (const json_t *k = packets->first; k; k = k->next) {
    uint32_t seq = json_u32(json_get(k, "fields"), "seq");
    bool ours = json_string(k, "from")[0] == session.role[0];
    if (ours && !have_seq) session.first_seq = seq, have_seq = true;
    if (!ours && !have_ack) session.first_ack = seq, have_ack = true;
  }
  session.next = session.first_seq;
}

static void
change_remote (bool ours) {
  session.moved = true;
  r.p2 = peer_open(AF_INET);
  socket_open(&udx, &r.socket2, "127.0.0.1", 0, 0);
  struct sockaddr_storage to = socket_addr(&r.socket2);
  peer_to(r.p2, &to);
  if (!ours) return;
  int result = udx_stream_change_remote(&r.s.stream, &r.socket2, session.remote, (struct sockaddr *) &r.p2->addr, NULL);
  CHECK(result >= 0);
}

/* Our stream is made to send what its role sent. */
static void
play_own (uint8_t type, uint32_t seq, const uint8_t *body, size_t len) {
  if (type & MESSAGE) {
    side_send(&r.s, body, len);
    session.said++;
    WAIT(peer_count(r.p, MESSAGE, MESSAGE) == session.said, 500);
  } else if (type & DESTROY) {
    if (!session.destroyed) udx_stream_destroy(&r.s.stream);
    session.destroyed = true;
  } else if ((type & (DATA | END)) && (int32_t) (seq - session.next) >= 0) {
    CHECK_EQ(seq, session.next);
    session.next = seq + 1;
    remember(seq, type, body, len);
    session.writes++;
    if (len > 0) CHECK(side_write(&r.s, body, len) >= 0);
    if (type & END) {
      session.ended = true;
      CHECK(side_end(&r.s) >= 0);
      session.writes += len > 0;
    }
    WAIT(emitted(seq), 4000);
  }
}

/* The other role's packet arrives; `bytes` is kept. */
static void
play_other (peer_t *from, uint8_t type, uint32_t seq, uint8_t *bytes, size_t n) {
  if (type & (DATA | END)) {
    bool known = false;
    for (size_t i = 0; i < session.pieces_len; i++) known = known || session.pieces[i].seq == seq;
    if (!known) {
      session.pieces = realloc(session.pieces, (session.pieces_len + 1) * sizeof(piece_t));
      session.pieces[session.pieces_len++] = (piece_t){seq, bytes + 20, n - 20};
    }
  }
  session.other_ended = session.other_ended || type & END;
  session.reset = session.reset || (type & DESTROY && !session.destroyed);
  session.messages += (type & MESSAGE) != 0;
  peer_raw(from, bytes, n);
  settle(1); /* it arrives before our role goes on */
}

/* The bytes that our stream must have read; sets the ack that covers them. */
static uint8_t *
assemble (size_t *wanted, uint32_t *expected_ack) {
  uint8_t *want = NULL;
  *wanted = 0;
  *expected_ack = session.first_ack;
  for (bool found = true; found;) {
    found = false;
    for (size_t i = 0; i < session.pieces_len && !found; i++) {
      const piece_t *piece = &session.pieces[i];
      if (piece->seq != *expected_ack) continue;
      found = true;
      want = realloc(want, *wanted + piece->len + 1);
      memcpy(want + *wanted, piece->data, piece->len);
      *wanted += piece->len;
      (*expected_ack)++;
    }
  }
  return want;
}

static void
check_session (const json_t *c) {
  size_t wanted;
  uint32_t expected_ack;
  uint8_t *want = assemble(&wanted, &expected_ack);
  WAIT(r.s.len >= wanted, 1000);
  check_read(want, wanted);
  free(want);
  WAIT(r.s.messages.n == session.messages, 500);
  if (session.other_ended) WAIT(r.s.eofs == 1, 500);
  else CHECK_EQ(r.s.eofs, 0);
  if (session.pieces_len && !session.reset) {
    WAIT(acknowledged(r.p, expected_ack) || acknowledged(r.p2, expected_ack), 1000);
  }
  size_t bytes_out = check_emitted(session.first_seq), bytes_sent = 0;
  for (size_t i = 0; i < r.sent_count; i++) bytes_sent += r.sent[i].len;
  CHECK_EQ(bytes_out, bytes_sent);
  if (session.destroyed || session.reset || (session.ended && session.other_ended)) {
    WAIT(r.s.finals == 1, 1000);
    CHECK_EQ(r.s.close_status, session.reset ? UV_ECONNRESET : 0);
    if (!session.destroyed && !session.reset) CHECK_EQ(r.s.acks, session.writes);
  } else {
    CHECK_EQ(r.s.closes, 0);
  }
  if (json_has(c, "totalBytes") && wanted) CHECK_EQ(wanted, json_u32(c, "totalBytes"));
  printf("    %s: %zu bytes out, %zu bytes in, %zu messages\n", session.role, bytes_out, wanted, session.messages);
}

void
session_role (const json_t *c, const char *role) {
  const char *other = strcmp(role, "a") == 0 ? "b" : "a";
  const json_t *ids = json_get(c, "streams"), *packets = json_get(c, "packets");
  session.role = role;
  session.remote = json_u32(ids, other);
  find_start(packets);
  world_open();
  r.p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(r.p, &to);
  side_init(&r.s, &udx, json_u32(ids, role));
  udx_stream_set_seq(&r.s.stream, session.first_seq);
  udx_stream_set_ack(&r.s.stream, session.first_ack);
  side_read(&r.s);
  side_connect(&r.s, &sock, session.remote, &r.p->addr);

  for (const json_t *k = packets->first; k; k = k->next) {
    const json_t *fields = json_get(k, "fields");
    const char *from = json_string(k, "from");
    uint8_t type = (uint8_t) json_u32(fields, "type"), *bytes;
    uint32_t seq = json_u32(fields, "seq");
    size_t n = json_hex(json_string(k, "hex"), &bytes);
    bool ours = from[0] == role[0], lost = json_has(k, "lost") && json_get(k, "lost")->number > 0;
    if (strstr(from, "New") && !session.moved) change_remote(ours);
    if (ours) play_own(type, seq, bytes + 20, n - 20);
    else if (!lost) play_other(strstr(from, "New") ? r.p2 : r.p, type, seq, bytes, n);
  }
  check_session(c);
}

void
session_relay (const json_t *c) {
  static side_t relay[4];
  world_open();
  socket_open(&udx, &r.socket2, "127.0.0.1", 0, 0);
  r.p = peer_open(AF_INET);
  r.p2 = peer_open(AF_INET);
  struct sockaddr_storage left = socket_addr(&sock), right = socket_addr(&r.socket2);
  peer_to(r.p, &left);
  peer_to(r.p2, &right);
  const json_t *pairs[2] = {json_get(c, "streams"), json_get(c, "secondPair")};
  for (int i = 0; i < 2; i++) {
    side_t *x = &relay[2 * i], *y = &relay[2 * i + 1];
    side_init(x, &udx, json_u32(pairs[i], "relayA"));
    side_init(y, &udx, json_u32(pairs[i], "relayB"));
    side_connect(x, &sock, json_u32(pairs[i], "a"), &r.p->addr);
    side_connect(y, &r.socket2, json_u32(pairs[i], "b"), &r.p2->addr);
    CHECK_EQ(udx_stream_relay_to(&x->stream, &y->stream), 0);
    CHECK_EQ(udx_stream_relay_to(&y->stream, &x->stream), 0);
  }
  int forwarded = 0;
  for (const json_t *k = json_get(c, "packets")->first; k; k = k->next) {
    const char *from = json_string(k, "from");
    if (strlen(from) > 1) continue; /* what the recorded relay sent: ours is compared with the same bytes below */
    uint8_t *bytes;
    size_t n = json_hex(json_string(k, "hex"), &bytes);
    uint32_t to = 0;
    for (int i = 0; i < 4; i++) to |= (uint32_t) bytes[4 + i] << (8 * i);
    uint32_t id = 0;
    for (int i = 0; i < 2; i++) {
      if (to == json_u32(pairs[i], "relayA")) id = json_u32(pairs[i], "b");
      if (to == json_u32(pairs[i], "relayB")) id = json_u32(pairs[i], "a");
    }
    peer_t *in = from[0] == 'a' ? r.p : r.p2, *out = from[0] == 'a' ? r.p2 : r.p;
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
