/* The frame cipher against libsodium's secretstream: same bytes, same state, whatever takes the frame. */
#include "hyper_cipher.h"
#include "test.h"

enum { LARGEST = 70000, OVERHEAD = HYPER_CIPHER_OVERHEAD };

typedef crypto_secretstream_xchacha20poly1305_state sodium_t;

static const uint8_t key[32] = {1, 2, 3}, header[24] = {4, 5, 6};
static uint8_t message[LARGEST], ours[LARGEST + OVERHEAD], theirs[LARGEST + OVERHEAD], opened[LARGEST + 1];

/* What is used: 0 by size, 1 libcrypto wherever it can be. */
static int way;

static void
begin (hyper_cipher_t *sealer, hyper_cipher_t *opener) {
  hyper_cipher_init(sealer, header, key);
  hyper_cipher_init(opener, header, key);
  if (way == 0) return;
  hyper_cipher_use_libcrypto(sealer);
  hyper_cipher_use_libcrypto(opener);
}

/* A generator whose runs repeat. */
static uint32_t seed = 1;
static uint32_t
draw (void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  return seed ^= seed << 5;
}
static void
fill (void) {
  for (size_t i = 0; i < LARGEST; i++) message[i] = (uint8_t) draw();
}

static int
has_same_state (const hyper_cipher_t *cipher, const sodium_t *sodium) {
  return memcmp(cipher->state.k, sodium->k, sizeof(sodium->k)) == 0 &&
         memcmp(cipher->state.nonce, sodium->nonce, sizeof(sodium->nonce)) == 0;
}

/* One message: sealed by both, opened by the cipher and by libsodium. */
static void
exchange (hyper_cipher_t *sealer, hyper_cipher_t *opener, sodium_t *push, sodium_t *pull, size_t count, uint8_t tag) {
  uint8_t got = 0xff;
  CHECK_EQ(crypto_secretstream_xchacha20poly1305_push(push, theirs, NULL, message, count, NULL, 0, tag), 0);
  CHECK_EQ(hyper_cipher_seal(sealer, ours, message, count, tag), 0);
  CHECK(memcmp(ours, theirs, count + OVERHEAD) == 0);
  CHECK(has_same_state(sealer, push));
  opened[count] = 0x5a;
  CHECK_EQ(hyper_cipher_open(opener, opened, &got, ours, count + OVERHEAD), 0);
  CHECK_EQ(got, tag);
  CHECK(memcmp(opened, message, count) == 0 && opened[count] == 0x5a);
  CHECK_EQ(crypto_secretstream_xchacha20poly1305_pull(pull, opened, NULL, &got, ours, count + OVERHEAD, NULL, 0), 0);
  CHECK(has_same_state(opener, pull));
}

TEST(uses_libcrypto_where_it_is_built_in) {
#ifdef HYPER_LIBCRYPTO
  CHECK(hyper_cipher_has_libcrypto());
#else
  CHECK(!hyper_cipher_has_libcrypto());
#endif
}

static void
every_short_length_and_random_long_ones_once (void) {
  hyper_cipher_t sealer, opener;
  begin(&sealer, &opener);
  sodium_t push = sealer.state, pull = sealer.state;
  fill();
  for (size_t count = 0; count <= 2200; count++) exchange(&sealer, &opener, &push, &pull, count, 0);
  for (int i = 0; i < 300; i++) {
    exchange(&sealer, &opener, &push, &pull, draw() % (LARGEST + 1), (uint8_t) (draw() % 4));
  }
  hyper_cipher_wipe(&sealer);
  hyper_cipher_wipe(&opener);
}

TEST(every_short_length_and_random_long_ones) {
  for (way = 0; way < 2; way++) every_short_length_and_random_long_ones_once();
  way = 0;
}

static void
all_tags_and_trims_in_any_order_once (void) {
  hyper_cipher_t sealer, opener;
  begin(&sealer, &opener);
  sodium_t push = sealer.state, pull = sealer.state;
  for (int i = 0; i < 4000; i++) {
    size_t count = draw() % (i % 5 == 0 ? 3000 : 200);
    exchange(&sealer, &opener, &push, &pull, count, (uint8_t) (draw() % 4));
    if (draw() % 16 == 0) hyper_cipher_trim(&sealer);
    if (draw() % 16 == 0) hyper_cipher_trim(&opener);
  }
  hyper_cipher_wipe(&sealer);
  hyper_cipher_wipe(&opener);
}

TEST(all_tags_and_trims_in_any_order) {
  for (way = 0; way < 2; way++) all_tags_and_trims_in_any_order_once();
  way = 0;
}

static void
rekeys_when_the_counter_wraps_once (void) {
  static const size_t counts[] = {0, 15, 16, 64, 896, 897, 1024, 5000};
  for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
    hyper_cipher_t sealer, opener;
    begin(&sealer, &opener);
    memset(sealer.state.nonce, 0xff, 4);
    sealer.state.nonce[0] = 0xfd;
    opener.state = sealer.state;
    sodium_t push = sealer.state, pull = sealer.state;
    for (int j = 0; j < 6; j++) exchange(&sealer, &opener, &push, &pull, counts[i], 0);
    CHECK(memcmp(sealer.state.k, key, sizeof(key)) != 0);
    CHECK_EQ(sealer.state.nonce[0], 4);
    hyper_cipher_wipe(&sealer);
    hyper_cipher_wipe(&opener);
  }
}

TEST(rekeys_when_the_counter_wraps) {
  for (way = 0; way < 2; way++) rekeys_when_the_counter_wraps_once();
  way = 0;
}

static void
seals_and_opens_in_place_once (void) {
  static uint8_t frame[LARGEST + OVERHEAD];
  hyper_cipher_t sealer, opener;
  begin(&sealer, &opener);
  sodium_t push = sealer.state;
  for (int i = 0; i < 400; i++) {
    size_t count = draw() % (i % 4 == 0 ? LARGEST : 2000);
    uint8_t tag;
    CHECK_EQ(crypto_secretstream_xchacha20poly1305_push(&push, theirs, NULL, message, count, NULL, 0, 0), 0);
    memcpy(frame + 1, message, count);
    CHECK_EQ(hyper_cipher_seal(&sealer, frame, frame + 1, count, 0), 0);
    CHECK(memcmp(frame, theirs, count + OVERHEAD) == 0);
    CHECK_EQ(hyper_cipher_open(&opener, frame + 1, &tag, frame, count + OVERHEAD), 0);
    CHECK(memcmp(frame + 1, message, count) == 0);
  }
  hyper_cipher_wipe(&sealer);
  hyper_cipher_wipe(&opener);
}

TEST(seals_and_opens_in_place) {
  for (way = 0; way < 2; way++) seals_and_opens_in_place_once();
  way = 0;
}

/* Every part of a body counts; a forged one changes nothing, and the true one is accepted afterwards. */
static void
forged_bodies_change_nothing_once (void) {
  static const size_t counts[] = {0, 15, 16, 17, 500, 896, 897, 1023, 1024, 4099, 40000};
  hyper_cipher_t sealer, opener;
  begin(&sealer, &opener);
  for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
    size_t count = counts[i], size = count + OVERHEAD;
    size_t places[] = {0, 1, size / 2, size - 17, size - 16, size - 1};
    sodium_t before = opener.state;
    uint8_t tag = 0xff;
    CHECK_EQ(hyper_cipher_seal(&sealer, ours, message, count, 0), 0);
    memset(opened, 0x5a, count + 1);
    for (size_t j = 0; j < sizeof(places) / sizeof(*places); j++) {
      ours[places[j]] ^= 0x10;
      CHECK(hyper_cipher_open(&opener, opened, &tag, ours, size) < 0);
      ours[places[j]] ^= 0x10;
      CHECK(has_same_state(&opener, &before));
      CHECK_EQ(tag, 0xff);
      for (size_t k = 0; k <= count; k++) CHECK_EQ(opened[k], 0x5a);
    }
    if (count > 0) CHECK(hyper_cipher_open(&opener, opened, &tag, ours, size - 1) < 0);
    CHECK_EQ(hyper_cipher_open(&opener, opened, &tag, ours, size), 0);
    CHECK(memcmp(opened, message, count) == 0);
  }
  CHECK(hyper_cipher_open(&opener, opened, opened, ours, OVERHEAD - 1) < 0);
  hyper_cipher_wipe(&sealer);
  hyper_cipher_wipe(&opener);
}

TEST(forged_bodies_change_nothing) {
  for (way = 0; way < 2; way++) forged_bodies_change_nothing_once();
  way = 0;
}

TEST(libsodium_alone_makes_the_same_frames) {
  hyper_cipher_t sealer, opener;
  begin(&sealer, &opener);
  sodium_t push = sealer.state, pull = sealer.state;
  exchange(&sealer, &opener, &push, &pull, 3000, 0);
  hyper_cipher_use_sodium(&sealer);
  for (int i = 0; i < 10; i++) exchange(&sealer, &opener, &push, &pull, draw() % 3000, (uint8_t) (draw() % 4));
  CHECK(sealer.contexts == NULL);
  hyper_cipher_wipe(&sealer);
  hyper_cipher_wipe(&opener);
}

TEST(wiping_leaves_nothing) {
  static const hyper_cipher_t empty;
  hyper_cipher_t cipher;
  hyper_cipher_init(&cipher, header, key);
  CHECK_EQ(hyper_cipher_seal(&cipher, ours, message, 5000, 0), 0);
  hyper_cipher_trim(&cipher);
  CHECK(cipher.contexts == NULL);
  hyper_cipher_use_libcrypto(&cipher);
  CHECK_EQ(hyper_cipher_seal(&cipher, ours, message, 50, 0), 0);
  hyper_cipher_wipe(&cipher);
  CHECK(memcmp(&cipher, &empty, sizeof(cipher)) == 0);
}

/* Keepalives and other tiny messages make no contexts: an idle stream holds none. */
TEST(tiny_messages_need_no_contexts) {
  hyper_cipher_t cipher;
  hyper_cipher_init(&cipher, header, key);
  for (size_t count = 0; count < HYPER_CIPHER_LEAST; count++) {
    CHECK_EQ(hyper_cipher_seal(&cipher, ours, message, count, 0), 0);
  }
  CHECK(cipher.contexts == NULL);
  hyper_cipher_wipe(&cipher);
}

/* What takes a message of either size is the faster one of this processor; both have the contexts to show for it. */
TEST(the_choice_depends_on_size_and_processor) {
  static const size_t counts[] = {16, 1023, 1024};
  int is_wide = 1;
#if defined(__x86_64__) || defined(__i386__)
  is_wide = sodium_init() >= 0 && sodium_runtime_has_avx512f();
#endif
  for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
    hyper_cipher_t cipher;
    hyper_cipher_init(&cipher, header, key);
    CHECK_EQ(hyper_cipher_seal(&cipher, ours, message, counts[i], 0), 0);
    CHECK_EQ(cipher.contexts != NULL, hyper_cipher_has_libcrypto() && (is_wide || counts[i] == 1024));
    hyper_cipher_wipe(&cipher);
  }
}

TEST_MAIN(TEST_ENTRY(uses_libcrypto_where_it_is_built_in), TEST_ENTRY(every_short_length_and_random_long_ones),
  TEST_ENTRY(all_tags_and_trims_in_any_order), TEST_ENTRY(rekeys_when_the_counter_wraps),
  TEST_ENTRY(seals_and_opens_in_place), TEST_ENTRY(forged_bodies_change_nothing),
  TEST_ENTRY(libsodium_alone_makes_the_same_frames), TEST_ENTRY(wiping_leaves_nothing),
  TEST_ENTRY(tiny_messages_need_no_contexts), TEST_ENTRY(the_choice_depends_on_size_and_processor))
