// Stands for another libudx in the process, preloaded: its functions have the same names and do nothing of use. A
// library that calls one of them instead of its own ends at once.
#include <stdio.h>
#include <stdlib.h>

#define STUB(name) \
  void name(void); \
  void name(void) { \
    fprintf(stderr, "the other libudx was called: " #name "\n"); \
    abort(); \
  }

STUB(udx_init)
STUB(udx_init_with_driver)
STUB(udx_is_idle)
STUB(udx_teardown)
STUB(udx_socket_init)
STUB(udx_socket_bind)
STUB(udx_socket_send)
STUB(udx_socket_send_ttl)
STUB(udx_socket_recv_start)
STUB(udx_socket_getsockname)
STUB(udx_socket_close)
STUB(udx_stream_init)
STUB(udx_stream_connect)
STUB(udx_stream_read_start)
STUB(udx_stream_recv_start)
STUB(udx_stream_write)
STUB(udx_stream_write_end)
STUB(udx_stream_destroy)
STUB(udx_lookup)
STUB(udx_interface_event_init)
