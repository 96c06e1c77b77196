/* A peer in a process of its own that is killed, and one that is stopped for a while: real sockets on 127.0.0.1. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"
#include "udx.h"

enum { STREAMS = 2, KEEPALIVE = 200 };

typedef struct end_s {
  udx_t udx;
  udx_socket_t socket;
  udx_stream_t streams[STREAMS]; /* this process ends its half of 0, the other one its half of 1 */
  int received[STREAMS], eof[STREAMS], closed[STREAMS], status[STREAMS];
} end_t;

static uv_loop_t loop;
static end_t end;

static void
socket_closed (udx_socket_t *socket) {
  (void) socket;
}

static void
on_close (udx_stream_t *stream, int status) {
  end.closed[stream - end.streams]++;
  end.status[stream - end.streams] = status;
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) buf;
  if (length > 0) end.received[stream - end.streams] += (int) length;
  else end.eof[stream - end.streams]++;
}

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  free(req);
}

static void
write_byte (udx_stream_t *stream, int ends) {
  udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1));
  uv_buf_t buf = uv_buf_init("x", 1);
  if (ends) CHECK(udx_stream_write_end(req, stream, &buf, 1, on_ack) >= 0);
  else CHECK(udx_stream_write(req, stream, &buf, 1, on_ack) >= 0);
}

static int
end_open (void) {
  memset(&end, 0, sizeof(end));
  CHECK_EQ(uv_loop_init(&loop), 0);
  CHECK_EQ(udx_init(&loop, &end.udx, NULL), 0);
  CHECK_EQ(udx_socket_init(&end.udx, &end.socket, socket_closed), 0);
  struct sockaddr_in name;
  CHECK_EQ(uv_ip4_addr("127.0.0.1", 0, &name), 0);
  CHECK_EQ(udx_socket_bind(&end.socket, (struct sockaddr *) &name, 0), 0);
  int length = sizeof(name);
  CHECK_EQ(udx_socket_getsockname(&end.socket, (struct sockaddr *) &name, &length), 0);
  for (uint32_t i = 0; i < STREAMS; i++) {
    CHECK_EQ(udx_stream_init(&end.udx, &end.streams[i], i + 1, on_close, NULL), 0);
    CHECK_EQ(udx_stream_read_start(&end.streams[i], on_read), 0);
    CHECK_EQ(udx_stream_set_keepalive(&end.streams[i], KEEPALIVE), 0);
  }
  return ntohs(name.sin_port);
}

static void
end_connect (int port, int half) {
  struct sockaddr_in to;
  CHECK_EQ(uv_ip4_addr("127.0.0.1", port, &to), 0);
  for (uint32_t i = 0; i < STREAMS; i++) {
    CHECK_EQ(udx_stream_connect(&end.streams[i], &end.socket, i + 1, (struct sockaddr *) &to), 0);
    write_byte(&end.streams[i], (int) i == half);
  }
}

/* The peer; it never returns. */
static pid_t
peer_start (int *port, int down[2]) {
  int up[2];
  CHECK_EQ(pipe(up), 0);
  CHECK_EQ(pipe(down), 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid > 0) {
    CHECK_EQ(read(up[0], port, sizeof(*port)), (ssize_t) sizeof(*port));
    return pid;
  }
  int own = end_open(), other;
  CHECK_EQ(write(up[1], &own, sizeof(own)), (ssize_t) sizeof(own));
  CHECK_EQ(read(down[0], &other, sizeof(other)), (ssize_t) sizeof(other));
  end_connect(other, 1);
  uv_run(&loop, UV_RUN_DEFAULT);
  _exit(0);
}

static void
on_tick (uv_timer_t *timer) {
  uv_stop(timer->loop);
}

static uv_timer_t timer;

static void
run (uint64_t ms) {
  uv_timer_start(&timer, on_tick, ms, 0);
  uv_run(&loop, UV_RUN_DEFAULT);
}

static pid_t
pair_start (void) {
  int port, down[2];
  pid_t pid = peer_start(&port, down);
  int own = end_open();
  CHECK_EQ(uv_timer_init(&loop, &timer), 0);
  CHECK_EQ(write(down[1], &own, sizeof(own)), (ssize_t) sizeof(own));
  end_connect(port, 0);
  run(500);
  for (int i = 0; i < STREAMS; i++) CHECK_EQ(end.received[i], 1);
  CHECK_EQ(end.eof[1], 1);
  return pid;
}

static void
pair_end (pid_t pid) {
  kill(pid, SIGKILL);
  CHECK_EQ(waitpid(pid, NULL, 0), pid);
  udx_teardown(&end.udx);
  uv_close((uv_handle_t *) &timer, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST(a_killed_peer_is_noticed) {
  pid_t pid = pair_start();
  CHECK_EQ(kill(pid, SIGKILL), 0);
  uint64_t killed = uv_hrtime();
  while (!(end.closed[0] && end.closed[1]) && uv_hrtime() - killed < 20000000000u) {
    if (!end.closed[1] && end.streams[1].inflight == 0) write_byte(&end.streams[1], 0);
    run(100);
  }
  printf("  noticed after %.1f s\n", (double) (uv_hrtime() - killed) / 1e9);
  CHECK(uv_hrtime() - killed < 16000000000u);
  for (int i = 0; i < STREAMS; i++) CHECK_EQ(end.status[i], UV_ETIMEDOUT);
  pair_end(pid);
}

TEST(a_stopped_peer_goes_on) {
  pid_t pid = pair_start();
  CHECK_EQ(kill(pid, SIGSTOP), 0);
  run(6000);
  CHECK_EQ(kill(pid, SIGCONT), 0);
  write_byte(&end.streams[1], 0);
  run(3000);
  for (int i = 0; i < STREAMS; i++) CHECK_EQ(end.closed[i], 0);
  CHECK_EQ(end.streams[1].inflight, 0);
  pair_end(pid);
}

TEST_MAIN(TEST_ENTRY(a_killed_peer_is_noticed), TEST_ENTRY(a_stopped_peer_goes_on))
