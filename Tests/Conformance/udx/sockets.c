/* Sockets: items 81 to 86. */
#include "harness/conform.h"

static peer_t *p;

static void
dual_stack_receive (void) {
  require_address("::");
  world_open();
  static udx_socket_t six, only;
  socket_open(&udx, &six, "::", 0, 0);
  socket_open(&udx, &only, "::", 0, UV_UDP_IPV6ONLY);
  p = peer_open(AF_INET);
  struct sockaddr_storage to = socket_addr4(&six);
  peer_to(p, &to);
  peer_raw(p, "x", 1);
  WAIT(socket_messages.n == 1, 500);
  CHECK_EQ(socket_message_from.ss_family, AF_INET);
  CHECK_EQ(((struct sockaddr_in *) &socket_message_from)->sin_port, ((struct sockaddr_in *) &p->addr)->sin_port);
  to = socket_addr4(&only);
  peer_to(p, &to);
  peer_raw(p, "y", 1);
  settle(40);
  CHECK_EQ(socket_messages.n, 1);
  require_address("::1");
  peer_t *p6 = peer_open(AF_INET6);
  struct sockaddr_storage to6 = socket_addr(&only);
  peer_to(p6, &to6);
  peer_raw(p6, "z", 1);
  WAIT(socket_messages.n == 2, 500);
  CHECK_EQ(socket_message_from.ss_family, AF_INET6);
}

static int sends_done, sends_failed;

static void
on_sent (udx_socket_send_t *req, int status) {
  (void) req;
  sends_done++;
  if (status < 0) sends_failed++;
}

static udx_socket_send_t reqs[16];
static int used;

static void
message (udx_socket_t *s, const char *text, int ttl) {
  uv_buf_t buf = uv_buf_init((char *) (uintptr_t) text, (unsigned) strlen(text));
  udx_socket_send_t *req = &reqs[used++];
  int r = ttl < 0 ? udx_socket_send(req, s, &buf, 1, (struct sockaddr *) &p->addr, on_sent)
                  : udx_socket_send_ttl(req, s, &buf, 1, (struct sockaddr *) &p->addr, ttl, on_sent);
  CHECK_EQ(r, 0);
}

static void
six_to_four (void) {
  require_address("::");
  world_open();
  static udx_socket_t six;
  socket_open(&udx, &six, "::", 0, 0);
  p = peer_open(AF_INET);
  message(&six, "hi", -1);
  WAIT(p->n == 1 && sends_done == 1, 500);
  CHECK_EQ(sends_failed, 0);
  static side_t s;
  side_init(&s, &udx, 5);
  side_connect(&s, &six, 50, &p->addr);
  side_read(&s);
  side_write(&s, "data", 4);
  WAIT(DATAS(p) == 1, 500);
  struct sockaddr_storage to = socket_addr4(&six);
  peer_to(p, &to);
  p->id = 5;
  peer_send(p, DATA, 0, 1, "back", 4);
  WAIT(s.len == 4 && s.acks == 1, 500);
}

static void
ttl (void) {
  world_open();
  p = peer_open(AF_INET);
  message(&sock, "a", 5);
  message(&sock, "b", -1);
  message(&sock, "c", 0);
  WAIT(p->n == 3, 500);
  CHECK_EQ(p->log[0].ttl, 5);
  CHECK_EQ(p->log[1].ttl, 64);
  CHECK_EQ(p->log[2].ttl, 64);
  uv_buf_t buf = uv_buf_init((char *) (uintptr_t) "x", 1);
  CHECK_EQ(udx_socket_send_ttl(&reqs[15], &sock, &buf, 1, (struct sockaddr *) &p->addr, 256, on_sent), UV_EINVAL);
  CHECK_EQ(udx_socket_send_ttl(&reqs[15], &sock, &buf, 1, (struct sockaddr *) &p->addr, -1, on_sent), UV_EINVAL);

  backend->block_sends(true);
  message(&sock, "d", 7);
  message(&sock, "e", 8);
  message(&sock, "f", 9);
  step();
  CHECK_EQ(p->n, 3);
  backend->block_sends(false);
  WAIT(p->n == 6, 1000);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(p->log[3 + i].bytes[0], "def"[i]);
    CHECK_EQ(p->log[3 + i].ttl, 7 + i);
  }
  message(&sock, "g", -1);
  WAIT(p->n == 7, 500);
  CHECK_EQ(p->log[6].ttl, 64);
  CHECK_EQ(sends_done, used);
  CHECK_EQ(sends_failed, 0);

  int value = 0;
  CHECK_EQ(udx_socket_set_ttl(&sock, 33), 0);
  CHECK_EQ(udx_socket_get_ttl(&sock, &value), 0);
  CHECK_EQ(value, 33);
  message(&sock, "h", -1);
  WAIT(p->n == 8, 500);
  CHECK_EQ(p->log[7].ttl, 33);
  CHECK_EQ(udx_socket_set_ttl(&sock, 0), UV_EINVAL);
  CHECK_EQ(udx_socket_set_ttl(&sock, 256), UV_EINVAL);
}

static int lookups, lookup_status;
static struct sockaddr_storage lookup_result;

static void
on_lookup (udx_lookup_t *handle, int status, const struct sockaddr *addr, int len) {
  (void) handle;
  lookups++;
  lookup_status = status;
  memset(&lookup_result, 0, sizeof(lookup_result));
  if (status >= 0 && addr) memcpy(&lookup_result, addr, (size_t) len);
  if (status < 0) CHECK(addr == NULL);
}

static void
lookup (void) {
  world_open();
  static udx_lookup_t req[3];
  CHECK_EQ(udx_lookup(&udx, &req[0], "localhost", UDX_LOOKUP_FAMILY_IPV4, on_lookup), 0);
  WAIT(lookups == 1, 5000);
  CHECK_EQ(lookup_status, 0);
  CHECK_EQ(lookup_result.ss_family, AF_INET);
  CHECK_EQ(((struct sockaddr_in *) &lookup_result)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  CHECK_EQ(udx_lookup(&udx, &req[1], "localhost", UDX_LOOKUP_FAMILY_IPV6, on_lookup), 0);
  WAIT(lookups == 2, 5000);
  if (lookup_status >= 0) {
    CHECK_EQ(lookup_result.ss_family, AF_INET6);
    CHECK(IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *) &lookup_result)->sin6_addr));
  }
  CHECK_EQ(udx_lookup(&udx, &req[2], "no..name", 0, on_lookup), 0);
  WAIT(lookups == 3, 15000); /* an empty label: no resolver needs a server to refuse it */
  CHECK(lookup_status < 0);
}

static void
on_any_close (udx_socket_t *s) {
  (void) s;
}

static void
port_in_use (void) {
  world_open();
  static udx_socket_t second;
  struct sockaddr_storage a = socket_addr(&sock);
  CHECK_EQ(udx_socket_init(&udx, &second, on_any_close), 0);
  CHECK_EQ(udx_socket_bind(&second, (struct sockaddr *) &a, 0), UV_EADDRINUSE);
}

static int watcher_closes;

static void
on_interfaces (udx_interface_event_t *handle, int status) {
  (void) handle;
  (void) status;
}

static void
on_watcher_close (udx_interface_event_t *handle) {
  (void) handle;
  watcher_closes++;
}

static void
watcher (void) {
  world_open();
  static udx_interface_event_t w;
  CHECK_EQ(udx_interface_event_init(&udx, &w, on_watcher_close), 0);
  CHECK_EQ(udx_interface_event_start(&w, on_interfaces, 20), 0);
  settle(60);
  CHECK(w.addrs_len >= 1 && w.addrs != NULL);
  CHECK_EQ(udx_interface_event_stop(&w), 0);
  CHECK_EQ(udx_interface_event_stop(&w), 0);
  CHECK_EQ(udx_interface_event_close(&w), 0);
  CHECK_EQ(udx_interface_event_close(&w), UV_EINVAL);
  WAIT(watcher_closes == 1, 500);
  settle(30);
  CHECK_EQ(watcher_closes, 1);
}

const test_t socket_tests[] = {
  {"UDX-81", "IPv6 socket receives IPv4, unless IPv6-only", dual_stack_receive, NULL, 0, BOTH},
  {"UDX-82", "IPv6 socket sends to IPv4", six_to_four, NULL, 0, BOTH},
  {"UDX-83", "TTL per message, also when blocked", ttl, NULL, 0, BOTH},
  {"UDX-84", "localhost and invalid look-ups", lookup, NULL, 40, SOCKETS},
  {"UDX-85", "binding a used port fails at once", port_in_use, NULL, 0, BOTH},
  {"UDX-86", "interface watcher stop and close twice", watcher, NULL, 0, SOCKETS},
  {NULL, NULL, NULL, NULL, 0, BOTH},
};
