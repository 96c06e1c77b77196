/* What the engine does with a driver that fails. */
#include "engine/instance.h"
#include "sim/sim.h"
#include "test.h"

static int starts, stops, random_result;

static int
count_start (udx_t *udx) {
  (void) udx;
  starts++;
  return 0;
}

static void
count_stop (udx_t *udx) {
  (void) udx;
  stops++;
}

static int
failing_random (udx_t *udx, void *bytes, size_t length) {
  (void) udx;
  if (random_result == 0) memset(bytes, 1, length);
  return random_result;
}

static void
on_close (udx_socket_t *socket) {
  (void) socket;
}

static void
on_finalize (udx_stream_t *stream) {
  (void) stream;
}

/* Without randomness ids and hash tables are predictable: nothing can be created. */
TEST(random_source_fails) {
  sim_t *sim = sim_new(1);
  sim_node_t *node = sim_node(sim);
  udx_driver_t driver = *sim_driver();
  driver.random = failing_random;
  driver.start = count_start;
  driver.stop = count_stop;
  CHECK_EQ(udx_init_with_driver(&node->udx, &driver, node->udx.driver_ctx, NULL), 0);
  udx_socket_t socket;
  udx_stream_t stream;
  memset(&socket, 0, sizeof(socket));
  memset(&stream, 0, sizeof(stream));
  random_result = UV_EIO;
  CHECK_EQ(udx_socket_init(&node->udx, &socket, on_close), UV_EIO);
  CHECK_EQ(udx_stream_init(&node->udx, &stream, 1, NULL, on_finalize), UV_EIO);
  CHECK_EQ(starts, 2);
  CHECK_EQ(stops, 2);
  CHECK(udx_is_idle(&node->udx));
  CHECK_EQ(udx__instance(&node->udx)->ids.seed, 0);

  random_result = 0; /* it works later: so does the instance */
  CHECK_EQ(udx_socket_init(&node->udx, &socket, on_close), 0);
  CHECK_EQ(udx__instance(&node->udx)->ids.seed, 0x01010101u);
  CHECK_EQ(starts, 3);
  CHECK_EQ(udx_socket_close(&socket), 0);
  sim_run(sim, 1000);
  CHECK_EQ(stops, 3);
  CHECK(udx_is_idle(&node->udx));
  sim_free(sim);
}

TEST(driver_of_another_size) {
  udx_t udx;
  memset(&udx, 0, sizeof(udx));
  udx_driver_t driver = *sim_driver();
  driver.size = sizeof(driver) - 1;
  CHECK_EQ(udx_init_with_driver(&udx, &driver, NULL, NULL), UV_EINVAL);
  driver.size = sizeof(driver) + 8; /* a later one with more members */
  CHECK_EQ(udx_init_with_driver(&udx, &driver, NULL, NULL), 0);
}

TEST_MAIN(TEST_ENTRY(random_source_fails), TEST_ENTRY(driver_of_another_size))
