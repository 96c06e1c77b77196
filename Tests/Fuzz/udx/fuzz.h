/* Shared by the fuzz targets: streams on the simulator that remember what their callbacks said. */
#ifndef UDX_FUZZ_H
#define UDX_FUZZ_H

#include "sim/check.h"
#include "sim/sim.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const uint8_t *data;
  size_t len;
} fuzz_input_t;

typedef struct {
  udx_stream_t stream; /* first */
  sim_node_t *node;
  bool used, connected;
  uint32_t id;
  int closes, finals, eofs, reads;
  uint64_t received, written;
  uint32_t writes, acks, sends, sent;
} fuzz_stream_t;

/* A target: libFuzzer or replay.c calls it. */
int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

uint8_t
fuzz_byte (fuzz_input_t *in);
uint32_t
fuzz_u32 (fuzz_input_t *in);

void
fuzz_stream_open (fuzz_stream_t *s, sim_node_t *node, uint32_t id);
void
fuzz_read (fuzz_stream_t *s);
void
fuzz_write (fuzz_stream_t *s, size_t len, bool end);
void
fuzz_send (fuzz_stream_t *s, size_t len);
void
fuzz_on_socket_close (udx_socket_t *s);
void
fuzz_on_socket_recv (udx_socket_t *s, ssize_t len, const uv_buf_t *buf, const struct sockaddr *from);

/* After everything is destroyed and the simulation has run: one close, one finalize, every request answered. */
void
fuzz_stream_check (const fuzz_stream_t *s);

/* A packet whose seq and ack lie near what the stream expects, so that most inputs get past the header checks. */
size_t
fuzz_packet (fuzz_input_t *in, const fuzz_stream_t *to, uint8_t *out, size_t cap);

#endif
