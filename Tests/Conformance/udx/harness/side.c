/* Streams under test, with everything that their callbacks report. */
#include "conform.h"

static void
note (side_t *s, char c) {
  size_t n = strlen(s->order);
  if (n + 1 < sizeof(s->order)) s->order[n] = c;
}

void
on_side_close (udx_stream_t *stream, int status) {
  side_t *s = (side_t *) stream;
  s->closes++;
  s->close_status = status;
  note(s, 'C');
  if (s->on_close) s->on_close(s);
}

void
on_side_finalize (udx_stream_t *stream) {
  side_t *s = (side_t *) stream;
  s->finals++;
  note(s, 'F');
}

void
side_init (side_t *s, udx_t *instance, uint32_t id) {
  memset(s, 0, sizeof(*s));
  CHECK_EQ(udx_stream_init(instance, &s->stream, id, on_side_close, on_side_finalize), 0);
}

void
side_connect (side_t *s, udx_socket_t *socket, uint32_t remote_id, const struct sockaddr_storage *to) {
  CHECK_EQ(udx_stream_connect(&s->stream, socket, remote_id, (const struct sockaddr *) to), 0);
}

static void
on_side_read (udx_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  side_t *s = (side_t *) stream;
  if (n < 0) {
    CHECK_EQ(n, UV_EOF);
    s->eofs++;
    note(s, 'E');
  } else {
    s->reads++;
    if (s->checked) {
      for (ssize_t i = 0; i < n; i++) {
        if ((uint8_t) buf->base[i] != pattern_byte(s->total + (uint64_t) i)) s->mismatches++;
      }
    }
    s->total += (uint64_t) n;
    if (!s->discard && n > 0) {
      if (s->len + (size_t) n > s->cap) {
        s->cap = (s->len + (size_t) n) * 2;
        s->data = realloc(s->data, s->cap);
      }
      memcpy(s->data + s->len, buf->base, (size_t) n);
      s->len += (size_t) n;
    }
  }
  if (s->on_read) s->on_read(s);
}

static void
on_side_message (udx_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  side_t *s = (side_t *) stream;
  if (n >= 0) blobs_add(&s->messages, buf->base, (size_t) n);
  if (s->on_message) s->on_message(s);
}

void
side_read (side_t *s) {
  CHECK_EQ(udx_stream_read_start(&s->stream, on_side_read), 0);
  CHECK_EQ(udx_stream_recv_start(&s->stream, on_side_message), 0);
}

static void
on_side_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) unordered;
  side_t *s = (side_t *) req->stream;
  if (status == 0) {
    s->acks++;
    note(s, 'A');
  } else {
    CHECK_EQ(status, UV_ECANCELED);
    s->cancels++;
    note(s, 'X');
  }
  free(req->data);
  free(req);
  if (s->on_ack && status == 0) s->on_ack(s);
}

static udx_stream_write_t *
request (const void *data, size_t len, uv_buf_t *buf) {
  udx_stream_write_t *req = calloc(1, (size_t) udx_stream_write_sizeof(1));
  char *copy = malloc(len + 1);
  if (len) memcpy(copy, data, len);
  req->data = copy;
  *buf = uv_buf_init(copy, (unsigned) len);
  return req;
}

int
side_write (side_t *s, const void *data, size_t len) {
  uv_buf_t buf;
  udx_stream_write_t *req = request(data, len, &buf);
  int r = udx_stream_write(req, &s->stream, &buf, 1, on_side_ack);
  if (r < 0) {
    free(req->data);
    free(req);
  }
  return r;
}

int
side_write_pattern (side_t *s, uint64_t offset, size_t len) {
  uint8_t *bytes = malloc(len + 1);
  for (size_t i = 0; i < len; i++) bytes[i] = pattern_byte(offset + i);
  int r = side_write(s, bytes, len);
  free(bytes);
  return r;
}

int
side_end (side_t *s) {
  uv_buf_t buf;
  udx_stream_write_t *req = request("", 0, &buf);
  int r = udx_stream_write_end(req, &s->stream, &buf, 1, on_side_ack);
  if (r < 0) {
    free(req->data);
    free(req);
  }
  return r;
}

static void
on_side_sent (udx_stream_send_t *req, int status) {
  (void) status;
  free(req->data);
  free(req);
}

int
side_send (side_t *s, const void *data, size_t len) {
  udx_stream_send_t *req = calloc(1, sizeof(*req));
  char *copy = malloc(len + 1);
  if (len) memcpy(copy, data, len);
  req->data = copy;
  uv_buf_t buf = uv_buf_init(copy, (unsigned) len);
  int r = udx_stream_send(req, &s->stream, &buf, 1, on_side_sent);
  if (r < 0) {
    free(copy);
    free(req);
  }
  return r;
}

static int
on_side_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  side_t *s = (side_t *) stream;
  s->firewalls++;
  address_copy(&s->firewall_from, from);
  if (s->on_firewall) s->on_firewall(s, socket, from);
  return s->firewall_result;
}

void
side_firewall (side_t *s, int result) {
  s->firewall_result = result;
  udx_stream_firewall(&s->stream, on_side_firewall);
}
