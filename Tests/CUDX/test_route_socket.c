/*
 * The watch of interfaces and routes as Darwin has it, fed with messages of a routing socket. The layout and the
 * numbers are those of Darwin's <net/route.h>; the code has not run there.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "hyper_loop.h"
#include "test.h"

#ifdef __linux__

#include <net/route.h>

struct rt_msghdr {
  unsigned short rtm_msglen;
  unsigned char rtm_version;
  unsigned char rtm_type;
  unsigned short rtm_index;
  int rtm_flags;
  int rtm_addrs;
  int32_t rtm_pid;
  int rtm_seq;
  int rtm_errno;
  int rtm_use;
  uint32_t rtm_inits;
  uint32_t rtm_metrics[14];
};

#define RTM_VERSION 5
#define RTM_ADD 0x1
#define RTM_DELETE 0x2
#define RTM_CHANGE 0x3
#define RTM_GET 0x4
#define RTM_NEWADDR 0xc
#define RTM_DELADDR 0xd
#define RTM_IFINFO 0xe
#define RTF_LLINFO 0x400
#define RTF_WASCLONED 0x20000

/* The end of the system, and what the watch asks for. */
static int kernel = -1;
static int asked_type = 0;

static int
fake_socket (int domain, int type, int protocol) {
  (void) domain;
  (void) protocol;
  asked_type = type;
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  kernel = ends[0];
  return ends[1];
}

#define socket fake_socket
#define hyper_interfaces_read darwin_interfaces_read
#define hyper_interfaces_poll darwin_interfaces_poll
#define hyper_interfaces_free darwin_interfaces_free
#define hyper_routes darwin_routes
#define hyper_watch_start darwin_watch_start
#define hyper_watch_stop darwin_watch_stop
#undef __linux__
#define __APPLE__ 1
#include "../../Sources/CLoop/interfaces.c"
#undef __APPLE__
#define __linux__ 1
#undef socket

static int calls = 0;
static int last = 0;

static void
on_change (void *data, int seen) {
  CHECK(data == &calls);
  calls++;
  last = seen;
}

static void
on_idle (uv_idle_t *idle) {
  (void) idle;
}

static void
say_short (int type, int flags, size_t length) {
  struct rt_msghdr message = {.rtm_msglen = sizeof(message), .rtm_version = RTM_VERSION};
  message.rtm_type = (unsigned char) type;
  message.rtm_flags = flags;
  CHECK_EQ(send(kernel, &message, length, 0), (ssize_t) length);
}

static void
say (int type, int flags) {
  say_short(type, flags, sizeof(struct rt_msghdr));
}

TEST(messages_of_a_routing_socket) {
  uv_loop_t loop;
  CHECK_EQ(uv_loop_init(&loop), 0);
  /* the watch does not keep the loop alive */
  uv_idle_t idle;
  CHECK_EQ(uv_idle_init(&loop, &idle), 0);
  CHECK_EQ(uv_idle_start(&idle, on_idle), 0);
  hyper_watch_t *watch;
  CHECK_EQ(darwin_watch_start(&loop, &watch, on_change, &calls), 0);
  CHECK_EQ(asked_type, SOCK_RAW);
  CHECK(fcntl(watch->fd, F_GETFL) & O_NONBLOCK);
  CHECK(fcntl(watch->fd, F_GETFD) & FD_CLOEXEC);
  uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_EQ(calls, 0);

  say(RTM_NEWADDR, 0);
  uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_EQ(calls, 1);
  CHECK_EQ(last, HYPER_WATCH_ADDRESSES);

  say(RTM_CHANGE, RTF_UP | RTF_GATEWAY);
  uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_EQ(calls, 2);
  CHECK_EQ(last, HYPER_WATCH_ROUTE);

  /* once for all that waits */
  say(RTM_DELETE, RTF_UP);
  say(RTM_DELADDR, 0);
  say(RTM_IFINFO, 0);
  uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_EQ(calls, 3);
  CHECK_EQ(last, HYPER_WATCH_ADDRESSES | HYPER_WATCH_ROUTE);

  /* neighbours, answers to the questions of others, another version, less than a message */
  say(RTM_ADD, RTF_UP | RTF_HOST | RTF_LLINFO);
  say(RTM_DELETE, RTF_UP | RTF_HOST | RTF_WASCLONED);
  say(RTM_GET, RTF_UP);
  struct rt_msghdr other = {.rtm_version = RTM_VERSION + 1, .rtm_type = RTM_NEWADDR};
  CHECK_EQ(send(kernel, &other, sizeof(other), 0), (ssize_t) sizeof(other));
  say_short(RTM_NEWADDR, 0, 3);
  say_short(RTM_ADD, 0, 8);
  uv_run(&loop, UV_RUN_NOWAIT);
  CHECK_EQ(calls, 3);

  say(RTM_NEWADDR, 0);
  darwin_watch_stop(watch);
  uv_close((uv_handle_t *) &idle, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_EQ(calls, 3);
  CHECK_EQ(uv_loop_close(&loop), 0);
  close(kernel);
}

TEST_MAIN(TEST_ENTRY(messages_of_a_routing_socket))

#else

static void
on_change (void *data, int seen) {
  (void) data;
  (void) seen;
}

TEST(a_watch_begins_and_ends) {
  uv_loop_t loop;
  CHECK_EQ(uv_loop_init(&loop), 0);
  hyper_watch_t *watch;
  int err = hyper_watch_start(&loop, &watch, on_change, NULL);
  CHECK(err == 0 || err == UV_ENOTSUP);
  uv_run(&loop, UV_RUN_NOWAIT);
  if (err == 0) hyper_watch_stop(watch);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST_MAIN(TEST_ENTRY(a_watch_begins_and_ends))

#endif
