#include "libcrypto.h"

#include <string.h>

enum { BY_SIZE, SODIUM, LIBCRYPTO };

void
hyper_cipher_init (hyper_cipher_t *cipher, const uint8_t *header, const uint8_t *key) {
  memset(cipher, 0, sizeof(*cipher));
  // Both directions start alike: the sender's header is handed in instead of being drawn by libsodium. Never fails.
  (void) crypto_secretstream_xchacha20poly1305_init_pull(&cipher->state, header, key);
}

void
hyper_cipher_use_sodium (hyper_cipher_t *cipher) {
  cipher->choice = SODIUM;
  hyper_libcrypto_free(cipher);
}

void
hyper_cipher_use_libcrypto (hyper_cipher_t *cipher) {
  cipher->choice = LIBCRYPTO;
}

void
hyper_cipher_trim (hyper_cipher_t *cipher) {
  hyper_libcrypto_free(cipher);
}

void
hyper_cipher_wipe (hyper_cipher_t *cipher) {
  hyper_libcrypto_free(cipher);
  sodium_memzero(cipher, sizeof(*cipher));
}

/* The choice is made by size, which is no secret: it stands before the frame in clear. */
static int
takes_libcrypto (hyper_cipher_t *cipher, size_t count) {
  if (count < HYPER_CIPHER_LEAST || cipher->choice == SODIUM || !hyper_cipher_has_libcrypto()) return 0;
  if (cipher->choice == BY_SIZE && count < hyper_libcrypto_crossing()) return 0;
  return hyper_libcrypto_begin(cipher, count);
}

int
hyper_cipher_seal (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag) {
  if (takes_libcrypto(cipher, count)) {
    return hyper_libcrypto_seal(cipher, body, message, count, tag);
  }
  cipher->contexts_have_key = 0; // libsodium may replace the key
  return crypto_secretstream_xchacha20poly1305_push(&cipher->state, body, NULL, message, count, NULL, 0, tag);
}

int
hyper_cipher_open (hyper_cipher_t *cipher, uint8_t *message, uint8_t *tag, const uint8_t *body, size_t count) {
  if (count < HYPER_CIPHER_OVERHEAD) return -1;
  size_t length = count - HYPER_CIPHER_OVERHEAD;
  if (takes_libcrypto(cipher, length)) {
    return hyper_libcrypto_open(cipher, message, tag, body, count);
  }
  cipher->contexts_have_key = 0;
  return crypto_secretstream_xchacha20poly1305_pull(&cipher->state, message, NULL, tag, body, count, NULL, 0);
}

int
hyper_cipher_would_open (const hyper_cipher_t *cipher, uint8_t *body, size_t count) {
  if (count < HYPER_CIPHER_OVERHEAD) return 0;
  crypto_secretstream_xchacha20poly1305_state state = cipher->state;
  uint8_t tag;
  int status = crypto_secretstream_xchacha20poly1305_pull(&state, body + 1, NULL, &tag, body, count, NULL, 0);
  sodium_memzero(&state, sizeof(state));
  return status == 0;
}
