#include <udx.h>

int main(void) {
  udx_t udx;
  return udx_init(uv_default_loop(), &udx, NULL);
}
