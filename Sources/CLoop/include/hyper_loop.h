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

/*
 * Resolves a name on libuv's worker threads. `done` runs once, on the loop, and frees the result with uv_freeaddrinfo.
 * `request` must stay until then; its `data` is the caller's.
 */
int
hyper_lookup (uv_loop_t *loop, uv_getaddrinfo_t *request, const char *host, int family, uv_getaddrinfo_cb done);

/* From now on the shared object with this code stays mapped until the process ends, whatever dlclose is called. */
void
hyper_stay_loaded (void);

#endif // HYPER_LOOP_H
