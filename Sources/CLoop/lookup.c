/* Names to addresses through the loop's thread pool (udx.md 6, lookup). */
#include "hyper_loop.h"

#include <string.h>

int
hyper_lookup (uv_loop_t *loop, uv_getaddrinfo_t *request, const char *host, int family, uv_getaddrinfo_cb done) {
  struct addrinfo hints;
  memset(&hints, 0, sizeof(hints));
  hints.ai_family = family;
  /* One kind of socket, so that every address comes once. */
  hints.ai_socktype = SOCK_STREAM;
  return uv_getaddrinfo(loop, request, done, host, NULL, &hints);
}
