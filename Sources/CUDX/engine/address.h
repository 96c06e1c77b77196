/* IPv4 and IPv6 addresses with port. */
#ifndef UDX_ENGINE_ADDRESS_H
#define UDX_ENGINE_ADDRESS_H

#include "base.h"

/* 28 bytes, where sockaddr_storage takes 128. */
typedef union udx_address_u {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} udx_address_t;

/* Copies an AF_INET or AF_INET6 address; 0 or UV_EINVAL. */
int
udx__address_set (udx_address_t *address, const struct sockaddr *from);

/* As above, mapped to IPv6 if the socket's family asks for it. UV_EINVAL for an IPv6 address on an IPv4 socket. */
int
udx__address_for (udx_address_t *address, const struct sockaddr *from, int family);

/* A v4-mapped address as plain IPv4 in `scratch`, anything else unchanged. */
const struct sockaddr *
udx__address_plain (const struct sockaddr *from, udx_address_t *scratch);

int
udx__address_equal (const struct sockaddr *a, const struct sockaddr *b);

/* The ports may differ. */
int
udx__address_same_host (const struct sockaddr *a, const struct sockaddr *b);

/* The same host, as far as addresses tell: one of IPv6 has a /64. */
int
udx__address_same_network (const struct sockaddr *a, const struct sockaddr *b);

uint16_t
udx__address_port (const struct sockaddr *address);

#endif
