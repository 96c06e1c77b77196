#ifndef HYPERSWARM_TESTS_CRYPTO_CALLS_H
#define HYPERSWARM_TESTS_CRYPTO_CALLS_H

#include <stdint.h>

/* Operations of libsodium. One that makes use of another may count as both. */
typedef enum {
  HYPER_CRYPTO_POINT_MULTIPLICATION,
  HYPER_CRYPTO_KEY_PAIR,
  HYPER_CRYPTO_SIGNATURE,
  HYPER_CRYPTO_VERIFICATION,
  HYPER_CRYPTO_SHA512,
  HYPER_CRYPTO_BLAKE2B,
  /* Memory between guarded pages: a dozen system calls. */
  HYPER_CRYPTO_GUARDED_MEMORY,
  HYPER_CRYPTO_OPERATIONS
} hyper_crypto_operation_t;

/*
 * How often this thread has called for the operation, in the whole program; negative where that is not counted (other
 * systems than Linux with glibc, and under sanitizers, which stand in for functions themselves).
 */
int64_t
hyper_crypto_calls (hyper_crypto_operation_t operation);

#endif
