#include "trim.h"

#include <stdatomic.h>
#include <stdlib.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

udx_trim_verdict_t
udx__trim_look (udx_trim_t *trim, uint64_t traffic) {
  UDX_ASSERT(traffic >= trim->seen && traffic >= trim->given);
  uint64_t moved = traffic - trim->seen;
  trim->seen = traffic;
  if (!udx__trim_is_worth(trim, traffic)) return UDX_TRIM_REST;
  if (moved > UDX_TRIM_QUIET) return UDX_TRIM_AGAIN;
  trim->given = traffic;
  return UDX_TRIM_NOW;
}

uint64_t
udx__trim_next (uint64_t begin, uint64_t end) {
  UDX_ASSERT(end >= begin);
  return end + udx__max_u64(UDX_TRIM_INTERVAL, UDX_TRIM_SHARE * (end - begin));
}

int
udx__trim_process (uint64_t (*now)(void)) {
#ifdef __GLIBC__
  /* of the process, whose loops share one heap; UINT64_MAX while one of them is at it */
  static _Atomic uint64_t next;
  uint64_t begin = now(), allowed = atomic_load(&next);
  if (begin < allowed || !atomic_compare_exchange_strong(&next, &allowed, UINT64_MAX)) return 0;
  (void) malloc_trim(0);
  atomic_store(&next, udx__trim_next(begin, now()));
#else
  (void) now; /* other allocators do it by themselves */
#endif
  return 1;
}
