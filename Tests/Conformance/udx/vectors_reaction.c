/* Group reaction: one stream, crafted packets and actions of the application, and what comes out of each turn. */
#include "vectors.h"

/* Of the case, over all steps so far. */
typedef struct {
  uint8_t *read;
  size_t read_len, messages, stray;
  int ends;
} expected_t;

/* Of one step: what the application does, and what must come of it. */
typedef struct {
  const json_t *t;
  const char *action;
  uint8_t *written; /* what the application writes is what the recording shows it to have sent */
  size_t written_len, sends;
  uint32_t last_seq;
  bool any; /* something in sequence was sent */
  bool closes, destroys;
  int status;
  const json_t *ack;
  bool answers_itself; /* a closed stream may answer a late END itself */
  size_t acks_before, messages_before;
} step_t;

static expected_t expected;

static void
collect_written (step_t *turn) {
  for (const json_t *o = json_get(turn->t, "out")->first; o; o = o->next) {
    const json_t *fields = json_get(o, "fields");
    uint8_t type = (uint8_t) json_u32(fields, "type");
    if (!fields || !(type & (DATA | END | MESSAGE))) continue;
    uint32_t seq = json_u32(fields, "seq");
    uint8_t *bytes;
    size_t n = json_hex(json_string(o, "packet"), &bytes);
    if (type & MESSAGE) {
      turn->sends++;
      turn->written = realloc(turn->written, n);
      memcpy(turn->written, bytes + 20, n - 20);
      turn->written_len = n - 20;
    } else if (*turn->action && (!turn->any || (int32_t) (seq - turn->last_seq) > 0)) { /* not a retransmission */
      turn->any = true;
      turn->last_seq = seq;
      remember(seq, type, bytes + 20, n - 20);
      turn->written = realloc(turn->written, turn->written_len + n);
      memcpy(turn->written + turn->written_len, bytes + 20, n - 20);
      turn->written_len += n - 20;
    }
    free(bytes);
  }
}

static void
act (const json_t *c, const step_t *turn) {
  const char *action = turn->action;
  if (!*action) {
    uint8_t *bytes;
    size_t n = json_hex(json_string(turn->t, "in"), &bytes);
    peer_raw(r.p, bytes, n);
    free(bytes);
  } else if (strncmp(action, "write", 5) == 0) {
    side_write(&r.s, turn->written, turn->written_len);
  } else if (strncmp(action, "trySend", 7) == 0) {
    side_send(&r.s, turn->written, turn->written_len);
  } else if (strcmp(action, "end") == 0 || strcmp(action, "local end") == 0) {
    side_end(&r.s);
  } else if (strcmp(action, "destroy") == 0) {
    udx_stream_destroy(&r.s.stream);
  } else if (strcmp(action, "connect") == 0) {
    side_connect(&r.s, &sock, json_u32(c, "remoteStreamId"), &r.p->addr);
  } else {
    check_failed(__FILE__, __LINE__, "action %s", action);
  }
}

static void
expect_blob (const blobs_t *blobs, size_t index, const json_t *o) {
  uint8_t *bytes;
  size_t n = json_hex(json_string(o, "hex"), &bytes);
  WAIT(blobs->n > index, 500);
  CHECK_EQ(blobs->v[index].len, n);
  CHECK(memcmp(blobs->v[index].data, bytes, n) == 0);
  free(bytes);
}

static void
expect_packet (step_t *turn, const json_t *o, const json_t *fields) {
  uint8_t type = (uint8_t) json_u32(fields, "type");
  if (type == 0 || type == SACK) turn->ack = o;
  if (type == DESTROY) turn->destroys = true;
  if (!*turn->action && (type & (DATA | END))) { /* provoked by the packet: a retransmission or, later, new data */
    uint32_t seq = json_u32(fields, "seq");
    WAIT(peer_count_seq(r.p, seq) >= 2, 3000);
  }
}

static void
expect (step_t *turn, const json_t *o) {
  const char *event = json_string(o, "event");
  const json_t *fields = json_get(o, "fields");
  if (strcmp(event, "data") == 0) {
    uint8_t *bytes;
    size_t n = json_hex(json_string(o, "hex"), &bytes);
    expected.read = realloc(expected.read, expected.read_len + n + 1);
    memcpy(expected.read + expected.read_len, bytes, n);
    expected.read_len += n;
    free(bytes);
  } else if (strcmp(event, "end") == 0) {
    expected.ends++;
  } else if (strcmp(event, "message") == 0) {
    expect_blob(&r.s.messages, expected.messages++, o);
  } else if (strcmp(event, "socket-message") == 0) {
    if (r.s.finals && !reference) turn->answers_itself = true;
    else expect_blob(&socket_messages, expected.stray++, o);
  } else if (strcmp(event, "error") == 0) {
    turn->status = strcmp(json_string(o, "code"), "ECONNRESET") == 0 ? UV_ECONNRESET : UV_ETIMEDOUT;
  } else if (strcmp(event, "close") == 0) {
    turn->closes = true;
  } else if (fields) {
    expect_packet(turn, o, fields);
  }
}

static void
check_acknowledgement (const step_t *turn) {
  if (!turn->ack) {
    settle(8);
    const json_t *in = json_get(turn->t, "inFields");
    uint8_t type = (uint8_t) json_u32(in, "type");
    if (!turn->answers_itself && !(in && type & (DATA | END))) CHECK_EQ(ACKS(r.p), turn->acks_before);
    return;
  }
  const json_t *fields = json_get(turn->ack, "fields");
  uint32_t want = json_u32(fields, "ack");
  WAIT(ACKS(r.p) > turn->acks_before && peer_last(r.p, (uint8_t) ~SACK, 0)->ack == want, 500);
  packet_t *k = peer_last(r.p, (uint8_t) ~SACK, 0);
  CHECK_EQ(k->seq, json_u32(fields, "seq"));
  CHECK_EQ(k->id, json_u32(fields, "streamId"));
  CHECK_EQ(k->window, json_u32(fields, "rwnd"));
  const json_t *blocks = json_get(fields, "sack");
  for (const json_t *b = blocks ? blocks->first : NULL; b; b = b->next) {
    uint32_t end = (uint32_t) b->first->next->number;
    for (uint32_t q = (uint32_t) b->first->number; q != end; q++) CHECK(sack_covers(k, q));
  }
}

static void
check_step (const step_t *turn) {
  WAIT(r.s.len >= expected.read_len, 500);
  WAIT(r.s.eofs == expected.ends, 500);
  if (turn->closes) {
    WAIT(r.s.finals == 1, turn->status == UV_ETIMEDOUT ? 16000 : 1000);
    CHECK_EQ(r.s.close_status, turn->status);
  }
  if (*turn->action && turn->any) WAIT(emitted(turn->last_seq), 1000);
  if (turn->sends) {
    WAIT(peer_count(r.p, MESSAGE, MESSAGE) == turn->messages_before + 1, 500);
    packet_t *k = peer_last(r.p, MESSAGE, MESSAGE);
    CHECK_EQ(k->len, turn->written_len);
    CHECK(memcmp(k->body, turn->written, turn->written_len) == 0);
  }
  if (turn->destroys) {
    WAIT(peer_count(r.p, DESTROY, DESTROY) >= 1, 500);
    CHECK_EQ(peer_last(r.p, DESTROY, DESTROY)->seq, r.sent_count ? r.sent[r.sent_count - 1].seq + 1 : 0);
  }
}

void
reaction (const json_t *c) {
  world_open();
  r.p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr(&sock);
  peer_to(r.p, &to);
  side_init(&r.s, &udx, json_u32(c, "streamId"));
  udx_stream_set_seq(&r.s.stream, json_u32(c, "initialSeq"));
  udx_stream_set_ack(&r.s.stream, json_u32(c, "initialAck"));
  side_read(&r.s);
  const json_t *steps = json_get(c, "steps");
  bool connect_later = false;
  for (const json_t *t = steps->first; t; t = t->next) {
    if (strcmp(json_string(t, "action"), "connect") == 0) connect_later = true;
  }
  if (!connect_later) side_connect(&r.s, &sock, json_u32(c, "remoteStreamId"), &r.p->addr);

  for (const json_t *t = steps->first; t; t = t->next) {
    step_t turn = {.t = t,
      .action = json_string(t, "action"),
      .acks_before = ACKS(r.p),
      .messages_before = peer_count(r.p, MESSAGE, MESSAGE)};
    collect_written(&turn);
    act(c, &turn);
    for (const json_t *o = json_get(t, "out")->first; o; o = o->next) expect(&turn, o);
    check_step(&turn);
    check_acknowledgement(&turn);
    check_read(expected.read, expected.read_len);
    check_emitted(json_u32(c, "initialSeq"));
    if (!turn.closes && !r.s.finals) CHECK_EQ(r.s.closes, 0);
    CHECK_EQ(r.s.messages.n, expected.messages);
    CHECK_EQ(socket_messages.n, expected.stray);
    free(turn.written);
  }
}
