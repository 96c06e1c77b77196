#include "program.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size) {
  if (size <= 8192) program_run(data, size);
  return 0;
}
