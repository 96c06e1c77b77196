/* The fuzz target without a fuzzer: the corpus kept in Tests/Fuzz/udx/corpus/program and generated programs. */
#include <dirent.h>

#include "program.h"
#include "test.h"

TEST(corpus) {
  DIR *dir = opendir(FUZZ_CORPUS);
  CHECK(dir != NULL);
  int count = 0;
  struct dirent *entry;
  while ((entry = readdir(dir)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", FUZZ_CORPUS, entry->d_name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    static uint8_t data[65536];
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    program_run(data, size);
    count++;
  }
  closedir(dir);
  printf("  %d inputs\n", count);
  CHECK(count > 0);
}

TEST(generated) {
  const char *text = getenv("UDX_FUZZ_RUNS");
  int runs = text != NULL ? atoi(text) : 5000;
  uint64_t state = 12345;
  for (int i = 0; i < runs; i++) {
    static uint8_t data[2048];
    state = state * 6364136223846793005u + 1442695040888963407u;
    size_t size = 16 + (state >> 33) % (sizeof(data) - 16);
    for (size_t k = 0; k < size; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      data[k] = (uint8_t) (state >> 56);
    }
    program_run(data, size);
  }
  printf("  %d programs\n", runs);
}

TEST_MAIN(TEST_ENTRY(corpus), TEST_ENTRY(generated))
