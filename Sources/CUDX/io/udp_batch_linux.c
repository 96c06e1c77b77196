/*
 * Linux: sendmmsg of UDP_SEGMENT (GSO) super-datagrams, recvmmsg with UDP_GRO. What the kernel or the
 * device cannot do is found out by trying and remembered; nothing but speed depends on it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "udp.h"

#ifdef __linux__

#include <errno.h>
#include <string.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define GSO_SEGMENTS 64
#define GSO_BYTES 65000 /* with headers below 65,535 for both families */
#define MESSAGES 64     /* per sendmmsg */

void
udx__udp_probe (udx_udp_t *udp) {
  int on = 1, value = 0;
  socklen_t length = sizeof(value);
  udp->gso = getsockopt(udp->fd, SOL_UDP, UDP_SEGMENT, &value, &length) == 0;
  udp->gro = setsockopt(udp->fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) == 0;
  udp->overflow = setsockopt(udp->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on)) == 0;
  /* bound to all addresses: which one was asked? */
  if (udp->family == AF_INET && udp->bound.v4.sin_addr.s_addr == htonl(INADDR_ANY))
    (void) setsockopt(udp->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
  if (udp->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&udp->bound.v6.sin6_addr))
    (void) setsockopt(udp->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

/* Control data; CMSG_SPACE keeps arrays of it aligned. */
#define SEND_CONTROL (CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)))
#define RECEIVE_CONTROL                                                                                                \
  (CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo)))

static int
is_ipv6 (const struct sockaddr *to) {
  if (to->sa_family != AF_INET6) return 0;
  return !IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *) (const void *) to)->sin6_addr);
}

static char *
control_put (char *at, int level, int type, const void *value, size_t size) {
  struct cmsghdr *cmsg = (struct cmsghdr *) (void *) at;
  cmsg->cmsg_level = level;
  cmsg->cmsg_type = type;
  cmsg->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(cmsg), value, size);
  return at + CMSG_SPACE(size);
}

static char *
control_put_source (char *at, int family, const struct in6_addr *source) {
  if (family == AF_INET6) {
    struct in6_pktinfo info = {.ipi6_addr = *source};
    return control_put(at, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
  }
  struct in_pktinfo info;
  memset(&info, 0, sizeof(info));
  memcpy(&info.ipi_spec_dst, source, sizeof(info.ipi_spec_dst));
  return control_put(at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static void
message_build (
  const udx_udp_t *udp, struct msghdr *msg, char *control, const udx_datagram_t *first, unsigned int segments) {
  memset(msg, 0, sizeof(*msg));
  msg->msg_name = (void *) (uintptr_t) first->to;
  msg->msg_namelen = first->to->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  msg->msg_iov = (struct iovec *) (uintptr_t) first->bufs;
  const udx_datagram_t *last = first + segments - 1;
  msg->msg_iovlen = (size_t) (last->bufs + last->bufs_len - first->bufs);
  const struct in6_addr *source = udx__udp_source(udp, first->local);
  if (segments == 1 && first->ttl == 0 && source == NULL) return;

  memset(control, 0, SEND_CONTROL);
  char *at = control;
  if (segments > 1) {
    uint16_t size = (uint16_t) first->length;
    at = control_put(at, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
  }
  if (first->ttl > 0) {
    int v6 = is_ipv6(first->to);
    int ttl = first->ttl;
    at = control_put(at, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_HOPLIMIT : IP_TTL, &ttl, sizeof(ttl));
  }
  if (source != NULL) at = control_put_source(at, udp->family, source);
  msg->msg_control = control;
  msg->msg_controllen = (size_t) (at - control);
}

/* Datagrams of different streams have their own copy of the address. */
static int
same_destination (const struct sockaddr *a, const struct sockaddr *b) {
  if (a == b) return 1;
  if (a->sa_family != b->sa_family) return 0;
  if (a->sa_family == AF_INET) {
    const struct sockaddr_in *x = (const struct sockaddr_in *) (const void *) a;
    const struct sockaddr_in *y = (const struct sockaddr_in *) (const void *) b;
    return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
  }
  const struct sockaddr_in6 *x = (const struct sockaddr_in6 *) (const void *) a;
  const struct sockaddr_in6 *y = (const struct sockaddr_in6 *) (const void *) b;
  return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
         memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

/* How many datagrams from here on can go as one segmented message. */
static unsigned int
run_length (const udx_datagram_t *first, unsigned int count) {
  uint32_t bytes = first->length;
  unsigned int n = 1;
  while (n < count && n < GSO_SEGMENTS) {
    const udx_datagram_t *next = first + n;
    if (!same_destination(next->to, first->to) || memcmp(&next->ttl, &first->ttl, 2)) break; /* local follows */
    if (next->length > first->length) break;
    if (next->length == 0 || bytes + next->length > GSO_BYTES) break;
    if (next->bufs + next->bufs_len - first->bufs > 1000) break; /* IOV_MAX is 1024 */
    bytes += next->length;
    n++;
    if (next->length < first->length) break; /* only the last may be shorter */
  }
  return n;
}

static int
would_block (udx_udp_t *udp, int err) {
  if (err == EAGAIN || err == EWOULDBLOCK) return 1;
  if (err != ENOBUFS && err != ENOMEM) return 0;
  udp->no_memory = true;
  return 1;
}

/* A segmented message was refused: its datagrams one by one. Returns how many were taken. */
static unsigned int
send_singly (udx_udp_t *udp, const udx_datagram_t *datagrams, unsigned int count) {
  for (unsigned int i = 0; i < count; i++) {
    struct msghdr msg;
    _Alignas(struct cmsghdr) char control[SEND_CONTROL];
    ssize_t sent;
    int repeats = 0;
    do {
      message_build(udp, &msg, control, &datagrams[i], 1);
      sent = sendmsg(udp->fd, &msg, MSG_DONTWAIT);
    } while (sent < 0 && (errno == EINTR || (udx__udp_error_is_old(udp, errno) && repeats++ == 0) ||
                           udx__udp_source_is_gone(udp, datagrams[i].local, errno)));
    if (sent < 0 && would_block(udp, errno)) return i;
  }
  return count;
}

static unsigned int
send_run (udx_udp_t *udp, const udx_datagram_t *datagrams, unsigned int count) {
  unsigned int done = 0;
  unsigned int repeated = count; /* the datagram that was sent again after an old error */
  while (done < count) {
    struct mmsghdr msgs[MESSAGES];
    _Alignas(struct cmsghdr) char controls[MESSAGES][SEND_CONTROL];
    unsigned int segments[MESSAGES];
    unsigned int n = 0;
    unsigned int at = done;
    while (at < count && n < MESSAGES) {
      segments[n] = udp->gso ? run_length(&datagrams[at], count - at) : 1;
      message_build(udp, &msgs[n].msg_hdr, controls[n], &datagrams[at], segments[n]);
      msgs[n].msg_len = 0;
      at += segments[n];
      n++;
    }
    unsigned int sent = 0;
    while (sent < n) {
      int r = n - sent == 1 ? (sendmsg(udp->fd, &msgs[sent].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1)
                            : sendmmsg(udp->fd, &msgs[sent], n - sent, MSG_DONTWAIT);
      if (r > 0) {
        for (int i = 0; i < r; i++, sent++) {
          done += segments[sent];
          if (segments[sent] == 1) continue;
          udp->counters->gso_batches++;
          udp->counters->gso_datagrams += segments[sent];
        }
        continue;
      }
      if (errno == EINTR) continue;
      if (would_block(udp, errno)) return done;
      if (udx__udp_error_is_old(udp, errno) && repeated != done) {
        repeated = done;
        continue;
      }
      if (udx__udp_source_is_gone(udp, datagrams[done].local, errno)) break; /* built anew without it */
      if (segments[sent] > 1) {
        /* EIO: no checksum offload; EINVAL: old kernel, or larger than the device's MTU */
        if (errno == EIO || errno == EOPNOTSUPP) udp->gso = false;
        udp->counters->gso_fallbacks++;
        unsigned int taken = send_singly(udp, &datagrams[done], segments[sent]);
        done += taken;
        if (taken < segments[sent]) return done;
        sent++;
        if (!udp->gso) break;
        continue;
      }
      /* refused for good (too big, unreachable, no permission): as if lost on the way */
      done++;
      sent++;
    }
  }
  return done;
}

/* Whether datagrams may be fragmented is an option of the socket: runs of those that may, and of those that may not. */
unsigned int
udx__udp_send (udx_udp_t *udp, const udx_datagram_t *datagrams, unsigned int count) {
  unsigned int done = 0;
  udp->no_memory = false;
  while (done < count) {
    bool fragment = datagrams[done].fragment;
    unsigned int run = 1;
    while (done + run < count && datagrams[done + run].fragment == fragment) run++;
    if (fragment) udx__udp_set_fragment(udp, true);
    unsigned int sent = send_run(udp, datagrams + done, run);
    if (fragment) udx__udp_set_fragment(udp, false);
    done += sent;
    if (sent < run) break;
  }
  return done;
}

/* The address of the host that a datagram was sent to. 0 = not known, or one for many hosts. */
static uint8_t
local_number (udx_udp_t *udp, struct cmsghdr *cmsg) {
  if (udp->family == AF_INET && cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
    return udx__udp_local(udp, &info.ipi_spec_dst);
  }
  if (udp->family == AF_INET6 && cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
    /* a link-local one belongs to an interface, which the destination names */
    if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr) || IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) return 0;
    return udx__udp_local(udp, &info.ipi6_addr);
  }
  return 0;
}

void
udx__udp_receive (udx_udp_t *udp, udx_udp_rx_t *rx) {
  struct mmsghdr msgs[UDX_UDP_SMALL_SLOTS];
  struct iovec iov[UDX_UDP_SMALL_SLOTS];
  _Alignas(struct cmsghdr) char controls[UDX_UDP_SMALL_SLOTS][RECEIVE_CONTROL];

  unsigned int slots = udp->gro ? rx->slots : UDX_UDP_SMALL_SLOTS;
  size_t size = udp->gro ? UDX_UDP_SLOT_SIZE : UDX_UDP_SMALL_SIZE;
  for (unsigned int i = 0; i < slots; i++) {
    iov[i].iov_base = rx->memory + i * size;
    iov[i].iov_len = size;
    struct msghdr *msg = &msgs[i].msg_hdr;
    msg->msg_name = &rx->from[i];
    msg->msg_namelen = sizeof(rx->from[i]);
    msg->msg_iov = &iov[i];
    msg->msg_iovlen = 1;
    msg->msg_control = controls[i];
    msg->msg_controllen = sizeof(controls[i]);
    msg->msg_flags = 0;
  }
  rx->count = 0;
  int n;
  do n = recvmmsg(udp->fd, msgs, slots, MSG_DONTWAIT, NULL);
  while (n < 0 && errno == EINTR);
  if (n <= 0) {
    rx->drained =
      n == 0 || !udx__udp_error_is_old(udp, errno); /* an old error was taken, datagrams may wait behind it */
    return;
  }
  size_t total = 0;
  for (int i = 0; i < n; i++) {
    struct msghdr *msg = &msgs[i].msg_hdr;
    if (msg->msg_flags & MSG_TRUNC) {
      udp->counters->packets_invalid++;
      continue;
    }
    int segment = 0;
    uint8_t local = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
      if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_GRO) {
        memcpy(&segment, CMSG_DATA(cmsg), sizeof(segment));
      } else if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SO_RXQ_OVFL) {
        memcpy(&udp->dropped, CMSG_DATA(cmsg), sizeof(udp->dropped));
      } else {
        local = local_number(udp, cmsg);
      }
    }
    udx_received_t *received = &rx->received[rx->count++];
    received->data = iov[i].iov_base;
    received->length = msgs[i].msg_len;
    received->segment_size = segment > 0 ? (size_t) segment : 0;
    if (segment > 0 && msgs[i].msg_len > (unsigned int) segment) {
      udp->counters->gro_batches++;
      udp->counters->gro_datagrams += (msgs[i].msg_len + (unsigned int) segment - 1) / (unsigned int) segment;
    }
    received->from = (const struct sockaddr *) &rx->from[i];
    received->local = local;
    total += msgs[i].msg_len;
  }
  rx->drained = (unsigned int) n < slots;
  rx->slots = total / (unsigned int) n > 16384 ? UDX_UDP_SLOTS / 2 : UDX_UDP_SLOTS;
}

#endif
