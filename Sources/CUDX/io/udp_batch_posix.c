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
    union {
      char bytes[CMSG_SPACE(sizeof(int))];
      struct cmsghdr align;
    } control;
    if (datagram->ttl > 0) {
      const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) (const void *) datagram->to;
      bool is_v6 = datagram->to->sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
      memset(&control, 0, sizeof(control));
      msg.msg_control = control.bytes;
      msg.msg_controllen = CMSG_SPACE(sizeof(int));
      struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
      cmsg->cmsg_level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
      cmsg->cmsg_type = is_v6 ? IPV6_HOPLIMIT : IP_TTL;
      cmsg->cmsg_len = CMSG_LEN(sizeof(int));
      int ttl = datagram->ttl;
      memcpy(CMSG_DATA(cmsg), &ttl, sizeof(int));
    }
    if (datagram->fragment) udx__udp_set_fragment(udp, true);
    ssize_t sent;
    int repeats = 0;
    do sent = sendmsg(udp->fd, &msg, 0);
    while (sent < 0 && (errno == EINTR || (udx__udp_error_is_old(udp, errno) && repeats++ == 0)));
    int err = errno;
    if (datagram->fragment) udx__udp_set_fragment(udp, false);
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
