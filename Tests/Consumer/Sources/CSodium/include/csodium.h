#ifndef CSODIUM_H
#define CSODIUM_H

/* The consumer's own module of this name. */
static inline int
csodium_answer (void) {
  return 42;
}

#endif // CSODIUM_H
