/* Programs of API calls and datagrams (see program.h): the callbacks, of which some act as the input says, and the
   run from an empty node to an idle one. */
#include "program.h"

#include "sim/inside.h"

program_t program;

static void
maybe_act (void) {
  if (program.callback_depth > 2 || program.input.len == 0) return;
  if (fuzz_byte(&program.input) % 8 != 0) return;
  program.callback_depth++;
  program_operate(true);
  program.callback_depth--;
}

void
program_on_stream_close (udx_stream_t *stream, int status) {
  program_slot_t *slot = (program_slot_t *) stream;
  CHECK(slot->used && slot->closes == 0);
  CHECK(status == 0 || status == UV_ECONNRESET || status == UV_ETIMEDOUT || status == UV_EMSGSIZE);
  slot->closes++;
  maybe_act();
}

void
program_on_stream_finalize (udx_stream_t *stream) {
  program_slot_t *slot = (program_slot_t *) stream;
  CHECK(slot->used && slot->closes == 1);
  slot->used = false;
  memset(&slot->stream, 0xee, sizeof(slot->stream)); /* an application frees it here */
}

void
program_on_socket_closed (udx_socket_t *socket) {
  program.socket_state[socket - program.sockets] = SOCKET_UNUSED;
  memset(socket, 0xee, sizeof(*socket));
}

void
program_on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  CHECK(((program_slot_t *) stream)->closes == 0);
  CHECK(length == UV_EOF || (length >= 0 && (size_t) length == buf->len));
  volatile char sum = 0; /* the sanitizer looks at all of it */
  for (ssize_t i = 0; i < length; i++) sum = (char) (sum + buf->base[i]);
  maybe_act();
}

void
program_on_message (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) stream;
  CHECK(length >= 0 && (size_t) length == buf->len);
  maybe_act();
}

void
program_on_socket_message (udx_socket_t *socket, ssize_t length, const uv_buf_t *buf, const struct sockaddr *from) {
  (void) socket;
  CHECK(length >= 0 && (size_t) length == buf->len);
  CHECK(from->sa_family == AF_INET || from->sa_family == AF_INET6);
  maybe_act();
}

int
program_on_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  (void) stream;
  (void) socket;
  (void) from;
  maybe_act();
  return program.input.len > 0 && *program.input.data % 4 == 0;
}

void
program_on_drain (udx_stream_t *stream) {
  (void) stream;
  maybe_act();
}

void
program_on_changed (udx_stream_t *stream) {
  (void) stream;
  maybe_act();
}

static void
request_done (program_request_t *request, program_pending_t kind) {
  CHECK(request->pending == kind);
  request->pending = REQUEST_FREE;
}

void
program_on_write (udx_stream_write_t *req, int status, int unordered) {
  program_request_t *request = req->data;
  CHECK(status == 0 || (status == UV_ECANCELED && !unordered));
  request_done(request, REQUEST_WRITE);
  free(req);
  request->write = NULL;
  maybe_act();
}

void
program_on_message_sent (udx_stream_send_t *req, int status) {
  CHECK(status == 0 || status == UV_ECANCELED);
  request_done(req->data, REQUEST_MESSAGE);
  maybe_act();
}

void
program_on_datagram_sent (udx_socket_send_t *req, int status) {
  CHECK(status == 0 || status == UV_ECANCELED);
  request_done(req->data, REQUEST_DATAGRAM);
  maybe_act();
}

static void
check_all (void) {
  for (int i = 0; i < PROGRAM_STREAMS; i++) {
    if (program.slots[i].used) inside_check_stream(&program.slots[i].stream);
  }
  inside_check_instance(&program.node->udx);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  if (size > 8192) return 0;
  memset(program.slots, 0, sizeof(program.slots));
  memset(program.requests, 0, sizeof(program.requests));
  program.input = (fuzz_input_t){data, size};
  program.callback_depth = 0;
  program.sim = sim_new(1);
  program.node = sim_node(program.sim);
  for (int i = 0; i < PROGRAM_SOCKETS; i++) program_socket_open(i);
  while (program.input.len > 0) {
    program_operate(false);
    check_all();
  }
  sim_node_throttle(program.node, 0);
  sim_node_block(program.node, false);
  udx_teardown(&program.node->udx);
  sim_run(program.sim, 1000);
  CHECK(udx_is_idle(&program.node->udx));
  for (int i = 0; i < PROGRAM_STREAMS; i++) CHECK(!program.slots[i].used);
  for (int i = 0; i < PROGRAM_REQUESTS; i++) CHECK(program.requests[i].pending == REQUEST_FREE);
  sim_free(program.sim);
  return 0;
}
