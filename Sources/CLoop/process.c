/* What the library needs of the loader. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hyper_loop.h"

#include <dlfcn.h>

void
hyper_stay_loaded (void) {
  Dl_info place;
  if (!dladdr((void *) (uintptr_t) &hyper_stay_loaded, &place) || place.dli_fname == NULL) return;
  // Fails for a program that has the library linked in: nothing can unload it. The reference is never given back.
  (void) dlopen(place.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}
