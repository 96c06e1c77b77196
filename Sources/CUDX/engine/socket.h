/* Sockets: options, the queue of datagrams and messages, close. */
#ifndef UDX_ENGINE_SOCKET_H
#define UDX_ENGINE_SOCKET_H

#include "address.h"
#include "list.h"

/* The engine's part of udx_socket_t. */
typedef struct udx_socket_state_s {
  udx_socket_recv_cb on_recv;
  udx_socket_close_cb on_close;
  udx_socket_rebind_cb on_rebind;
  udx_link_t link;
  udx_link_t dirty;
  udx_link_t ready;     /* streams with data that may leave */
  udx_link_t owing;     /* streams that owe an acknowledgement or heartbeat */
  udx_link_t sends;     /* socket and stream messages, first in first out */
  udx_link_t controls;  /* built control packets */
  udx_link_t resumable; /* macroflows whose waiting streams may go on */
  uint32_t sends_count;
  uint32_t controls_count;
  uint32_t stream_count;
  uint32_t number; /* which one of the instance: hashes of it are the same in every run */
  uint8_t family;  /* AF_INET or AF_INET6, 0 before bind */
  uint8_t ttl;
  uint8_t blocked;
  uint8_t local; /* the address that the current datagram was sent to, as the driver counts them */
  uint8_t late;  /* `dirty` is in the instance's list for the end of the turn */
} udx_socket_state_t;

UDX_ROOM(udx_socket_t, udx_socket_state_t);

UDX_ACCESSOR(udx__socket, udx_socket_t, udx_socket_state_t)
#define udx__socket(socket) UDX_ACCESS(udx__socket, udx_socket_t, socket)

#define UDX__SOCKET_OF(l, field) UDX__PUBLIC(udx_socket_t, udx_socket_state_t, field, l)

/* The engine's part of udx_socket_send_t and udx_stream_send_t, which share a queue. */
typedef struct udx_send_state_s {
  udx_link_t link;
  uint8_t kind; /* UDX_SEND_* */
  uint8_t ttl;
  uint8_t local; /* of a socket's */
  int status;
  uv_buf_t buf;
  union {
    udx_socket_send_cb socket;
    udx_stream_send_cb stream;
  } on_send;
  udx_address_t to; /* of a socket's */
} udx_send_state_t;

UDX_ROOM(udx_socket_send_t, udx_send_state_t);
UDX_ROOM(udx_stream_send_t, udx_send_state_t);

static inline udx_socket_send_t *
udx__send_socket (udx_send_state_t *send) {
  return UDX__OWNER(udx_socket_send_t, reserved, send);
}

static inline udx_stream_send_t *
udx__send_stream (udx_send_state_t *send) {
  return UDX__OWNER(udx_stream_send_t, reserved, send);
}

enum {
  UDX_SEND_SOCKET = 1,
  UDX_SEND_STREAM = 2,
};

/* Queues a request whose kind, callback and address are set. */
void
udx__sends_append (udx_socket_t *socket, udx_send_state_t *send, const uv_buf_t *buf, uint8_t ttl);

/* Calls the callbacks of messages that left or were cancelled. */
void
udx__sends_report (udx_t *udx);

/* The stream goes: its messages that did not leave are cancelled. */
void
udx__sends_cancel_stream (udx_socket_t *socket, udx_stream_t *stream);

/* Whether this is a socket of the instance that is open; it may be gone. */
int
udx__socket_is_open (const udx_t *udx, const udx_socket_t *socket);

/* Binds an unbound socket to any address of a family. */
int
udx__socket_autobind (udx_socket_t *socket, int family);

#endif
