/* The random source of a simulation: xoshiro256**, seeded by splitmix64. */
#include "internal.h"

static uint64_t
rotate (uint64_t x, int k) {
  return x << k | x >> (64 - k);
}

uint64_t
sim_random (sim_t *sim) {
  uint64_t *s = sim->state;
  uint64_t result = rotate(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

bool
sim__chance (sim_t *sim, double probability) {
  if (probability <= 0) return false;
  return (double) (sim_random(sim) >> 11) / 9007199254740992.0 < probability;
}

void
sim__random_seed (sim_t *sim, uint64_t seed) {
  uint64_t x = seed;
  for (int i = 0; i < 4; i++) {
    uint64_t z = (x += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    sim->state[i] = z ^ z >> 31;
  }
}
