/* Addresses of nodes: 10.0.0.n and fd00::n. */
#include "internal.h"

#include <arpa/inet.h>
#include <string.h>

struct sockaddr_in
sim_address4 (const sim_node_t *node, uint16_t port) {
  struct sockaddr_in a;
  memset(&a, 0, sizeof(a));
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(0x0a000000u + node->index);
  return a;
}

struct sockaddr_in6
sim_address6 (const sim_node_t *node, uint16_t port) {
  struct sockaddr_in6 a;
  memset(&a, 0, sizeof(a));
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  a.sin6_addr.s6_addr[0] = 0xfd;
  a.sin6_addr.s6_addr[14] = (uint8_t) (node->index >> 8);
  a.sin6_addr.s6_addr[15] = (uint8_t) node->index;
  return a;
}

void
sim__address_plain (const struct sockaddr *from, struct sockaddr_storage *to) {
  memset(to, 0, sizeof(*to));
  if (from->sa_family == AF_INET6) {
    struct sockaddr_in6 v6;
    memcpy(&v6, from, sizeof(v6));
    if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      v6.sin6_flowinfo = 0;
      memcpy(to, &v6, sizeof(v6));
      return;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *) to;
    v4->sin_family = AF_INET;
    v4->sin_port = v6.sin6_port;
    memcpy(&v4->sin_addr, &v6.sin6_addr.s6_addr[12], 4);
    return;
  }
  memcpy(to, from, sizeof(struct sockaddr_in));
}

void
sim__address_mapped (const struct sockaddr_storage *from, struct sockaddr_storage *to) {
  if (from->ss_family == AF_INET6) {
    *to = *from;
    return;
  }
  const struct sockaddr_in *v4 = (const struct sockaddr_in *) from;
  memset(to, 0, sizeof(*to));
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) to;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = v4->sin_port;
  v6->sin6_addr.s6_addr[10] = v6->sin6_addr.s6_addr[11] = 0xff;
  memcpy(&v6->sin6_addr.s6_addr[12], &v4->sin_addr, 4);
}

uint16_t
sim__address_port (const struct sockaddr_storage *a) {
  if (a->ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *) a)->sin6_port);
  return ntohs(((const struct sockaddr_in *) a)->sin_port);
}

bool
sim__address_same (const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
  if (a->ss_family != b->ss_family || sim__address_port(a) != sim__address_port(b)) return false;
  if (a->ss_family == AF_INET) {
    const struct sockaddr_in *x = (const struct sockaddr_in *) a, *y = (const struct sockaddr_in *) b;
    return x->sin_addr.s_addr == y->sin_addr.s_addr;
  }
  return memcmp(&((const struct sockaddr_in6 *) a)->sin6_addr, &((const struct sockaddr_in6 *) b)->sin6_addr, 16) == 0;
}

sim_node_t *
sim__address_node (sim_t *sim, const struct sockaddr_storage *a) {
  uint32_t index = 0;
  if (a->ss_family == AF_INET) {
    uint32_t ip = ntohl(((const struct sockaddr_in *) a)->sin_addr.s_addr);
    if (ip >> 24 == 10) index = ip & 0xffffff;
  } else {
    const uint8_t *ip = ((const struct sockaddr_in6 *) a)->sin6_addr.s6_addr;
    if (ip[0] == 0xfd) index = (uint32_t) ip[14] << 8 | ip[15];
  }
  return index >= 1 && index <= sim->nodes_len ? sim->nodes[index - 1] : NULL;
}
