#ifndef HYPER_CIPHER_LIBCRYPTO_H
#define HYPER_CIPHER_LIBCRYPTO_H

/* The frame cipher over libcrypto 3. Without it, hyper_cipher_has_libcrypto says that it cannot be used. */

#include "hyper_cipher.h"

/* Bytes of a message from which libcrypto is the faster one here, where hyper_cipher_has_libcrypto says that it is. */
size_t
hyper_libcrypto_crossing (void);

/*
 * Makes the contexts ready for the next frame of `cipher`, with a message of `count` bytes, where
 * hyper_cipher_has_libcrypto says that it can be used. False when that fails; nothing of the cipher's state is changed.
 */
int
hyper_libcrypto_begin (hyper_cipher_t *cipher, size_t count);

/* As hyper_cipher_seal and hyper_cipher_open, after hyper_libcrypto_begin has returned true. */
int
hyper_libcrypto_seal (hyper_cipher_t *cipher, uint8_t *body, const uint8_t *message, size_t count, uint8_t tag);

int
hyper_libcrypto_open (hyper_cipher_t *cipher, uint8_t *message, uint8_t *tag, const uint8_t *body, size_t count);

/* Wipes and frees the contexts, if there are any. */
void
hyper_libcrypto_free (hyper_cipher_t *cipher);

#endif
