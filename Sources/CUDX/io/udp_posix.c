/* Creation and options of UDP sockets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifdef __APPLE__
#define __APPLE_USE_RFC_3542 /* IPV6_DONTFRAG */
#endif

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "udp.h"

#define RECV_BUFFER 7340032 /* bytes asked for; the system gives what it allows */
#define SEND_BUFFER 2097152
#define ERRORS_MAX 64 /* messages of an error queue that are taken at once */

static int
option_set (int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

static void
buffer_ask (int fd, int name, int size) {
  /* Linux caps the value silently, others refuse: halve until it is taken */
  for (; size >= 212992; size /= 2) {
    if (option_set(fd, SOL_SOCKET, name, size) == 0) return;
  }
}

int
udx__udp_bind (udx_udp_t *udp, const struct sockaddr *addr, unsigned int flags) {
  int family = addr->sa_family;
  int type = SOCK_DGRAM;
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
  type |= SOCK_NONBLOCK | SOCK_CLOEXEC;
#endif
  int fd = socket(family, type, 0);
  if (fd < 0) return -errno;
#if !defined(SOCK_NONBLOCK) || !defined(SOCK_CLOEXEC)
  (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
  int err = 0;
  if (family == AF_INET6) err = option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, (flags & UV_UDP_IPV6ONLY) != 0);
  if (!err && (flags & UV_UDP_REUSEADDR)) err = option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  socklen_t length = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  if (!err && bind(fd, addr, length)) err = -errno;
  if (err) {
    close(fd);
    return err;
  }
  udp->fd = fd;
  udp->family = family;
  length = sizeof(udp->bound);
  if (getsockname(fd, &udp->bound.any, &length)) memcpy(&udp->bound, addr, sizeof(struct sockaddr_in));
  buffer_ask(fd, SO_RCVBUF, RECV_BUFFER);
  buffer_ask(fd, SO_SNDBUF, SEND_BUFFER);
  udx__udp_set_fragment(udp, false);
  udx__udp_probe(udp);
  return 0;
}

/* Without it: never fragment, never believe in a smaller path MTU; the search of the streams finds it (udx.md 5). */
void
udx__udp_set_fragment (const udx_udp_t *udp, bool on) {
#if defined(IP_MTU_DISCOVER) && defined(IP_PMTUDISC_PROBE)
  (void) option_set(udp->fd, IPPROTO_IP, IP_MTU_DISCOVER, on ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE);
#if defined(IPV6_MTU_DISCOVER) && defined(IPV6_PMTUDISC_PROBE)
  if (udp->family == AF_INET6) {
    (void) option_set(udp->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, on ? IPV6_PMTUDISC_DONT : IPV6_PMTUDISC_PROBE);
  }
#endif
#elif defined(IP_DONTFRAG)
  (void) option_set(udp->fd, IPPROTO_IP, IP_DONTFRAG, !on);
#if defined(IPV6_DONTFRAG)
  if (udp->family == AF_INET6) (void) option_set(udp->fd, IPPROTO_IPV6, IPV6_DONTFRAG, !on);
#endif
#else
  (void) udp;
  (void) on;
#endif
}

void
udx__udp_restore (udx_udp_t *udp) {
  udx_address_t name;
  socklen_t length = sizeof(name);
  if (getsockname(udp->fd, &name.any, &length)) return;
  if (udx__address_port(&name.any) == udx__address_port(&udp->bound.any)) return;
  length = udp->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  /* another socket may have got the port meanwhile: any other is better than none */
  if (bind(udp->fd, &udp->bound.any, length)) {
    name = udp->bound;
    name.v4.sin_port = 0; /* at the same place in both families */
    (void) bind(udp->fd, &name.any, length);
    length = sizeof(name);
    if (getsockname(udp->fd, &name.any, &length) == 0) udp->bound = name;
  }
  udp->rebound = true;
}

int
udx__udp_clear_error (udx_udp_t *udp) {
  int value = 0;
  socklen_t length = sizeof(value);
  if (getsockopt(udp->fd, SOL_SOCKET, SO_ERROR, &value, &length)) return -errno;
  udx__udp_restore(udp);
#ifdef MSG_ERRQUEUE
  char byte;
  for (int i = 0; i < ERRORS_MAX; i++) {
    if (recv(udp->fd, &byte, sizeof(byte), MSG_ERRQUEUE | MSG_DONTWAIT) < 0) break;
  }
#endif
  return 0;
}

bool
udx__udp_error_is_old (udx_udp_t *udp, int err) {
  switch (err) {
  case ECONNABORTED:
    udx__udp_restore(udp);
    return true;
  case ECONNREFUSED:
  case ECONNRESET:
  case EHOSTUNREACH:
  case EHOSTDOWN:
  case ENETUNREACH:
  case ENETDOWN:
  case EMSGSIZE:
  case EADDRNOTAVAIL:
    return true;
  default:
    return false;
  }
}

uint8_t
udx__udp_local (udx_udp_t *udp, const void *address) {
  size_t size = udp->family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
  uint8_t number = udp->local_last;
  if (number == 0 || memcmp(&udp->locals[number - 1].address, address, size) != 0) {
    for (number = 1; number <= udp->locals_count; number++) {
      if (memcmp(&udp->locals[number - 1].address, address, size) == 0) break;
    }
    if (number > UDX_UDP_LOCALS_MAX) return 0;
    if (number > udp->locals_count) {
      udx_local_t *locals = realloc(udp->locals, number * sizeof(*locals));
      if (locals == NULL) return 0;
      udp->locals = locals;
      memset(&locals[number - 1], 0, sizeof(*locals));
      memcpy(&locals[number - 1].address, address, size);
      udp->locals_count = number;
    }
    udp->local_last = number;
  }
  udp->locals[number - 1].gone = false; /* what arrives there is ours again */
  return number;
}

bool
udx__udp_source_is_gone (udx_udp_t *udp, uint8_t local, int err) {
  if (udx__udp_source(udp, local) == NULL) return false;
  if (err != EINVAL && err != EADDRNOTAVAIL && err != ENETUNREACH && err != EHOSTUNREACH) return false;
  udp->locals[local - 1].gone = true;
  return true;
}

void
udx__udp_close (udx_udp_t *udp) {
  if (udp->fd >= 0) close(udp->fd);
  udp->fd = -1;
  free(udp->locals);
  udp->locals = NULL;
  udp->locals_count = udp->local_last = 0;
}

int
udx__udp_name (const udx_udp_t *udp, struct sockaddr *name, int *name_len) {
  if (udp->fd < 0) return UV_EBADF;
  socklen_t length = (socklen_t) *name_len;
  if (getsockname(udp->fd, name, &length)) return -errno;
  *name_len = (int) length;
  return 0;
}

int
udx__udp_option (const udx_udp_t *udp, udx_option_t option, bool set, int *value) {
  if (udp->fd < 0) return UV_EBADF;
  int level = SOL_SOCKET, name;
  switch (option) {
  case UDX_OPTION_SEND_BUFFER:
    name = SO_SNDBUF;
    break;
  case UDX_OPTION_RECV_BUFFER:
    name = SO_RCVBUF;
    break;
  case UDX_OPTION_TTL:
    /* both, so that IPv4 through an IPv6 socket follows */
    if (!set) return UV_ENOTSUP;
    if (udp->family == AF_INET6) {
      int err = option_set(udp->fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, *value);
      if (err) return err;
      (void) option_set(udp->fd, IPPROTO_IP, IP_TTL, *value);
      return 0;
    }
    return option_set(udp->fd, IPPROTO_IP, IP_TTL, *value);
  case UDX_OPTION_MULTICAST_LOOP:
    level = udp->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    name = udp->family == AF_INET6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP;
    break;
  default:
    return UV_EINVAL;
  }
  if (set) return option_set(udp->fd, level, name, *value);
  socklen_t length = sizeof(*value);
  return getsockopt(udp->fd, level, name, value, &length) ? -errno : 0;
}

/* An address literal of the given family, or the unspecified one. */
static int
literal (const char *text, int family, struct sockaddr_storage *out) {
  memset(out, 0, sizeof(*out));
  out->ss_family = (sa_family_t) family;
  if (text == NULL) return 0;
  if (family == AF_INET) return uv_ip4_addr(text, 0, (struct sockaddr_in *) out);
  return uv_ip6_addr(text, 0, (struct sockaddr_in6 *) out);
}

int
udx__udp_membership (
  const udx_udp_t *udp, const char *group, const char *interface_addr, const char *source, bool join) {
  if (udp->fd < 0) return UV_EBADF;
  struct sockaddr_storage g, i, s;
  if (literal(group, AF_INET, &g) == 0) {
    int err = literal(interface_addr, AF_INET, &i);
    if (err) return err;
    struct in_addr group_addr = ((struct sockaddr_in *) &g)->sin_addr;
    struct in_addr interface = ((struct sockaddr_in *) &i)->sin_addr;
    if (source == NULL) {
      struct ip_mreq mreq = {.imr_multiaddr = group_addr, .imr_interface = interface};
      int name = join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
      return setsockopt(udp->fd, IPPROTO_IP, name, &mreq, sizeof(mreq)) ? -errno : 0;
    }
    err = literal(source, AF_INET, &s);
    if (err) return err;
    struct ip_mreq_source mreq;
    memset(&mreq, 0, sizeof(mreq));
    mreq.imr_multiaddr = group_addr;
    mreq.imr_interface = interface;
    mreq.imr_sourceaddr = ((struct sockaddr_in *) &s)->sin_addr;
    int name = join ? IP_ADD_SOURCE_MEMBERSHIP : IP_DROP_SOURCE_MEMBERSHIP;
    return setsockopt(udp->fd, IPPROTO_IP, name, &mreq, sizeof(mreq)) ? -errno : 0;
  }
  int err = literal(group, AF_INET6, &g);
  if (err) return err;
  err = literal(interface_addr, AF_INET6, &i);
  if (err) return err;
  unsigned int index = ((struct sockaddr_in6 *) &i)->sin6_scope_id;
  if (source == NULL) {
    struct ipv6_mreq mreq = {.ipv6mr_multiaddr = ((struct sockaddr_in6 *) &g)->sin6_addr, .ipv6mr_interface = index};
    int name = join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP;
    return setsockopt(udp->fd, IPPROTO_IPV6, name, &mreq, sizeof(mreq)) ? -errno : 0;
  }
  err = literal(source, AF_INET6, &s);
  if (err) return err;
  struct group_source_req req;
  memset(&req, 0, sizeof(req));
  req.gsr_interface = index;
  memcpy(&req.gsr_group, &g, sizeof(struct sockaddr_in6));
  memcpy(&req.gsr_source, &s, sizeof(struct sockaddr_in6));
  int name = join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
  return setsockopt(udp->fd, IPPROTO_IPV6, name, &req, sizeof(req)) ? -errno : 0;
}

int
udx__udp_multicast_interface (const udx_udp_t *udp, const char *addr) {
  if (udp->fd < 0) return UV_EBADF;
  struct sockaddr_storage i;
  int err = literal(addr, udp->family, &i);
  if (err) return err;
  if (udp->family == AF_INET) {
    struct in_addr interface = ((struct sockaddr_in *) &i)->sin_addr;
    return setsockopt(udp->fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof(interface)) ? -errno : 0;
  }
  unsigned int index = ((struct sockaddr_in6 *) &i)->sin6_scope_id;
  return setsockopt(udp->fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) ? -errno : 0;
}
