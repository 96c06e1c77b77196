#ifndef HYPER_BLAKE2B_H
#define HYPER_BLAKE2B_H

/*
 * BLAKE2b-256 (RFC 7693) of several inputs at once, one in each lane of a vector: 2 to 3 times as many bytes a second
 * as one input after the other. Unkeyed. Needs AVX2; elsewhere there is libsodium.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HYPER_BLAKE2B_LANES = 4, HYPER_BLAKE2B_BLOCK = 128, HYPER_BLAKE2B_BYTES = 32 };

typedef struct hyper_blake2b_s {
  uint64_t h[8][HYPER_BLAKE2B_LANES];
  uint64_t count; /* bytes of each input so far */
} hyper_blake2b_t;

/* Whether this processor can. */
int
hyper_blake2b_has_lanes (void);

/* Whether lanes are faster, too: not in a build without optimisation, where each operation goes through memory. */
int
hyper_blake2b_prefers_lanes (void);

/* All below only where `hyper_blake2b_has_lanes`. */
void
hyper_blake2b_init (hyper_blake2b_t *state);

/*
 * Takes so many bytes of each input, a multiple of the block. With `is_last` they are the last ones, one block at
 * least; `hyper_blake2b_digest` follows.
 */
void
hyper_blake2b_update (
  hyper_blake2b_t *state, const uint8_t *const inputs[HYPER_BLAKE2B_LANES], size_t count, int is_last);

void
hyper_blake2b_digest (const hyper_blake2b_t *state, int lane, uint8_t digest[HYPER_BLAKE2B_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
