#include "address.h"

int
udx__address_set (udx_address_t *address, const struct sockaddr *from) {
  UDX_ASSERT(address != NULL && from != NULL);
  memset(address, 0, sizeof(*address));
  if (from->sa_family == AF_INET) {
    memcpy(&address->v4, from, sizeof(address->v4));
    return 0;
  }
  if (from->sa_family == AF_INET6) {
    memcpy(&address->v6, from, sizeof(address->v6));
    return 0;
  }
  return UV_EINVAL;
}

int
udx__address_for (udx_address_t *address, const struct sockaddr *from, int family) {
  UDX_ASSERT(family == AF_INET || family == AF_INET6);
  int err = udx__address_set(address, from);
  if (err) return err;
  if (address->any.sa_family == family) return 0;
  if (family != AF_INET6) return UV_EINVAL;

  UDX_ASSERT(address->any.sa_family == AF_INET);
  struct sockaddr_in v4 = address->v4;
  memset(address, 0, sizeof(*address));
  address->v6.sin6_family = AF_INET6;
  address->v6.sin6_port = v4.sin_port;
  uint8_t *bytes = (uint8_t *) &address->v6.sin6_addr;
  bytes[10] = bytes[11] = 0xff;
  memcpy(bytes + 12, &v4.sin_addr, 4);
  return 0;
}

const struct sockaddr *
udx__address_plain (const struct sockaddr *from, udx_address_t *scratch) {
  if (from->sa_family != AF_INET6) return from;
  struct sockaddr_in6 v6;
  memcpy(&v6, from, sizeof(v6));
  if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return from;
  memset(scratch, 0, sizeof(*scratch));
  scratch->v4.sin_family = AF_INET;
  scratch->v4.sin_port = v6.sin6_port;
  memcpy(&scratch->v4.sin_addr, (const uint8_t *) &v6.sin6_addr + 12, 4);
  return &scratch->any;
}

int
udx__address_same_host (const struct sockaddr *a, const struct sockaddr *b) {
  udx_address_t sa, sb;
  a = udx__address_plain(a, &sa);
  b = udx__address_plain(b, &sb);
  UDX_ASSERT(a != NULL && b != NULL);
  if (a->sa_family != b->sa_family) return 0;
  if (a->sa_family == AF_INET) {
    const struct sockaddr_in *x = (const struct sockaddr_in *) (const void *) a;
    const struct sockaddr_in *y = (const struct sockaddr_in *) (const void *) b;
    return x->sin_addr.s_addr == y->sin_addr.s_addr;
  }
  if (a->sa_family != AF_INET6) return 0; /* none yet */
  const struct sockaddr_in6 *x = (const struct sockaddr_in6 *) (const void *) a;
  const struct sockaddr_in6 *y = (const struct sockaddr_in6 *) (const void *) b;
  return memcmp(&x->sin6_addr, &y->sin6_addr, 16) == 0;
}

int
udx__address_same_network (const struct sockaddr *a, const struct sockaddr *b) {
  udx_address_t sa, sb;
  a = udx__address_plain(a, &sa);
  b = udx__address_plain(b, &sb);
  if (a->sa_family != AF_INET6 || b->sa_family != AF_INET6) return udx__address_same_host(a, b);
  const struct sockaddr_in6 *x = (const struct sockaddr_in6 *) (const void *) a;
  const struct sockaddr_in6 *y = (const struct sockaddr_in6 *) (const void *) b;
  return memcmp(&x->sin6_addr, &y->sin6_addr, 8) == 0;
}

int
udx__address_equal (const struct sockaddr *a, const struct sockaddr *b) {
  /* at the same place in both families */
  const struct sockaddr_in *x = (const struct sockaddr_in *) (const void *) a;
  const struct sockaddr_in *y = (const struct sockaddr_in *) (const void *) b;
  return x->sin_port == y->sin_port && udx__address_same_host(a, b);
}

uint16_t
udx__address_port (const struct sockaddr *address) {
  UDX_ASSERT(address->sa_family == AF_INET || address->sa_family == AF_INET6);
  uint16_t port;
  /* same offset for both families */
  memcpy(&port, (const char *) address + offsetof(struct sockaddr_in, sin_port), 2);
  return ntohs(port);
}
