#include <stdio.h>
#include <string.h>
#include <udx.h>

static udx_t udx; // one per loop; two streams on one socket talk to each other here
static udx_socket_t sock;
static udx_stream_t a, b;

static void on_read(udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  if (length > 0) printf("received %.*s\n", (int) length, buf->base);
  udx_stream_destroy(&a);
  udx_stream_destroy(stream);
}
static void on_close(udx_stream_t *stream, int status) { (void) stream, (void) status; }
static void on_finalize(udx_stream_t *stream) {
  (void) stream;
  udx_socket_close(&sock);
} // busy until the last one
static void on_socket_close(udx_socket_t *socket) { (void) socket; }
static void on_ack(udx_stream_write_t *req, int status, int unordered) { (void) req, (void) status, (void) unordered; }

int main(void) {
  struct sockaddr_in address;
  uv_ip4_addr("127.0.0.1", 0, &address);
  udx_init(uv_default_loop(), &udx, NULL);
  udx_socket_init(&udx, &sock, on_socket_close);
  if (udx_socket_bind(&sock, (struct sockaddr *) &address, 0) != 0) return 1;
  int size = sizeof(address);
  udx_socket_getsockname(&sock, (struct sockaddr *) &address, &size);
  udx_stream_init(&udx, &a, 1, on_close, on_finalize);
  udx_stream_init(&udx, &b, 2, on_close, on_finalize);
  udx_stream_connect(&a, &sock, 2, (struct sockaddr *) &address);
  udx_stream_connect(&b, &sock, 1, (struct sockaddr *) &address);
  udx_stream_read_start(&b, on_read);
  static char memory[1024]; // at least udx_stream_write_sizeof(1)
  uv_buf_t text = uv_buf_init("hello", 5);
  udx_stream_write((udx_stream_write_t *) memory, &a, &text, 1, on_ack);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
