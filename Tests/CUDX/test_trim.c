/* What a burst has left behind is given back: the policy at its edges, and the resident memory of this process. */
#include <unistd.h>

#include "engine/instance.h"
#include "io/uv_driver.h"
#include "test.h"

TEST(looks_until_the_burst_is_over) {
  udx_trim_t trim = {0};
  CHECK(!udx__trim_is_worth(&trim, UDX_TRIM_TRAFFIC - 1));
  CHECK(udx__trim_is_worth(&trim, UDX_TRIM_TRAFFIC));
  CHECK_EQ(udx__trim_look(&trim, UDX_TRIM_TRAFFIC - 1), UDX_TRIM_REST);
  CHECK_EQ(udx__trim_look(&trim, UDX_TRIM_TRAFFIC + UDX_TRIM_QUIET), UDX_TRIM_AGAIN);
  CHECK_EQ(trim.given, 0);
  CHECK_EQ(udx__trim_look(&trim, UDX_TRIM_TRAFFIC + 2 * UDX_TRIM_QUIET), UDX_TRIM_NOW);
  CHECK_EQ(trim.given, UDX_TRIM_TRAFFIC + 2 * UDX_TRIM_QUIET);
  CHECK_EQ(udx__trim_look(&trim, UDX_TRIM_TRAFFIC + 2 * UDX_TRIM_QUIET), UDX_TRIM_REST);
}

TEST(a_hundredth_of_the_time_at_most) {
  CHECK_EQ(udx__trim_next(1000, 1000), 1000 + UDX_TRIM_INTERVAL);
  uint64_t least = UDX_TRIM_INTERVAL / UDX_TRIM_SHARE;
  CHECK_EQ(udx__trim_next(1000, 1000 + least), 1000 + least + UDX_TRIM_INTERVAL);
  CHECK_EQ(udx__trim_next(1000, 1001 + least), 1001 + least + UDX_TRIM_INTERVAL + UDX_TRIM_SHARE);
}

/* ---- 200 streams with a MiB each, whose pieces come from the heap of the process ---- */

#define STREAMS 200
#define PIECE 16384
#define PIECES 64

typedef struct end_s {
  udx_t udx;
  udx_socket_t socket;
  udx_stream_t streams[STREAMS];
} end_t;

static end_t ends[2];
static uint64_t received, pieces;
static int finalized;
static void *kept[STREAMS]; /* blocks of the application that outlive the burst: the heap cannot shrink by itself */

static void
on_socket_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_close (udx_stream_t *stream, int status) {
  (void) stream;
  CHECK_EQ(status, 0);
}

static void
on_finalize (udx_stream_t *stream) {
  (void) stream;
  finalized++;
}

static void
on_read (udx_stream_t *stream, ssize_t length, const uv_buf_t *buf) {
  (void) stream;
  (void) buf;
  if (length > 0) received += (uint64_t) length;
}

static void
on_ack (udx_stream_write_t *req, int status, int unordered) {
  (void) status;
  (void) unordered;
  pieces++;
  free(req);
}

static int64_t
resident (void) {
  unsigned long pages = 0, in_memory = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%lu %lu", &pages, &in_memory) != 2) in_memory = 0;
  (void) fclose(file);
  return (int64_t) in_memory * (int64_t) sysconf(_SC_PAGESIZE);
}

static uint32_t
trims (const end_t *end) {
  return udx__uv_driver((udx_t *) (uintptr_t) &end->udx)->trims;
}

static void
give_up (uv_timer_t *timer) {
  (void) timer;
  CHECK(!"in time");
}

TEST(memory_comes_back_after_a_burst) {
  uv_loop_t loop;
  CHECK_EQ(uv_loop_init(&loop), 0);
  uv_timer_t limit;
  (void) uv_timer_init(&loop, &limit);
  (void) uv_timer_start(&limit, give_up, 120000, 0);
  struct sockaddr_in at;
  (void) uv_ip4_addr("127.0.0.1", 0, &at);
  struct sockaddr_in names[2];
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(udx_init(&loop, &ends[i].udx, NULL), 0);
    CHECK_EQ(udx_socket_init(&ends[i].udx, &ends[i].socket, on_socket_close), 0);
    CHECK_EQ(udx_socket_bind(&ends[i].socket, (struct sockaddr *) &at, 0), 0);
    int length = sizeof(names[i]);
    CHECK_EQ(udx_socket_getsockname(&ends[i].socket, (struct sockaddr *) &names[i], &length), 0);
  }
  for (uint32_t n = 0; n < STREAMS; n++) {
    for (int i = 0; i < 2; i++) {
      udx_stream_t *stream = &ends[i].streams[n];
      CHECK_EQ(udx_stream_init(&ends[i].udx, stream, n, on_close, on_finalize), 0);
      CHECK_EQ(udx_stream_connect(stream, &ends[i].socket, n, (struct sockaddr *) &names[1 - i]), 0);
      CHECK_EQ(udx_stream_read_start(stream, on_read), 0);
    }
  }
  int64_t before = resident();
  for (int piece = 0; piece < PIECES; piece++) {
    for (uint32_t n = 0; n < STREAMS; n++) {
      /* request and payload in one block */
      udx_stream_write_t *req = malloc((size_t) udx_stream_write_sizeof(1) + PIECE);
      CHECK(req != NULL);
      uv_buf_t buf = uv_buf_init((char *) req + udx_stream_write_sizeof(1), PIECE);
      memset(buf.base, piece, PIECE);
      CHECK(udx_stream_write(req, &ends[0].streams[n], &buf, 1, on_ack) >= 0);
    }
  }
  for (int i = 0; i < STREAMS; i++) kept[i] = malloc(64);
  while (pieces < STREAMS * PIECES) (void) uv_run(&loop, UV_RUN_ONCE);
  CHECK_EQ(received, (uint64_t) STREAMS * PIECES * PIECE);
  int64_t after = resident();
  CHECK_EQ(trims(&ends[0]) + trims(&ends[1]), 0);

  /* the two instances share the process: one of them does it, for both */
  while (trims(&ends[0]) + trims(&ends[1]) == 0) (void) uv_run(&loop, UV_RUN_ONCE);
  int64_t later = resident();
  printf("  resident before %lld, after %lld, later %lld KiB\n", (long long) before / 1024, (long long) after / 1024,
    (long long) later / 1024);
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
  CHECK(after - before > 100 << 20);
  CHECK(later - before < 10 << 20);
#endif
  for (int i = 0; i < STREAMS; i++) free(kept[i]);
  for (int i = 0; i < 2; i++) {
    for (uint32_t n = 0; n < STREAMS; n++) (void) udx_stream_destroy(&ends[i].streams[n]);
    (void) udx_socket_close(&ends[i].socket);
  }
  uv_close((uv_handle_t *) &limit, NULL);
  while (finalized < 2 * STREAMS || !udx_is_idle(&ends[0].udx) || !udx_is_idle(&ends[1].udx))
    (void) uv_run(&loop, UV_RUN_ONCE);
  CHECK_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);
  CHECK_EQ(uv_loop_close(&loop), 0);
}

TEST_MAIN(TEST_ENTRY(looks_until_the_burst_is_over), TEST_ENTRY(a_hundredth_of_the_time_at_most),
  TEST_ENTRY(memory_comes_back_after_a_burst))
