// Swarms inside a program whose loop is epoll: no thread, no libuv in sight. Two of them and a private network share
// the loop with a timer of the program's own.
//
//   cc epoll.c $(pkg-config --cflags --libs hyperswarm) -o epoll && ./epoll
#include <hyperswarm.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct program {
  struct uv_loop_s *loop;
  hyperswarm_testnet_t *network;
  hyperswarm_t *swarms[2];
  int received, gone, failed;
};

static void on_message(hyperswarm_connection_t *connection, const uint8_t *data, size_t length, void *user_data) {
  struct program *program = user_data;
  printf("received %.*s\n", (int) length, (const char *) data);
  program->received++;
  hyperswarm_connection_end(connection);
}

static void on_connection(
  hyperswarm_t *swarm, hyperswarm_connection_t *connection, const hyperswarm_peer_info_t *peer, void *user_data) {
  (void) swarm, (void) peer;
  hyperswarm_connection_callbacks_t callbacks = {
    .size = sizeof(callbacks), .on_message = on_message, .user_data = user_data};
  hyperswarm_connection_set_callbacks(connection, &callbacks);
  hyperswarm_connection_write(connection, "hello", 5, NULL, NULL);
}

static void on_gone(void *user_data) { ((struct program *) user_data)->gone++; }

static void on_listening(hyperswarm_t *swarm, int status, void *user_data) {
  struct program *program = user_data;
  uint8_t key[HYPERSWARM_KEY_SIZE];
  if (status != HYPERSWARM_OK) program->failed = status;
  hyperswarm_public_key(swarm, key);
  hyperswarm_peer_join(program->swarms[1], key);
}

static void on_network(hyperswarm_testnet_t *network, int status, const char *bootstrap, void *user_data) {
  struct program *program = user_data;
  (void) network;
  for (int i = 0; i < 2 && status == HYPERSWARM_OK; i++) {
    hyperswarm_options_t options = {.size = sizeof(options), .loop = program->loop, .bootstrap = bootstrap};
    options.host = "127.0.0.1";
    options.on_connection = on_connection;
    options.user_data = program;
    status = hyperswarm_create(&options, &program->swarms[i]);
  }
  if (status == HYPERSWARM_OK) status = hyperswarm_listen(program->swarms[0], on_listening, program);
  if (status != HYPERSWARM_OK) program->failed = status;
}

// What the swarms need is due: everything they do happens inside hyperswarm_process.
static int turn(struct program *program, int descriptor, int ticks) {
  struct epoll_event events[8];
  int count = epoll_wait(descriptor, events, 8, hyperswarm_loop_timeout(program->loop));
  for (int i = 0; i < count; i++) {
    uint64_t expirations;
    if (events[i].data.fd == ticks && read(ticks, &expirations, sizeof(expirations)) > 0) printf("tick\n");
  }
  return hyperswarm_process(program->loop);
}

int main(void) {
  struct program program = {0};
  int status = hyperswarm_loop_create(&program.loop);
  if (status != HYPERSWARM_OK) {
    fprintf(stderr, "%s\n", hyperswarm_strerror(status));
    return 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  int descriptor = epoll_create1(EPOLL_CLOEXEC), ticks = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct itimerspec second = {.it_value = {.tv_sec = 1}, .it_interval = {.tv_sec = 1}};
  timerfd_settime(ticks, 0, &second, NULL);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = ticks};
  epoll_ctl(descriptor, EPOLL_CTL_ADD, ticks, &event);
  event.data.fd = hyperswarm_loop_fd(program.loop);
  epoll_ctl(descriptor, EPOLL_CTL_ADD, event.data.fd, &event);

  hyperswarm_testnet_create(program.loop, 3, on_network, &program, &program.network);
  while (program.received < 2 && program.failed == 0) turn(&program, descriptor, ticks);
  for (int i = 0; i < 2; i++) hyperswarm_destroy(program.swarms[i], 1, on_gone, &program);
  while (program.gone < 2) turn(&program, descriptor, ticks);
  hyperswarm_testnet_destroy(program.network, on_gone, &program);
  while (turn(&program, descriptor, ticks) > 0) {}
  status = hyperswarm_loop_destroy(program.loop);
  printf("%d received, %d of 3 gone, loop: %s\n", program.received, program.gone, hyperswarm_error_name(status));
  return program.failed != 0 || status != HYPERSWARM_OK;
}
