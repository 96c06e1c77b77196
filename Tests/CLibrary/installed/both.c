// The transport and the whole stack in one program: each works, with its own copy of the transport.
#include <hyperswarm.h>
#include <stdio.h>
#include <udx.h>

static void on_gone(void *user_data) { *(int *) user_data = 1; }

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  udx_t udx;
  int gone = 0;
  hyperswarm_t *swarm;
  hyperswarm_options_t options = {.size = sizeof(options), .loop = loop, .bootstrap = "", .host = "127.0.0.1"};
  int status = udx_init(loop, &udx, NULL);
  if (status == 0) status = hyperswarm_create(&options, &swarm);
  if (status == 0) status = hyperswarm_destroy(swarm, 1, on_gone, &gone);
  udx_teardown(&udx);
  uv_run(loop, UV_RUN_DEFAULT);
  printf("status %d, gone %d, packets %d\n", status, gone, (int) udx.packets_tx);
  return status != 0 || !gone;
}
