/*
 * Fuzzing of the public API and of the way in of datagrams on one node of the simulator. An input is a program: a byte
 * selects an operation, the following ones are its arguments. After every operation the state of the streams is
 * checked; at the end everything is torn down and every request and stream must have settled exactly once.
 *
 * program_operations.c holds the operations, fuzz_program.c the callbacks and the run.
 */
#ifndef UDX_FUZZ_PROGRAM_H
#define UDX_FUZZ_PROGRAM_H

#include "fuzz.h"

enum {
  PROGRAM_STREAMS = 4,
  PROGRAM_SOCKETS = 2, /* one of each family */
  PROGRAM_REQUESTS = 64,
  PROGRAM_PATTERN = 70000, /* bytes that writes may point to */
};

typedef enum { REQUEST_FREE, REQUEST_WRITE, REQUEST_MESSAGE, REQUEST_DATAGRAM } program_pending_t;

typedef struct {
  udx_stream_write_t *write;
  udx_stream_send_t message;
  udx_socket_send_t datagram;
  program_pending_t pending;
} program_request_t;

typedef struct {
  udx_stream_t stream; /* first: the callbacks cast */
  bool used;           /* between init and finalize */
  int closes;
} program_slot_t;

typedef enum { SOCKET_UNUSED, SOCKET_OPEN, SOCKET_CLOSING } program_socket_t;

typedef struct {
  sim_t *sim;
  sim_node_t *node;
  udx_socket_t sockets[PROGRAM_SOCKETS];
  program_socket_t socket_state[PROGRAM_SOCKETS];
  program_slot_t slots[PROGRAM_STREAMS];
  program_request_t requests[PROGRAM_REQUESTS];
  fuzz_input_t input;
  int callback_depth;
  char pattern[PROGRAM_PATTERN];
} program_t;

extern program_t program;

/* Executes the next operation of the input; `inside` a callback nothing that only a driver may do. */
void
program_operate (bool inside);

void
program_socket_open (int index);

/* Callbacks of the operations, in fuzz_program.c. */
void
program_on_stream_close (udx_stream_t *stream, int status);
void
program_on_stream_finalize (udx_stream_t *stream);
void
program_on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf);
void
program_on_message (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf);
int
program_on_firewall (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from);
void
program_on_drain (udx_stream_t *stream);
void
program_on_changed (udx_stream_t *stream);
void
program_on_write (udx_stream_write_t *req, int status, int unordered);
void
program_on_message_sent (udx_stream_send_t *req, int status);
void
program_on_datagram_sent (udx_socket_send_t *req, int status);
void
program_on_socket_closed (udx_socket_t *socket);
void
program_on_socket_message (udx_socket_t *socket, ssize_t length, const uv_buf_t *buf, const struct sockaddr *from);

#endif
