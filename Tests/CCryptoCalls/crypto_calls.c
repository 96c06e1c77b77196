#include "crypto_calls.h"

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif

#if defined(__linux__) && defined(__GLIBC__) && !defined(IS_SANITIZED)

#include <dlfcn.h>
#include <stdlib.h>

typedef unsigned char byte_t;
typedef unsigned long long count_t;

static __thread int64_t calls[HYPER_CRYPTO_OPERATIONS];

int64_t
hyper_crypto_calls (hyper_crypto_operation_t operation) {
  return calls[operation];
}

/* The function of libsodium that the one of this file stands in for. */
static void *
counted (hyper_crypto_operation_t operation, const char *name) {
  calls[operation]++;
  void *function = dlsym(RTLD_NEXT, name);
  if (function == NULL) abort();
  return function;
}

/*
 * Definitions in a program come before those of shared libraries. POSIX has the cast of the address that dlsym gives.
 */
#define STAND_IN(operation, result, name, parameters, arguments)                                                       \
  result name parameters;                                                                                              \
  result name parameters {                                                                                             \
    result(*function) parameters;                                                                                      \
    *(void **) &function = counted(operation, #name);                                                                  \
    return function arguments;                                                                                         \
  }

STAND_IN(HYPER_CRYPTO_POINT_MULTIPLICATION, int, crypto_scalarmult_ed25519_noclamp,
  (byte_t * out, const byte_t *scalar, const byte_t *point), (out, scalar, point))
STAND_IN(HYPER_CRYPTO_KEY_PAIR, int, crypto_sign_seed_keypair,
  (byte_t * public_key, byte_t *secret_key, const byte_t *seed), (public_key, secret_key, seed))
STAND_IN(HYPER_CRYPTO_SIGNATURE, int, crypto_sign_detached,
  (byte_t * signature, count_t *length, const byte_t *message, count_t count, const byte_t *key),
  (signature, length, message, count, key))
STAND_IN(HYPER_CRYPTO_VERIFICATION, int, crypto_sign_verify_detached,
  (const byte_t *signature, const byte_t *message, count_t count, const byte_t *key), (signature, message, count, key))
STAND_IN(
  HYPER_CRYPTO_SHA512, int, crypto_hash_sha512, (byte_t * out, const byte_t *bytes, count_t count), (out, bytes, count))
STAND_IN(HYPER_CRYPTO_BLAKE2B, int, crypto_generichash,
  (byte_t * out, size_t size, const byte_t *bytes, count_t count, const byte_t *key, size_t key_size),
  (out, size, bytes, count, key, key_size))
STAND_IN(
  HYPER_CRYPTO_BLAKE2B, int, crypto_generichash_final, (void *state, byte_t *out, size_t size), (state, out, size))
STAND_IN(HYPER_CRYPTO_GUARDED_MEMORY, void *, sodium_malloc, (size_t size), (size))

#else

int64_t
hyper_crypto_calls (hyper_crypto_operation_t operation) {
  (void) operation;
  return -1;
}

#endif
