#include "fuzz.h"

static uint8_t bytes[70000];

uint8_t
fuzz_byte (fuzz_input_t *in) {
  if (in->len == 0) return 0;
  in->len--;
  return *in->data++;
}

uint32_t
fuzz_u32 (fuzz_input_t *in) {
  uint32_t v = 0;
  for (int i = 0; i < 4; i++) v |= (uint32_t) fuzz_byte(in) << (8 * i);
  return v;
}

static void
on_close (udx_stream_t *s, int status) {
  CHECK(status == 0 || status == UV_ECONNRESET || status == UV_ETIMEDOUT || status == UV_EMSGSIZE);
  ((fuzz_stream_t *) s)->closes++;
}

static void
on_finalize (udx_stream_t *s) {
  fuzz_stream_t *f = (fuzz_stream_t *) s;
  CHECK(f->closes == 1);
  f->finals++;
}

void
fuzz_stream_open (fuzz_stream_t *s, sim_node_t *node, uint32_t id) {
  memset(s, 0, sizeof(*s));
  s->node = node;
  s->id = id;
  s->used = udx_stream_init(&node->udx, &s->stream, id, on_close, on_finalize) == 0;
}

static void
on_read (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  fuzz_stream_t *f = (fuzz_stream_t *) s;
  CHECK(f->closes == 0 && f->eofs == 0);
  if (n < 0) {
    CHECK(n == UV_EOF);
    f->eofs++;
    return;
  }
  f->reads++;
  volatile uint8_t sum = 0;
  for (ssize_t i = 0; i < n; i++) sum = (uint8_t) (sum + (uint8_t) buf->base[i]); /* the sanitizer looks at all of it */
  f->received += (uint64_t) n;
}

static void
on_message (udx_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  CHECK(((fuzz_stream_t *) s)->closes == 0);
  volatile uint8_t sum = 0;
  for (ssize_t i = 0; i < n; i++) sum = (uint8_t) (sum + (uint8_t) buf->base[i]);
}

void
fuzz_read (fuzz_stream_t *s) {
  (void) udx_stream_read_start(&s->stream, on_read);
  (void) udx_stream_recv_start(&s->stream, on_message);
}

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  CHECK(status == 0 || status == UV_ECANCELED);
  ((fuzz_stream_t *) req->stream)->acks++;
  free(req);
}

void
fuzz_write (fuzz_stream_t *s, size_t len, bool end) {
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(2));
  if (len > sizeof(bytes)) len = sizeof(bytes);
  uv_buf_t bufs[2] = {
    uv_buf_init((char *) bytes, (unsigned) (len / 2)),
    uv_buf_init((char *) bytes, (unsigned) (len - len / 2)),
  };
  int r =
    end ? udx_stream_write_end(req, &s->stream, bufs, 2, on_ack) : udx_stream_write(req, &s->stream, bufs, 2, on_ack);
  if (r < 0) {
    free(req);
    return;
  }
  s->writes++;
  s->written += len;
}

static void
on_sent (udx_stream_send_t *req, int status) {
  (void) status;
  ((fuzz_stream_t *) req->stream)->sent++;
  free(req);
}

void
fuzz_send (fuzz_stream_t *s, size_t len) {
  udx_stream_send_t *req = malloc(sizeof(*req));
  uv_buf_t buf = uv_buf_init((char *) bytes, (unsigned) (len > 2000 ? 2000 : len));
  if (udx_stream_send(req, &s->stream, &buf, 1, on_sent) < 0) {
    free(req);
    return;
  }
  s->sends++;
}

void
fuzz_on_socket_close (udx_socket_t *s) {
  (void) s;
}

void
fuzz_on_socket_recv (udx_socket_t *s, ssize_t len, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) s;
  CHECK(len >= 0 && from != NULL && buf != NULL);
}

void
fuzz_stream_check (const fuzz_stream_t *s) {
  if (!s->used) return;
  CHECK(s->closes == 1);
  CHECK(s->finals == 1);
  CHECK(s->acks == s->writes);
  CHECK(s->sent == s->sends);
}

static void
put32 (uint8_t *b, uint32_t v) {
  for (int i = 0; i < 4; i++) b[i] = (uint8_t) (v >> (8 * i));
}

size_t
fuzz_packet (fuzz_input_t *in, const fuzz_stream_t *to, uint8_t *out, size_t cap) {
  uint32_t seq = 0, ack = 0;
  if (to->used && to->closes == 0) {
    /* the peer's next seq is our ack, and the other way round */
    udx_stream_get_ack((udx_stream_t *) (uintptr_t) &to->stream, &seq);
    udx_stream_get_seq((udx_stream_t *) (uintptr_t) &to->stream, &ack);
  }
  uint8_t type = fuzz_byte(in), how = fuzz_byte(in);
  int8_t dseq = (int8_t) fuzz_byte(in), dack = (int8_t) fuzz_byte(in);
  seq += how & 1 ? (uint32_t) (int32_t) dseq * 601 : (uint32_t) (int32_t) (dseq / 16);
  ack += how & 2 ? (uint32_t) (int32_t) dack * 601 : (uint32_t) (int32_t) (dack / 16);
  out[0] = 0xff;
  out[1] = 1;
  out[2] = type;
  out[3] = how & 4 ? fuzz_byte(in) : 0;
  put32(out + 4, how & 8 ? fuzz_u32(in) : to->id);
  put32(out + 8, how & 16 ? (uint32_t) fuzz_byte(in) * 40 : 4194304);
  put32(out + 12, seq);
  put32(out + 16, ack);
  size_t n = 20, body = fuzz_byte(in);
  if (type & UDX_HEADER_SACK) { /* blocks relative to the ack */
    for (size_t i = 0; i < body % 8 && n + 8 <= cap; i++, n += 8) {
      uint32_t start = ack + (uint32_t) (int32_t) (int8_t) fuzz_byte(in) / (how & 32 ? 1 : 8);
      put32(out + n, start);
      put32(out + n + 4, start + (uint32_t) (int32_t) (int8_t) fuzz_byte(in) / 8);
    }
    if (how & 64) out[3] = (uint8_t) (n - 20);
  }
  if (how & 128) body *= 8;
  for (size_t i = 0; i < body && n < cap; i++) out[n++] = (uint8_t) (body + i);
  return n;
}
