#include "base.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__GNUC__)
__attribute__((cold))
#endif
_Noreturn void
udx__assert_failed (const char *file, int line, const char *condition) {
  fprintf(stderr, "%s:%d: the invariant does not hold: %s\n", file, line, condition);
  abort();
}
