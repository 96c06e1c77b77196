#include "libcrypto.h"

#if defined(HYPER_LIBCRYPTO) && defined(__has_include)
#if __has_include(<openssl/evp.h>)
#include <openssl/evp.h>
#endif
#endif

#if defined(OPENSSL_VERSION_MAJOR) && OPENSSL_VERSION_MAJOR >= 3

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  BLOCK = 64,       /* of ChaCha20 */
  HEAD = 2 * BLOCK, /* keystream of a frame before its message: the Poly1305 key, then the block of the tag */
  KEY = 32,
  COUNTER = 4, /* of frames; the first part of the nonce */
  NONCE = 12,
  MAC = 16,
  /*
   * Up to this many bytes a message is encrypted together with the head, through a copy: a second call costs more than
   * the copy. Both together are 1 KiB, one pass of the widest vector code.
   */
  SHORT = 896,
  /* From here libcrypto's Poly1305 is faster than libsodium's: its vector code has to be prepared for every frame. */
  LONG = 1024,
  /* Encrypted, then authenticated while it is in the first-level cache. */
  PIECE = 16 << 10
};

struct hyper_cipher_contexts_s {
  EVP_CIPHER_CTX *stream;
  EVP_MAC_CTX *mac; /* made by the first long message */
};

/* What libcrypto looks up by name, once. A library context of our own: not closed by exit while threads still run. */
static struct {
  pthread_once_t once;
  OSSL_LIB_CTX *library;
  EVP_CIPHER *chacha20;
  EVP_MAC *poly1305;
  size_t crossing;
  int is_usable;
} objects = {.once = PTHREAD_ONCE_INIT};

/* MAC of one frame by either library. */
typedef struct {
  EVP_MAC_CTX *libcrypto; /* NULL: libsodium */
  crypto_onetimeauth_state sodium;
} frame_mac_t;

static int
mac_begin (frame_mac_t *mac, const struct hyper_cipher_contexts_s *contexts, size_t count, const uint8_t *head) {
  mac->libcrypto = count >= LONG ? contexts->mac : NULL;
  if (mac->libcrypto != NULL) return EVP_MAC_init(mac->libcrypto, head, KEY, NULL) == 1;
  return crypto_onetimeauth_init(&mac->sodium, head) == 0;
}

static int
mac_add (frame_mac_t *mac, const uint8_t *bytes, size_t count) {
  if (mac->libcrypto != NULL) return EVP_MAC_update(mac->libcrypto, bytes, count) == 1;
  return crypto_onetimeauth_update(&mac->sodium, bytes, count) == 0;
}

/* Padding and lengths. The padding is the secretstream's own: (count mod 16) zeros. */
static int
mac_end (frame_mac_t *mac, size_t count, uint8_t *result) {
  uint8_t tail[2 * MAC] = {0};
  size_t padding = count % MAC, written = 0;
  uint64_t length = BLOCK + count;
  for (int i = 0; i < 8; i++) tail[padding + 8 + i] = (uint8_t) (length >> (8 * i));
  if (!mac_add(mac, tail, padding + MAC)) return 0;
  if (mac->libcrypto != NULL) return EVP_MAC_final(mac->libcrypto, result, &written, MAC) == 1 && written == MAC;
  return crypto_onetimeauth_final(&mac->sodium, result) == 0;
}

static int
apply_stream (struct hyper_cipher_contexts_s *contexts, uint8_t *target, const uint8_t *source, size_t count) {
  while (count > 0) {
    int step = count < PIECE ? (int) count : PIECE, written = 0;
    if (EVP_EncryptUpdate(contexts->stream, target, &written, source, step) != 1 || written != step) return 0;
    target += step;
    source += step;
    count -= (size_t) step;
  }
  return 1;
}

/* After a frame, as libsodium does it. */
static void
advance (hyper_cipher_t *cipher, const uint8_t *mac, uint8_t tag) {
  uint8_t *counter = cipher->state.nonce, *rest = counter + COUNTER;
  for (int i = 0; i < NONCE - COUNTER; i++) rest[i] ^= mac[i];
  sodium_increment(counter, COUNTER);
  if ((tag & crypto_secretstream_xchacha20poly1305_TAG_REKEY) != 0 || sodium_is_zero(counter, COUNTER)) {
    crypto_secretstream_xchacha20poly1305_rekey(&cipher->state);
    cipher->contexts_have_key = 0;
  }
}

static int
seal_short (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag) {
  uint8_t buffer[HEAD + SHORT];
  frame_mac_t mac;
  memset(buffer, 0, HEAD);
  buffer[BLOCK] = tag;
  memcpy(buffer + HEAD, message, count);
  int done = apply_stream(cipher->contexts, buffer, buffer, HEAD + count) &&
             mac_begin(&mac, cipher->contexts, count, buffer) && mac_add(&mac, buffer + BLOCK, BLOCK + count) &&
             mac_end(&mac, count, body + 1 + count);
  body[0] = buffer[BLOCK];
  memcpy(body + 1, buffer + HEAD, count);
  sodium_memzero(buffer, BLOCK);
  return done;
}

static int
seal_long (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag) {
  uint8_t head[HEAD] = {0}, *target = body + 1;
  frame_mac_t mac;
  head[BLOCK] = tag;
  int done = apply_stream(cipher->contexts, head, head, HEAD) && mac_begin(&mac, cipher->contexts, count, head) &&
             mac_add(&mac, head + BLOCK, BLOCK);
  sodium_memzero(head, BLOCK);
  body[0] = head[BLOCK];
  for (size_t offset = 0; done && offset < count; offset += PIECE) {
    size_t step = count - offset < PIECE ? count - offset : PIECE;
    done =
      apply_stream(cipher->contexts, target + offset, message + offset, step) && mac_add(&mac, target + offset, step);
  }
  return done && mac_end(&mac, count, target + count);
}

int
hyper_libcrypto_seal (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag) {
  int done =
    count <= SHORT ? seal_short(cipher, body, message, count, tag) : seal_long(cipher, body, message, count, tag);
  if (!done) return -1;
  advance(cipher, body + 1 + count, tag);
  return 0;
}

/* The whole of a short message is decrypted with the head, on the stack, and handed out if it authenticates. */
int
hyper_libcrypto_open (hyper_cipher_t *cipher, uint8_t *message, uint8_t *tag, const uint8_t *body, size_t count) {
  uint8_t buffer[HEAD + SHORT], wanted[MAC], opened_tag;
  frame_mac_t mac;
  const uint8_t *source = body + 1;
  size_t length = count - HYPER_CIPHER_OVERHEAD, inside = length <= SHORT ? length : 0;
  memset(buffer, 0, HEAD);
  buffer[BLOCK] = body[0];
  memcpy(buffer + HEAD, source, inside);
  int done = apply_stream(cipher->contexts, buffer, buffer, HEAD + inside);
  opened_tag = buffer[BLOCK];
  buffer[BLOCK] = body[0];
  done = done && mac_begin(&mac, cipher->contexts, length, buffer) && mac_add(&mac, buffer + BLOCK, BLOCK) &&
         mac_add(&mac, source, length) && mac_end(&mac, length, wanted) &&
         sodium_memcmp(wanted, source + length, MAC) == 0;
  if (done) memcpy(message, buffer + HEAD, inside);
  sodium_memzero(buffer, HEAD + inside);
  if (!done || (inside < length && !apply_stream(cipher->contexts, message, source, length))) return -1;
  advance(cipher, wanted, opened_tag);
  *tag = opened_tag;
  return 0;
}

/* The contexts with the key and the position of the cipher's state. */
static int
prepare (hyper_cipher_t *cipher, size_t count) {
  struct hyper_cipher_contexts_s *contexts = cipher->contexts;
  if (contexts == NULL) {
    contexts = cipher->contexts = calloc(1, sizeof(*contexts));
    if (contexts == NULL) return 0;
  }
  if (contexts->stream == NULL) contexts->stream = EVP_CIPHER_CTX_new();
  if (contexts->stream == NULL) return 0;
  if (contexts->mac == NULL && count >= LONG) {
    contexts->mac = EVP_MAC_CTX_new(objects.poly1305);
    if (contexts->mac == NULL) return 0;
  }
  // Block counter, then nonce; every frame begins at block 0.
  uint8_t position[sizeof(uint32_t) + NONCE] = {0};
  memcpy(position + sizeof(uint32_t), cipher->state.nonce, NONCE);
  const EVP_CIPHER *chacha20 = cipher->contexts_have_key ? NULL : objects.chacha20;
  const uint8_t *key = cipher->contexts_have_key ? NULL : cipher->state.k;
  cipher->contexts_have_key = EVP_EncryptInit_ex2(contexts->stream, chacha20, key, position, NULL) == 1;
  return cipher->contexts_have_key;
}

/* Frames of every way through this file, made and read by both libraries. */
static int
agrees_with_sodium (void) {
  static const size_t sizes[] = {SHORT, SHORT + 1, LONG, LONG + 13};
  const uint8_t key[KEY] = {1, 2, 3}, header[crypto_secretstream_xchacha20poly1305_HEADERBYTES] = {4, 5, 6};
  uint8_t message[LONG + 13], ours[sizeof(message) + HYPER_CIPHER_OVERHEAD], theirs[sizeof(ours)], tag = 0;
  hyper_cipher_t sealer, opener;
  int agrees = 1;
  hyper_cipher_init(&sealer, header, key);
  hyper_cipher_init(&opener, header, key);
  crypto_secretstream_xchacha20poly1305_state sodium = sealer.state;
  for (size_t i = 0; i < sizeof(message); i++) message[i] = (uint8_t) (i * 7);
  for (size_t i = 0; agrees && i < sizeof(sizes) / sizeof(*sizes); i++) {
    size_t count = sizes[i];
    uint8_t sent = i % 2 == 0 ? 0 : crypto_secretstream_xchacha20poly1305_TAG_REKEY;
    agrees = crypto_secretstream_xchacha20poly1305_push(&sodium, theirs, NULL, message, count, NULL, 0, sent) == 0 &&
             prepare(&sealer, count) && hyper_libcrypto_seal(&sealer, ours, message, count, sent) == 0 &&
             memcmp(ours, theirs, count + HYPER_CIPHER_OVERHEAD) == 0 && prepare(&opener, count) &&
             hyper_libcrypto_open(&opener, theirs, &tag, ours, count + HYPER_CIPHER_OVERHEAD) == 0 && tag == sent &&
             memcmp(theirs, message, count) == 0;
  }
  hyper_cipher_wipe(&sealer);
  hyper_cipher_wipe(&opener);
  return agrees;
}

/*
 * With vectors of 512 bits, which libsodium does not use, libcrypto is faster from the start. Without them it is from
 * where its Poly1305 pays: below, what its calls cost is more than it saves (docs/decisions/0113). Measured on x86;
 * elsewhere libsodium has no vectors at all.
 */
static size_t
find_crossing (void) {
#if defined(__x86_64__) || defined(__i386__)
  if (sodium_init() < 0 || !sodium_runtime_has_avx512f()) return LONG;
#endif
  return HYPER_CIPHER_LEAST;
}

static void
find_objects (void) {
  objects.crossing = find_crossing();
  objects.library = OSSL_LIB_CTX_new();
  if (objects.library == NULL) return;
  objects.chacha20 = EVP_CIPHER_fetch(objects.library, "ChaCha20", NULL);
  objects.poly1305 = EVP_MAC_fetch(objects.library, "POLY1305", NULL);
  objects.is_usable = objects.chacha20 != NULL && objects.poly1305 != NULL && agrees_with_sodium();
}

int
hyper_cipher_has_libcrypto (void) {
  return pthread_once(&objects.once, find_objects) == 0 && objects.is_usable;
}

size_t
hyper_libcrypto_crossing (void) {
  return objects.crossing;
}

int
hyper_libcrypto_begin (hyper_cipher_t *cipher, size_t count) {
  return prepare(cipher, count);
}

void
hyper_libcrypto_free (hyper_cipher_t *cipher) {
  struct hyper_cipher_contexts_s *contexts = cipher->contexts;
  if (contexts == NULL) return;
  cipher->contexts = NULL;
  cipher->contexts_have_key = 0;
  EVP_CIPHER_CTX_free(contexts->stream); // wipes its key
  EVP_MAC_CTX_free(contexts->mac);       // wiped at the end of every frame
  free(contexts);
}

#else

int
hyper_cipher_has_libcrypto (void) {
  return 0;
}

size_t
hyper_libcrypto_crossing (void) {
  return SIZE_MAX;
}

int
hyper_libcrypto_begin (hyper_cipher_t *cipher, size_t count) {
  (void) cipher, (void) count;
  return 0;
}

int
hyper_libcrypto_seal (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag) {
  (void) cipher, (void) body, (void) message, (void) count, (void) tag;
  return -1;
}

int
hyper_libcrypto_open (hyper_cipher_t *cipher, uint8_t *message, uint8_t *tag, const uint8_t *body, size_t count) {
  (void) cipher, (void) message, (void) tag, (void) body, (void) count;
  return -1;
}

void
hyper_libcrypto_free (hyper_cipher_t *cipher) {
  (void) cipher;
}

#endif
