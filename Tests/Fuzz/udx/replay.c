/* A fuzz target without a fuzzer: runs every file of the directories, then generated inputs.
     fuzz_NAME [-runs=COUNT] [-seed=FIRST] [-max_len=BYTES] PATH ...
   Generated input i follows from the seed FIRST + i alone; a failure prints it, and -runs=1 -seed=N runs it again. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "fuzz.h"

enum { INPUT_MAX = 1 << 20 }; /* bytes; more than any target accepts */

static char current[1024];

static void
report (void) {
  fprintf(stderr, "input: %s\n", current);
}

/* The input lies in a block of exactly its size, so that the sanitizer sees a read past its end. */
static void
run (const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size > 0 ? size : 1);
  CHECK(copy != NULL);
  if (size > 0) memcpy(copy, data, size);
  check_set_report(report);
  (void) LLVMFuzzerTestOneInput(copy, size);
  free(copy);
}

static bool
run_file (const char *path) {
  static uint8_t data[INPUT_MAX];
  FILE *file = fopen(path, "rb");
  if (file == NULL) return false;
  size_t size = fread(data, 1, sizeof(data), file);
  bool complete = !ferror(file);
  fclose(file);
  if (!complete) return false;
  snprintf(current, sizeof(current), "%s", path);
  run(data, size);
  return true;
}

static int
run_path (const char *path) {
  DIR *dir = opendir(path);
  if (dir == NULL) {
    if (errno == ENOTDIR && run_file(path)) return 1;
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(1);
  }
  int count = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    char name[4096];
    int length = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
    if (length < 0 || (size_t) length >= sizeof(name) || !run_file(name)) {
      fprintf(stderr, "%s/%s: cannot be read\n", path, entry->d_name);
      exit(1);
    }
    count++;
  }
  closedir(dir);
  return count;
}

static void
run_generated (uint64_t seed, size_t max_len) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  static uint8_t data[INPUT_MAX];
  state = state * 6364136223846793005u + 1442695040888963407u;
  size_t size = 16 + (size_t) (state >> 33) % (max_len - 15);
  for (size_t i = 0; i < size; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    data[i] = (uint8_t) (state >> 56);
  }
  snprintf(current, sizeof(current), "-runs=1 -seed=%" PRIu64 " -max_len=%zu", seed, max_len);
  run(data, size);
}

int
main (int argc, char **argv) {
  uint64_t runs = 0, seed = 1;
  size_t max_len = 600;
  int files = 0;
  for (int i = 1; i < argc; i++) {
    if (strncmp(argv[i], "-runs=", 6) == 0) runs = strtoull(argv[i] + 6, NULL, 10);
    else if (strncmp(argv[i], "-seed=", 6) == 0) seed = strtoull(argv[i] + 6, NULL, 10);
    else if (strncmp(argv[i], "-max_len=", 9) == 0) max_len = (size_t) strtoull(argv[i] + 9, NULL, 10);
    else if (argv[i][0] == '-') return 64;
  }
  if (max_len < 16 || max_len > INPUT_MAX) return 64;
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-') files += run_path(argv[i]);
  }
  for (uint64_t i = 0; i < runs; i++) run_generated(seed + i, max_len);
  printf("%d inputs of the corpus, %" PRIu64 " generated from seed %" PRIu64 "\n", files, runs, seed);
  return files == 0 && runs == 0;
}
