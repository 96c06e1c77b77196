/* One system call per datagram: systems without the batched ones. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "udp.h"

#ifndef __linux__

#include <errno.h>
#include <string.h>

void
udx__udp_probe (udx_udp_t *udp) {
  udp->gso = false;
  udp->gro = false;
  udp->overflow = false;
}

/*
 * Gives the socket another hop limit for destinations of this family. Returns the one before, 0 when the system does
 * not tell. Not a message beside the datagram: some systems take no hop limit there, and say nothing of it.
 */
static int
hop_limit_change (const udx_udp_t *udp, const struct sockaddr *to, int value) {
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) (const void *) to;
  bool is_v6 = to->sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
  int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  int name = is_v6 ? IPV6_UNICAST_HOPS : IP_TTL;
  int before;
  socklen_t length = sizeof(before);
  if (getsockopt(udp->fd, level, name, &before, &length)) return 0;
  return setsockopt(udp->fd, level, name, &value, sizeof(value)) ? 0 : before;
}

unsigned int
udx__udp_send (udx_udp_t *udp, const udx_datagram_t *datagrams, unsigned int count) {
  udp->no_memory = false;
  for (unsigned int i = 0; i < count; i++) {
    const udx_datagram_t *datagram = &datagrams[i];
    struct msghdr msg;
    memset(&msg, 0, sizeof(msg));
    msg.msg_name = (void *) (uintptr_t) datagram->to;
    msg.msg_namelen = datagram->to->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    msg.msg_iov = (struct iovec *) (uintptr_t) datagram->bufs;
    msg.msg_iovlen = (int) datagram->bufs_len;
    int before = datagram->ttl > 0 ? hop_limit_change(udp, datagram->to, datagram->ttl) : 0;
    if (datagram->fragment) udx__udp_set_fragment(udp, true);
    ssize_t sent;
    int repeats = 0;
    do sent = sendmsg(udp->fd, &msg, 0);
    while (sent < 0 && (errno == EINTR || (udx__udp_error_is_old(udp, errno) && repeats++ == 0)));
    int err = errno;
    if (datagram->fragment) udx__udp_set_fragment(udp, false);
    if (before != 0) (void) hop_limit_change(udp, datagram->to, before);
    udp->no_memory = sent < 0 && (err == ENOBUFS || err == ENOMEM);
    if (udp->no_memory || (sent < 0 && (err == EAGAIN || err == EWOULDBLOCK))) return i;
  }
  return count;
}

void
udx__udp_receive (udx_udp_t *udp, udx_udp_rx_t *rx) {
  rx->count = 0;
  rx->drained = false;
  for (int calls = 0; calls < UDX_UDP_SMALL_SLOTS; calls++) {
    uint8_t *data = rx->memory + (size_t) rx->count * UDX_UDP_SMALL_SIZE;
    struct iovec iov = {.iov_base = data, .iov_len = UDX_UDP_SMALL_SIZE};
    struct msghdr msg;
    memset(&msg, 0, sizeof(msg));
    msg.msg_name = &rx->from[rx->count];
    msg.msg_namelen = sizeof(rx->from[0]);
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    ssize_t n = recvmsg(udp->fd, &msg, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      rx->drained = !udx__udp_error_is_old(udp, errno); /* an old error was taken, datagrams may wait behind it */
      return;
    }
    if (msg.msg_flags & MSG_TRUNC) {
      /* longer than the buffer: half a datagram is none */
      udp->counters->packets_invalid++;
      continue;
    }
    rx->received[rx->count].data = data;
    rx->received[rx->count].length = (size_t) n;
    rx->received[rx->count].segment_size = 0;
    rx->received[rx->count].local = 0; /* answers leave as the system chooses */
    rx->received[rx->count].from = (struct sockaddr *) &rx->from[rx->count];
    rx->count++;
  }
}

#endif
