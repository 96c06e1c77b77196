/*
 * What the conformance tests run on. Two backends implement this: the simulator (virtual time, no sockets), and libuv
 * with real sockets and real time, for the tests of the libuv driver and for a reference that has no driver interface.
 */
#ifndef UDX_CONFORM_BACKEND_H
#define UDX_CONFORM_BACKEND_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <udx.h>

/* An address outside the instances: a raw peer, or one side of a path. */
typedef struct endpoint {
  struct sockaddr_storage addr; /* its own */
  void *owner;
  void (*on_datagram)(
    struct endpoint *e, const uint8_t *data, size_t len, const struct sockaddr_storage *from, int ttl);
  int fd; /* libuv backend */
  struct endpoint *next;
} endpoint_t;

typedef struct {
  const char *name;
  /* Every time limit of a test is multiplied by it: real time passes while other programs have the processor. */
  double limit_factor;
  void (*open)(void);
  int (*instance_init)(udx_t *instance);
  double (*now)(void);     /* ms */
  void (*turn)(double ms); /* one turn of everything; waits at most that long for it */
  void (*endpoint_open)(endpoint_t *e, int family);
  void (*endpoint_send)(endpoint_t *e, const struct sockaddr_storage *to, const void *data, size_t len, double delay);
  void (*block_sends)(bool block);    /* the sockets of all instances are full */
  bool (*can_bind)(const char *host); /* whether the machine has that address */
} backend_t;

extern const backend_t *backend; /* of the running test */

extern const backend_t uv_backend;
#ifndef UDX_REFERENCE
extern const backend_t sim_backend;
#endif

#endif
