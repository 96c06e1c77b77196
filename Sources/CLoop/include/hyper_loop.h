#ifndef HYPER_LOOP_H
#define HYPER_LOOP_H

/*
 * What the C transport and the Swift event loop both ask of the system through libuv: the network interfaces and host
 * names. Each is polled or resolved here and nowhere else; timers and the life of requests belong to the caller.
 * Besides, what a library on a thread of its own asks of the loader.
 */

#include <uv.h>

/*
 * Reads the interfaces, sorted by hardware address, family and address. The caller frees the list with
 * hyper_interfaces_free; it is empty after an error.
 */
int
hyper_interfaces_read (uv_interface_address_t **list, int *count);

/*
 * Reads again and compares the addresses of `family` (AF_INET, AF_INET6, or AF_UNSPEC for both). Returns
 * 1 and replaces the list when they have changed, 0 when they are the same, and a negative error, with the list as it
 * was, when the system does not tell.
 */
int
hyper_interfaces_poll (uv_interface_address_t **list, int *count, int family);

/* The list may be empty. */
void
hyper_interfaces_free (uv_interface_address_t **list, int *count);

/* What a watch has seen. */
enum {
  HYPER_WATCH_ADDRESSES = 1, /* an address or an interface came, went or changed: compare with hyper_interfaces_poll */
  HYPER_WATCH_ROUTE = 2      /* a route or a rule about routes came or went: compare with hyper_routes */
};

typedef struct hyper_watch_s hyper_watch_t;
typedef void (*hyper_watch_cb)(void *data, int seen);

/*
 * Listens to what the kernel tells of interfaces and routes: rtnetlink, on Darwin a routing socket. `changed` runs on
 * the loop, once for all that is waiting. The watch does not keep the loop alive. UV_ENOTSUP where there is no source.
 */
int
hyper_watch_start (uv_loop_t *loop, hyper_watch_t **watch, hyper_watch_cb changed, void *data);

/* No callback comes any more; the loop frees the watch in one of its next turns. */
void
hyper_watch_stop (hyper_watch_t *watch);

/* The way of packets to one destination. Addresses in host byte order; all 0 without a route. */
typedef struct hyper_route_s {
  uint32_t source;
  uint32_t gateway;   /* 0 for a neighbour, and where the system does not tell */
  uint32_t interface; /* its index; 0 where the system does not tell */
} hyper_route_t;

/*
 * The ways to `count` destinations as the routes are now; nothing is sent to them. Returns 0, or a negative errno when
 * there is no descriptor to ask with.
 */
int
hyper_routes (const uint32_t *destinations, int count, hyper_route_t *routes);

/*
 * Resolves a name on libuv's worker threads. `done` runs once, on the loop, and frees the result with uv_freeaddrinfo.
 * `request` must stay until then; its `data` is the caller's.
 */
int
hyper_lookup (uv_loop_t *loop, uv_getaddrinfo_t *request, const char *host, int family, uv_getaddrinfo_cb done);

/*
 * Keeps the library that this code is in mapped until the process ends, however often dlclose is called: for threads
 * that may return into it after the program has unloaded it. Nothing happens in a program that is linked statically.
 */
void
hyper_stay_loaded (void);

#endif // HYPER_LOOP_H
