#ifndef HYPER_CIPHER_H
#define HYPER_CIPHER_H

/*
 * The frame cipher: XChaCha20-Poly1305 secretstream as libsodium has it (secret-stream.md 9), byte for byte, over two
 * implementations. libsodium's own is always there. Built with HYPER_LIBCRYPTO and OpenSSL 3 or later, messages for
 * which it is faster go through libcrypto's ChaCha20 and Poly1305. The state is libsodium's in both cases, so every
 * frame may take either.
 *
 * A cipher is one direction of one stream and is used by one thread at a time.
 */

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  /* Encrypted tag and MAC: a body is this much longer than its message. */
  HYPER_CIPHER_OVERHEAD = 17,
  /*
   * Bytes of a message from which libcrypto may be used. Shorter ones are keepalives and acknowledgements of protocols:
   * a stream that sends nothing else needs no contexts, which take 1 KiB.
   */
  HYPER_CIPHER_LEAST = 16
};

typedef struct hyper_cipher_s {
  crypto_secretstream_xchacha20poly1305_state state;
  struct hyper_cipher_contexts_s *contexts; /* libcrypto's, once a message has wanted them */
  int contexts_have_key;                    /* that of `state` */
  int choice;                               /* 0: by size, what is faster on this processor */
} hyper_cipher_t;

/* `header` is the sender's random bytes (24), `key` has 32. */
void
hyper_cipher_init (hyper_cipher_t *cipher, const uint8_t *header, const uint8_t *key);

/* Keeps to libsodium: for comparison. */
void
hyper_cipher_use_sodium (hyper_cipher_t *cipher);

/* Takes libcrypto wherever it can: for tests. */
void
hyper_cipher_use_libcrypto (hyper_cipher_t *cipher);

/* Gives back what is not needed between messages; the next message makes it again. */
void
hyper_cipher_trim (hyper_cipher_t *cipher);

/* Wipes the state. The cipher may be initialised again. */
void
hyper_cipher_wipe (hyper_cipher_t *cipher);

/*
 * Writes encrypted tag, ciphertext and MAC to `body`: `count` + 17 bytes. The message may lie exactly where its
 * ciphertext goes, at `body` + 1. Returns 0; a negative value means that the body must not be used, and the cipher
 * neither.
 */
int
hyper_cipher_seal (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag);

/*
 * Verifies a body of `count` bytes, and only then decrypts it to `message`: `count` - 17 bytes, which may lie exactly
 * at `body` + 1. Returns 0, or a negative value for a body that does not authenticate; nothing is changed then.
 */
int
hyper_cipher_open (hyper_cipher_t *cipher, uint8_t *message, uint8_t *tag, const uint8_t *body, size_t count);

/*
 * Whether the cipher would open this body as its next one; it does not change. The body may: it is decrypted in place.
 */
int
hyper_cipher_would_open (const hyper_cipher_t *cipher, uint8_t *body, size_t count);

/* Whether libcrypto is there, has both algorithms, and agrees with libsodium. Decided once per process. */
int
hyper_cipher_has_libcrypto (void);

#ifdef __cplusplus
}
#endif

#endif
