/* Watching the network interfaces with a timer of the loop (udx.md 6, interface watch). */
#include "engine/instance.h"
#include "hyper_loop.h"

static void
interface_tick (uv_timer_t *timer) {
  udx_interface_event_t *handle = timer->data;
  int changed = hyper_interfaces_poll(&handle->addrs, &handle->addrs_len, AF_UNSPEC);
  if (changed != 0 && handle->on_event != NULL) handle->on_event(handle, changed < 0 ? changed : 0);
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
  err = hyper_interfaces_read(&handle->addrs, &handle->addrs_len);
  if (!err) {
    err = uv_timer_init(udx->loop, &handle->timer);
    if (err) hyper_interfaces_free(&handle->addrs, &handle->addrs_len);
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
  hyper_interfaces_free(&handle->addrs, &handle->addrs_len);
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
