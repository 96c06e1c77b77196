/* The network interfaces: read, sort, compare (udx.md 6, interface watch). */
#include "hyper_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#define HAS_SOURCE 1
#elif defined(__APPLE__)
#include <net/route.h>
#define HAS_SOURCE 1
#else
#define HAS_SOURCE 0
#endif

static int
compare (const void *a, const void *b) {
  const uv_interface_address_t *x = a, *y = b;
  int order = memcmp(x->phys_addr, y->phys_addr, sizeof(x->phys_addr));
  if (order) return order;
  if (x->address.address4.sin_family != y->address.address4.sin_family) {
    return x->address.address4.sin_family < y->address.address4.sin_family ? -1 : 1;
  }
  if (x->address.address4.sin_family == AF_INET) {
    return memcmp(&x->address.address4.sin_addr, &y->address.address4.sin_addr, sizeof(x->address.address4.sin_addr));
  }
  return memcmp(&x->address.address6.sin6_addr, &y->address.address6.sin6_addr, sizeof(x->address.address6.sin6_addr));
}

static int
of_family (const uv_interface_address_t *entry, int family) {
  return family == AF_UNSPEC || entry->address.address4.sin_family == family;
}

/* The next entry of the family at or after `index`, `count` when there is none. */
static int
next_of_family (const uv_interface_address_t *list, int count, int index, int family) {
  while (index < count && !of_family(&list[index], family)) index++;
  return index;
}

static int
same (const uv_interface_address_t *a, int a_count, const uv_interface_address_t *b, int b_count, int family) {
  int i = next_of_family(a, a_count, 0, family), j = next_of_family(b, b_count, 0, family);
  while (i < a_count && j < b_count) {
    if (compare(&a[i], &b[j]) != 0) return 0;
    i = next_of_family(a, a_count, i + 1, family);
    j = next_of_family(b, b_count, j + 1, family);
  }
  return i == a_count && j == b_count;
}

int
hyper_interfaces_read (uv_interface_address_t **list, int *count) {
  *list = NULL;
  *count = 0;
  int err = uv_interface_addresses(list, count);
  if (err) return err;
  if (*count > 1) qsort(*list, (size_t) *count, sizeof(**list), compare);
  return 0;
}

int
hyper_interfaces_poll (uv_interface_address_t **list, int *count, int family) {
  uv_interface_address_t *now;
  int now_count;
  int err = hyper_interfaces_read(&now, &now_count);
  if (err) return err;
  if (same(now, now_count, *list, *count, family)) {
    uv_free_interface_addresses(now, now_count);
    return 0;
  }
  uv_free_interface_addresses(*list, *count);
  *list = now;
  *count = now_count;
  return 1;
}

void
hyper_interfaces_free (uv_interface_address_t **list, int *count) {
  uv_free_interface_addresses(*list, *count);
  *list = NULL;
  *count = 0;
}

/* By a socket that is connected to the destination: that only looks up the route. Returns 0 or a negative errno. */
static int
route_of_socket (uint32_t destination, hyper_route_t *route) {
  memset(route, 0, sizeof(*route));
  struct sockaddr_in address;
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_port = htons(53);
  address.sin_addr.s_addr = htonl(destination);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return -errno;
  socklen_t length = sizeof(address);
  if (connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0 &&
      getsockname(fd, (struct sockaddr *) &address, &length) == 0) {
    route->source = ntohl(address.sin_addr.s_addr);
  }
  close(fd);
  return 0;
}

#ifdef __linux__

/* One question and its answer. */
union route_message {
  struct nlmsghdr header;
  char bytes[2048];
};

static uint32_t
word_of (const struct rtattr *attribute) {
  uint32_t value = 0;
  if (RTA_PAYLOAD(attribute) >= sizeof(value)) memcpy(&value, RTA_DATA(attribute), sizeof(value));
  return value;
}

/* Asks the kernel. Returns 0, or -1 when it cannot be asked. */
static int
route_of_kernel (int fd, uint32_t destination, hyper_route_t *route) {
  memset(route, 0, sizeof(*route));
  union route_message message;
  memset(&message, 0, sizeof(message));
  struct rtmsg *asked = NLMSG_DATA(&message.header);
  asked->rtm_family = AF_INET;
  asked->rtm_dst_len = 32;
  struct rtattr *attribute = RTM_RTA(asked);
  attribute->rta_type = RTA_DST;
  attribute->rta_len = RTA_LENGTH(sizeof(uint32_t));
  uint32_t address = htonl(destination);
  memcpy(RTA_DATA(attribute), &address, sizeof(address));
  message.header.nlmsg_type = RTM_GETROUTE;
  message.header.nlmsg_flags = NLM_F_REQUEST;
  message.header.nlmsg_len = NLMSG_LENGTH(sizeof(*asked)) + RTA_SPACE(sizeof(uint32_t));
  if (send(fd, &message, message.header.nlmsg_len, 0) < 0) return -1;
  /* the kernel answers within the call before: a loop does not wait for one that does not */
  ssize_t length = recv(fd, &message, sizeof(message), MSG_DONTWAIT);
  if (length < 0 || !NLMSG_OK(&message.header, (unsigned) length)) return -1;
  /* Anything else is an error: there is no way. */
  if (message.header.nlmsg_type != RTM_NEWROUTE) return 0;
  int left = (int) RTM_PAYLOAD(&message.header);
  for (attribute = RTM_RTA(asked); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == RTA_PREFSRC) route->source = ntohl(word_of(attribute));
    if (attribute->rta_type == RTA_GATEWAY) route->gateway = ntohl(word_of(attribute));
    if (attribute->rta_type == RTA_OIF) route->interface = word_of(attribute);
  }
  return 0;
}

#endif

int
hyper_routes (const uint32_t *destinations, int count, hyper_route_t *routes) {
  int done = 0;
#ifdef __linux__
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) return -errno;
  while (fd >= 0 && done < count && route_of_kernel(fd, destinations[done], &routes[done]) == 0) done++;
  if (fd >= 0) close(fd);
#endif
  for (; done < count; done++) {
    int err = route_of_socket(destinations[done], &routes[done]);
    if (err) return err;
  }
  return 0;
}

struct hyper_watch_s {
  uv_poll_t poll;
  int fd;
  hyper_watch_cb changed;
  void *data;
};

#if defined(__linux__)

/* What one message says. */
static int
meaning_of (const struct nlmsghdr *message) {
  switch (message->nlmsg_type) {
  case RTM_NEWADDR:
  case RTM_DELADDR:
  case RTM_NEWLINK:
  case RTM_DELLINK:
    return HYPER_WATCH_ADDRESSES;
  case RTM_NEWROUTE:
  case RTM_DELROUTE: {
    /* Every address brings routes of the local table along. */
    const struct rtmsg *route = NLMSG_DATA(message);
    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*route))) return 0;
    return route->rtm_table != RT_TABLE_LOCAL ? HYPER_WATCH_ROUTE : 0;
  }
  case RTM_NEWRULE:
  case RTM_DELRULE:
    return HYPER_WATCH_ROUTE;
  default:
    return 0;
  }
}

typedef struct nlmsghdr message_header_t;

/* What the messages of one datagram say. */
static int
meaning_of_all (const struct nlmsghdr *message, size_t length) {
  int seen = 0;
  unsigned left = (unsigned) length;
  for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) seen |= meaning_of(message);
  return seen;
}

static int
open_source (void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  struct sockaddr_nl address;
  memset(&address, 0, sizeof(address));
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE;
  if (bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0) return fd;
  int err = -errno;
  close(fd);
  return err;
}

#elif defined(__APPLE__)

typedef struct rt_msghdr message_header_t;

/* What a datagram, one message, says. All kinds have version and type at the same place. */
static int
meaning_of_all (const struct rt_msghdr *message, size_t length) {
  if (length < offsetof(struct rt_msghdr, rtm_type) + sizeof(message->rtm_type)) return 0;
  if (message->rtm_version != RTM_VERSION) return 0;
  switch (message->rtm_type) {
  case RTM_NEWADDR:
  case RTM_DELADDR:
  case RTM_IFINFO:
    return HYPER_WATCH_ADDRESSES;
  case RTM_ADD:
  case RTM_DELETE:
  case RTM_CHANGE:
    /* Neighbours come and go as routes, too. */
    if (length < sizeof(*message) || (message->rtm_flags & (RTF_LLINFO | RTF_WASCLONED))) return 0;
    return HYPER_WATCH_ROUTE;
  default:
    return 0;
  }
}

static int
open_source (void) {
  int fd = socket(PF_ROUTE, SOCK_RAW, AF_UNSPEC);
  if (fd < 0) return -errno;
  (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

#endif

#if HAS_SOURCE

/* Reads all that waits. */
static int
drain (int fd) {
  union {
    message_header_t header;
    char bytes[8192];
  } buffer;
  int seen = 0;
  for (;;) {
    ssize_t length = recv(fd, &buffer, sizeof(buffer), MSG_DONTWAIT);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == ENOBUFS) {
      /* Messages were lost: anything may have changed. */
      seen |= HYPER_WATCH_ADDRESSES | HYPER_WATCH_ROUTE;
      continue;
    }
    if (length <= 0) return seen;
    seen |= meaning_of_all(&buffer.header, (size_t) length);
  }
}

static void
readable (uv_poll_t *poll, int status, int events) {
  hyper_watch_t *watch = poll->data;
  (void) status;
  (void) events;
  int seen = drain(watch->fd);
  if (seen != 0 && watch->changed != NULL) watch->changed(watch->data, seen);
}

int
hyper_watch_start (uv_loop_t *loop, hyper_watch_t **out, hyper_watch_cb changed, void *data) {
  *out = NULL;
  hyper_watch_t *watch = calloc(1, sizeof(*watch));
  if (watch == NULL) return UV_ENOMEM;
  watch->fd = open_source();
  int err = watch->fd < 0 ? watch->fd : uv_poll_init(loop, &watch->poll, watch->fd);
  if (err) {
    if (watch->fd >= 0) close(watch->fd);
    free(watch);
    return err;
  }
  watch->poll.data = watch;
  watch->changed = changed;
  watch->data = data;
  uv_poll_start(&watch->poll, UV_READABLE, readable);
  uv_unref((uv_handle_t *) &watch->poll);
  *out = watch;
  return 0;
}

#else

int
hyper_watch_start (uv_loop_t *loop, hyper_watch_t **out, hyper_watch_cb changed, void *data) {
  (void) loop;
  (void) changed;
  (void) data;
  *out = NULL;
  return UV_ENOTSUP;
}

#endif

static void
watch_closed (uv_handle_t *handle) {
  hyper_watch_t *watch = handle->data;
  close(watch->fd);
  free(watch);
}

void
hyper_watch_stop (hyper_watch_t *watch) {
  watch->changed = NULL;
  uv_close((uv_handle_t *) &watch->poll, watch_closed);
}
