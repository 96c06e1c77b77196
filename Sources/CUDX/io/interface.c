/* Watching the network interfaces: poll, sort, compare (udx.md 6, interface watch). */
#include <stdlib.h>

#include "engine/instance.h"

static int
interface_compare (const void *a, const void *b) {
  const uv_interface_address_t *x = a, *y = b;
  int order = memcmp(x->phys_addr, y->phys_addr, sizeof(x->phys_addr));
  if (order) return order;
  if (x->address.address4.sin_family != y->address.address4.sin_family) {
    return x->address.address4.sin_family < y->address.address4.sin_family ? -1 : 1;
  }
  if (x->address.address4.sin_family == AF_INET) {
    return memcmp(&x->address.address4.sin_addr, &y->address.address4.sin_addr, sizeof(x->address.address4.sin_addr));
  }
  return memcmp(&x->address.address6.sin6_addr, &y->address.address6.sin6_addr, sizeof(x->address.address6.sin6_addr));
}

static int
interfaces_read (uv_interface_address_t **addrs, int *count) {
  int err = uv_interface_addresses(addrs, count);
  if (err) return err;
  qsort(*addrs, (size_t) *count, sizeof(**addrs), interface_compare);
  return 0;
}

static void
interface_tick (uv_timer_t *timer) {
  udx_interface_event_t *handle = timer->data;
  uv_interface_address_t *addrs;
  int count;
  int err = interfaces_read(&addrs, &count);
  if (err) {
    if (handle->on_event != NULL) handle->on_event(handle, err);
    return;
  }
  int same = count == handle->addrs_len;
  for (int i = 0; same && i < count; i++) same = interface_compare(&addrs[i], &handle->addrs[i]) == 0;
  if (same) {
    uv_free_interface_addresses(addrs, count);
    return;
  }
  uv_free_interface_addresses(handle->addrs, handle->addrs_len);
  handle->addrs = addrs;
  handle->addrs_len = count;
  if (handle->on_event != NULL) handle->on_event(handle, 0);
}

int
udx_interface_event_init (udx_t *udx, udx_interface_event_t *handle, udx_interface_event_close_cb cb) {
  if (udx->loop == NULL) return UV_ENOTSUP;
  if (udx__instance(udx)->teardown) return UV_EINVAL;
  int err = udx__ref(udx);
  if (err) return err;
  handle->udx = udx;
  handle->loop = udx->loop;
  handle->on_event = NULL;
  handle->on_close = cb;
  handle->closing = 0;
  handle->addrs = NULL;
  handle->addrs_len = 0;
  err = interfaces_read(&handle->addrs, &handle->addrs_len);
  if (!err) {
    err = uv_timer_init(udx->loop, &handle->timer);
    if (err) uv_free_interface_addresses(handle->addrs, handle->addrs_len);
  }
  if (err) {
    udx__unref(udx);
    return err;
  }
  handle->timer.data = handle;
  return 0;
}

int
udx_interface_event_start (udx_interface_event_t *handle, udx_interface_event_cb cb, uint64_t frequency) {
  if (handle->closing) return UV_EINVAL;
  handle->on_event = cb;
  return uv_timer_start(&handle->timer, interface_tick, 0, frequency);
}

int
udx_interface_event_stop (udx_interface_event_t *handle) {
  handle->on_event = NULL;
  if (handle->closing) return 0;
  return uv_timer_stop(&handle->timer);
}

static void
interface_closed (uv_handle_t *timer) {
  udx_interface_event_t *handle = timer->data;
  udx_t *udx = handle->udx;
  uv_free_interface_addresses(handle->addrs, handle->addrs_len);
  handle->addrs = NULL;
  handle->addrs_len = 0;
  if (handle->on_close != NULL) handle->on_close(handle);
  udx__unref(udx);
}

int
udx_interface_event_close (udx_interface_event_t *handle) {
  if (handle->closing) return UV_EINVAL;
  handle->closing = 1;
  handle->on_event = NULL;
  uv_close((uv_handle_t *) &handle->timer, interface_closed);
  return 0;
}
