/* Names to addresses for the users of one instance (udx.md 6, lookup). */
#include "engine/instance.h"
#include "hyper_loop.h"

static void
lookup_done (uv_getaddrinfo_t *req, int status, struct addrinfo *result) {
  udx_lookup_t *lookup = req->data;
  udx_t *udx = lookup->udx;
  if (status == 0 && result == NULL) status = UV_ENOENT;
  if (status < 0) lookup->on_lookup(lookup, status, NULL, 0);
  else lookup->on_lookup(lookup, 0, result->ai_addr, (int) result->ai_addrlen);
  uv_freeaddrinfo(result);
  udx__unref(udx);
}

int
udx_lookup (udx_t *udx, udx_lookup_t *req, const char *host, unsigned int flags, udx_lookup_cb cb) {
  if (udx->loop == NULL) return UV_ENOTSUP;
  if (udx__instance(udx)->teardown || cb == NULL) return UV_EINVAL;
  int err = udx__ref(udx);
  if (err) return err;
  req->udx = udx;
  req->on_lookup = cb;
  req->req.data = req;
  int family = AF_UNSPEC;
  if (flags & UDX_LOOKUP_FAMILY_IPV4) family = AF_INET;
  if (flags & UDX_LOOKUP_FAMILY_IPV6) family = AF_INET6;
  err = hyper_lookup(udx->loop, &req->req, host, family, lookup_done);
  if (err) udx__unref(udx);
  return err;
}
