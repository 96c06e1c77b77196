/* Sockets (udx.md 6): options, datagrams of the application, close. */
#include "socket.h"

#include "address.h"
#include "asked.h"
#include "batch.h"
#include "instance.h"
#include "list.h"
#include "stream.h"
#include "time_wait.h"
#include "transmit.h"
#include "transmit_control.h"

#define DEFAULT_TTL 64

int
udx_socket_init (udx_t *udx, udx_socket_t *socket, udx_socket_close_cb cb) {
  void *data = socket->data;
  memset(socket, 0, sizeof(*socket));
  socket->data = data;
  if (udx__instance(udx)->teardown) return UV_EINVAL;
  int err = udx__ref(udx);
  if (err) return err;
  socket->udx = udx;
  udx__socket(socket)->on_close = cb;
  udx__socket(socket)->ttl = DEFAULT_TTL;
  udx__socket(socket)->number = udx__instance(udx)->sockets_made++;
  socket->packets_dropped_by_kernel = -1;
  udx__list_init(&udx__socket(socket)->dirty);
  udx__list_init(&udx__socket(socket)->ready);
  udx__list_init(&udx__socket(socket)->resumable);
  udx__list_init(&udx__socket(socket)->owing);
  udx__list_init(&udx__socket(socket)->sends);
  udx__list_init(&udx__socket(socket)->controls);
  UDX_ASSERT(udx__instance(udx)->refs > 0);
  err = udx__instance(udx)->driver->socket_open(udx, socket);
  if (err) {
    udx__unref(udx);
    return err;
  }
  udx__list_append(&udx__instance(udx)->sockets, &udx__socket(socket)->link);
  return 0;
}

static int
socket_get (udx_socket_t *socket, udx_option_t option, int *value) {
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  return udx__instance(socket->udx)->driver->socket_option(socket->udx, socket, option, false, value);
}

static int
socket_set (udx_socket_t *socket, udx_option_t option, int value) {
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  return udx__instance(socket->udx)->driver->socket_option(socket->udx, socket, option, true, &value);
}

int
udx_socket_get_send_buffer_size (udx_socket_t *socket, int *value) {
  return socket_get(socket, UDX_OPTION_SEND_BUFFER, value);
}

int
udx_socket_set_send_buffer_size (udx_socket_t *socket, int value) {
  return socket_set(socket, UDX_OPTION_SEND_BUFFER, value);
}

int
udx_socket_get_recv_buffer_size (udx_socket_t *socket, int *value) {
  return socket_get(socket, UDX_OPTION_RECV_BUFFER, value);
}

int
udx_socket_set_recv_buffer_size (udx_socket_t *socket, int value) {
  return socket_set(socket, UDX_OPTION_RECV_BUFFER, value);
}

int
udx_socket_get_ttl (udx_socket_t *socket, int *ttl) {
  *ttl = udx__socket(socket)->ttl;
  return 0;
}

int
udx_socket_set_ttl (udx_socket_t *socket, int ttl) {
  if (ttl < 1 || ttl > 255) return UV_EINVAL;
  /* an unbound socket gets it at bind */
  if (socket->status & UDX_SOCKET_BOUND) {
    int err = socket_set(socket, UDX_OPTION_TTL, ttl);
    if (err) return err;
  }
  udx__socket(socket)->ttl = (uint8_t) ttl;
  return 0;
}

int
udx_socket_bind (udx_socket_t *socket, const struct sockaddr *addr, unsigned int flags) {
  udx_t *udx = socket->udx;
  if (socket->status & (UDX_SOCKET_CLOSED | UDX_SOCKET_BOUND)) return UV_EINVAL;
  if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6) return UV_EINVAL;
  int err = udx__instance(udx)->driver->socket_bind(udx, socket, addr, flags);
  if (err) return err;
  UDX_ASSERT(udx__socket(socket)->family == 0);
  udx__socket(socket)->family = (uint8_t) addr->sa_family;
  socket->status |= UDX_SOCKET_BOUND;
  if (udx__socket(socket)->ttl != DEFAULT_TTL) (void) socket_set(socket, UDX_OPTION_TTL, udx__socket(socket)->ttl);
  return 0;
}

int
udx__socket_is_open (const udx_t *udx, const udx_socket_t *socket) {
  const udx_link_t *sockets = &udx__instance(udx)->sockets;
  for (udx_link_t *link = sockets->next; socket != NULL && link != sockets; link = link->next) {
    if (UDX__SOCKET_OF(link, link) == socket) return !(socket->status & UDX_SOCKET_CLOSED);
  }
  return 0;
}

int
udx__socket_autobind (udx_socket_t *socket, int family) {
  UDX_ASSERT(family == AF_INET || family == AF_INET6);
  struct sockaddr_storage any;
  memset(&any, 0, sizeof(any));
  any.ss_family = (sa_family_t) family;
  return udx_socket_bind(socket, (const struct sockaddr *) &any, 0);
}

int
udx_socket_set_membership (
  udx_socket_t *socket, const char *multicast_addr, const char *interface_addr, uv_membership membership) {
  return udx_socket_set_source_membership(socket, multicast_addr, interface_addr, NULL, membership);
}

int
udx_socket_set_source_membership (udx_socket_t *socket, const char *multicast_addr, const char *interface_addr,
  const char *source_addr, uv_membership membership) {
  udx_t *udx = socket->udx;
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  if (udx__instance(udx)->driver->socket_membership == NULL) return UV_ENOTSUP;
  return udx__instance(udx)->driver->socket_membership(
    udx, socket, multicast_addr, interface_addr, source_addr, membership == UV_JOIN_GROUP);
}

int
udx_socket_set_multicast_loop (udx_socket_t *socket, int on) {
  return socket_set(socket, UDX_OPTION_MULTICAST_LOOP, on);
}

int
udx_socket_set_multicast_interface (udx_socket_t *socket, const char *addr) {
  udx_t *udx = socket->udx;
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  if (udx__instance(udx)->driver->socket_multicast_interface == NULL) return UV_ENOTSUP;
  return udx__instance(udx)->driver->socket_multicast_interface(udx, socket, addr);
}

int
udx_socket_getsockname (udx_socket_t *socket, struct sockaddr *name, int *name_len) {
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  return udx__instance(socket->udx)->driver->socket_name(socket->udx, socket, name, name_len);
}

int
udx_socket_send (udx_socket_send_t *req, udx_socket_t *socket, const uv_buf_t bufs[], unsigned int bufs_len,
  const struct sockaddr *addr, udx_socket_send_cb cb) {
  return udx_socket_send_ttl(req, socket, bufs, bufs_len, addr, 0, cb);
}

int
udx_socket_send_ttl (udx_socket_send_t *req, udx_socket_t *socket, const uv_buf_t bufs[], unsigned int bufs_len,
  const struct sockaddr *addr, int ttl, udx_socket_send_cb cb) {
  if (ttl < 0 || ttl > 255 || bufs_len != 1) return UV_EINVAL;
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  udx_address_t to;
  int err = udx__address_set(&to, addr);
  if (err) return err;
  if (udx__socket(socket)->family == 0) {
    err = udx__socket_autobind(socket, addr->sa_family);
    if (err) return err;
  }
  err = udx__address_for(&to, addr, udx__socket(socket)->family);
  if (err) return err;
  if (udx__socket(socket)->sends_count >= UDX_SENDS_MAX) return UV_ENOBUFS;
  req->socket = socket;
  udx_send_state_t *send = (udx_send_state_t *) (void *) req->reserved;
  send->on_send.socket = cb;
  send->to = to;
  send->kind = UDX_SEND_SOCKET;
  /* an answer leaves from the address that was asked */
  send->local = udx__asked_local(socket, addr);
  udx__sends_append(socket, send, &bufs[0], (uint8_t) ttl);
  return 0;
}

void
udx__sends_append (udx_socket_t *socket, udx_send_state_t *send, const uv_buf_t *buf, uint8_t ttl) {
  UDX_ASSERT(udx__socket(socket)->sends_count < UDX_SENDS_MAX);
  UDX_ASSERT(send->kind == UDX_SEND_SOCKET || send->kind == UDX_SEND_STREAM);
  send->buf = *buf;
  send->status = 0;
  send->ttl = ttl;
  udx__list_append(&udx__socket(socket)->sends, &send->link);
  udx__socket(socket)->sends_count++;
  udx__mark_dirty(socket);
}

void
udx__sends_report (udx_t *udx) {
  udx_link_t done;
  udx__list_take(&done, &udx__instance(udx)->send_done);
  while (!udx__list_empty(&done)) {
    udx_send_state_t *send = UDX__OWNER(udx_send_state_t, link, done.next);
    udx__list_remove(&send->link);
    if (send->kind == UDX_SEND_SOCKET) {
      if (send->on_send.socket != NULL) send->on_send.socket(udx__send_socket(send), send->status);
    } else {
      UDX_ASSERT(send->kind == UDX_SEND_STREAM);
      if (send->on_send.stream != NULL) send->on_send.stream(udx__send_stream(send), send->status);
    }
  }
}

static void
send_cancel (udx_socket_t *socket, udx_send_state_t *send) {
  UDX_ASSERT(udx__socket(socket)->sends_count > 0);
  udx__list_remove(&send->link);
  udx__socket(socket)->sends_count--;
  send->status = UV_ECANCELED;
  if (send->kind == UDX_SEND_STREAM) {
    udx_stream_t *stream = udx__send_stream(send)->stream;
    UDX_ASSERT(udx__stream(stream)->queue.messages > 0);
    udx__stream(stream)->queue.messages--;
  }
  udx__list_append(&udx__instance(socket->udx)->send_done, &send->link);
}

void
udx__sends_cancel_stream (udx_socket_t *socket, udx_stream_t *stream) {
  for (udx_link_t *link = udx__socket(socket)->sends.next, *next; link != &udx__socket(socket)->sends; link = next) {
    next = link->next;
    udx_send_state_t *send = UDX__OWNER(udx_send_state_t, link, link);
    if (send->kind == UDX_SEND_STREAM && udx__send_stream(send)->stream == stream) send_cancel(socket, send);
  }
}

int
udx_socket_close (udx_socket_t *socket) {
  udx_t *udx = socket->udx;
  if (udx__socket(socket)->stream_count > 0) return UV_EBUSY;
  if (socket->status & UDX_SOCKET_CLOSED) return 0;
  /* what was accepted leaves if the kernel takes it, messages are cancelled else; for the resets the driver may wait */
  udx__batch_flush(udx);
  (void) udx__transmit_socket(socket, 1);
  socket->status |= UDX_SOCKET_CLOSED;
  socket->status &= ~UDX_SOCKET_RECEIVING;
  while (!udx__list_empty(&udx__socket(socket)->sends))
    send_cancel(socket, UDX__OWNER(udx_send_state_t, link, udx__socket(socket)->sends.next));
  udx__time_wait_forget_socket(udx, socket);
  udx__list_remove(&udx__socket(socket)->dirty);
  udx__list_remove(&udx__socket(socket)->link);
  UDX_ASSERT(udx__socket(socket)->sends_count == 0);
  UDX_ASSERT(udx__list_empty(&udx__socket(socket)->ready) && udx__list_empty(&udx__socket(socket)->owing));
  udx__defer(udx);
  udx__instance(udx)->driver->socket_close(udx, socket);
  return 0;
}

int
udx_socket_on_rebind (udx_socket_t *socket, udx_socket_rebind_cb cb) {
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  udx__socket(socket)->on_rebind = cb;
  return 0;
}

int
udx_socket_recv_start (udx_socket_t *socket, udx_socket_recv_cb cb) {
  if (socket->status & UDX_SOCKET_CLOSED) return UV_EBADF;
  if (socket->status & UDX_SOCKET_RECEIVING) return UV_EALREADY;
  udx__socket(socket)->on_recv = cb;
  socket->status |= UDX_SOCKET_RECEIVING;
  return 0;
}

int
udx_socket_recv_stop (udx_socket_t *socket) {
  udx__socket(socket)->on_recv = NULL;
  socket->status &= ~UDX_SOCKET_RECEIVING;
  return 0;
}
