#include "hyper_blake2b.h"

#include <assert.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__clang__) || defined(__GNUC__))
#include <immintrin.h>

#define LANES __attribute__((target("avx2")))
#define INLINE LANES __attribute__((always_inline)) static inline

static const uint64_t iv[8] = {
  0x6a09e667f3bcc908,
  0xbb67ae8584caa73b,
  0x3c6ef372fe94f82b,
  0xa54ff53a5f1d36f1,
  0x510e527fade682d1,
  0x9b05688c2b3e6c1f,
  0x1f83d9abfb41bd6b,
  0x5be0cd19137e2179,
};

static const uint8_t sigma[10][16] = {
  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
  {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
  {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
  {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
  {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
  {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
  {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
  {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
  {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
  {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

int
hyper_blake2b_has_lanes (void) {
  return __builtin_cpu_supports("avx2") != 0;
}

int
hyper_blake2b_prefers_lanes (void) {
#ifdef __OPTIMIZE__
  return hyper_blake2b_has_lanes();
#else
  return 0;
#endif
}

void
hyper_blake2b_init (hyper_blake2b_t *state) {
  for (int i = 0; i < 8; i++) {
    // 32 bytes of digest, no key, no tree.
    uint64_t word = i == 0 ? iv[0] ^ 0x01010020 : iv[i];
    for (int lane = 0; lane < HYPER_BLAKE2B_LANES; lane++) state->h[i][lane] = word;
  }
  state->count = 0;
}

/* The 16 words of a block of each input: word i of all lanes in m[i]. */
INLINE void
load (__m256i m[16], const uint8_t *const inputs[HYPER_BLAKE2B_LANES], size_t offset) {
  for (int i = 0; i < 16; i += 4) {
    size_t at = offset + 8 * (size_t) i;
    __m256i a = _mm256_loadu_si256((const void *) (inputs[0] + at));
    __m256i b = _mm256_loadu_si256((const void *) (inputs[1] + at));
    __m256i c = _mm256_loadu_si256((const void *) (inputs[2] + at));
    __m256i d = _mm256_loadu_si256((const void *) (inputs[3] + at));
    __m256i ab0 = _mm256_unpacklo_epi64(a, b), ab1 = _mm256_unpackhi_epi64(a, b);
    __m256i cd0 = _mm256_unpacklo_epi64(c, d), cd1 = _mm256_unpackhi_epi64(c, d);
    m[i] = _mm256_permute2x128_si256(ab0, cd0, 0x20);
    m[i + 1] = _mm256_permute2x128_si256(ab1, cd1, 0x20);
    m[i + 2] = _mm256_permute2x128_si256(ab0, cd0, 0x31);
    m[i + 3] = _mm256_permute2x128_si256(ab1, cd1, 0x31);
  }
}

INLINE __m256i
rotated (__m256i x, int bits) {
  const __m256i by24 = _mm256_setr_epi8(
    3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
  const __m256i by16 = _mm256_setr_epi8(
    2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
  switch (bits) {
  case 32:
    return _mm256_shuffle_epi32(x, 0xb1);
  case 24:
    return _mm256_shuffle_epi8(x, by24);
  case 16:
    return _mm256_shuffle_epi8(x, by16);
  default:
    return _mm256_or_si256(_mm256_srli_epi64(x, 63), _mm256_add_epi64(x, x));
  }
}

/* The function G of RFC 7693, section 3.1. */
INLINE void
mix (__m256i v[16], int a, int b, int c, int d, __m256i x, __m256i y) {
  v[a] = _mm256_add_epi64(_mm256_add_epi64(v[a], v[b]), x);
  v[d] = rotated(_mm256_xor_si256(v[d], v[a]), 32);
  v[c] = _mm256_add_epi64(v[c], v[d]);
  v[b] = rotated(_mm256_xor_si256(v[b], v[c]), 24);
  v[a] = _mm256_add_epi64(_mm256_add_epi64(v[a], v[b]), y);
  v[d] = rotated(_mm256_xor_si256(v[d], v[a]), 16);
  v[c] = _mm256_add_epi64(v[c], v[d]);
  v[b] = rotated(_mm256_xor_si256(v[b], v[c]), 63);
}

INLINE void
mix_all (__m256i v[16], const __m256i m[16], const uint8_t s[16]) {
  mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
  mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
  mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
  mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
  mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
  mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
  mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
  mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
}

LANES static void
compress (__m256i h[8], const __m256i m[16], uint64_t count, int is_last) {
  __m256i v[16];
  for (int i = 0; i < 8; i++) {
    v[i] = h[i];
    v[i + 8] = _mm256_set1_epi64x((long long) iv[i]);
  }
  v[12] = _mm256_xor_si256(v[12], _mm256_set1_epi64x((long long) count));
  if (is_last) v[14] = _mm256_xor_si256(v[14], _mm256_set1_epi64x(-1));
  // Written out, so that the compiler knows which words are taken.
  mix_all(v, m, sigma[0]);
  mix_all(v, m, sigma[1]);
  mix_all(v, m, sigma[2]);
  mix_all(v, m, sigma[3]);
  mix_all(v, m, sigma[4]);
  mix_all(v, m, sigma[5]);
  mix_all(v, m, sigma[6]);
  mix_all(v, m, sigma[7]);
  mix_all(v, m, sigma[8]);
  mix_all(v, m, sigma[9]);
  mix_all(v, m, sigma[0]);
  mix_all(v, m, sigma[1]);
  for (int i = 0; i < 8; i++) h[i] = _mm256_xor_si256(h[i], _mm256_xor_si256(v[i], v[i + 8]));
}

LANES void
hyper_blake2b_update (
  hyper_blake2b_t *state, const uint8_t *const inputs[HYPER_BLAKE2B_LANES], size_t count, int is_last) {
  assert(count % HYPER_BLAKE2B_BLOCK == 0 && (!is_last || count > 0));
  __m256i h[8], m[16];
  for (int i = 0; i < 8; i++) h[i] = _mm256_loadu_si256((const void *) state->h[i]);
  for (size_t offset = 0; offset < count; offset += HYPER_BLAKE2B_BLOCK) {
    state->count += HYPER_BLAKE2B_BLOCK;
    load(m, inputs, offset);
    compress(h, m, state->count, is_last && offset + HYPER_BLAKE2B_BLOCK == count);
  }
  for (int i = 0; i < 8; i++) _mm256_storeu_si256((void *) state->h[i], h[i]);
}

void
hyper_blake2b_digest (const hyper_blake2b_t *state, int lane, uint8_t digest[HYPER_BLAKE2B_BYTES]) {
  for (int i = 0; i < HYPER_BLAKE2B_BYTES / 8; i++) {
    // x86 is little-endian, as the digest is.
    memcpy(digest + 8 * i, &state->h[i][lane], 8);
  }
}

#else

int
hyper_blake2b_has_lanes (void) {
  return 0;
}

int
hyper_blake2b_prefers_lanes (void) {
  return 0;
}

void
hyper_blake2b_init (hyper_blake2b_t *state) {
  memset(state, 0, sizeof(*state));
}

void
hyper_blake2b_update (
  hyper_blake2b_t *state, const uint8_t *const inputs[HYPER_BLAKE2B_LANES], size_t count, int is_last) {
  (void) state, (void) inputs, (void) count, (void) is_last;
  assert(!"there are no lanes");
}

void
hyper_blake2b_digest (const hyper_blake2b_t *state, int lane, uint8_t digest[HYPER_BLAKE2B_BYTES]) {
  (void) state, (void) lane;
  memset(digest, 0, HYPER_BLAKE2B_BYTES);
}

#endif
