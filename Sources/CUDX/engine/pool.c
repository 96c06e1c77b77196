/* Free lists of equal blocks: the data path allocates only while it grows. */
#include "pool.h"

#include <stdlib.h>

void
udx__pool_init (udx_pool_t *pool, uint32_t block_size, uint32_t cached_max) {
  UDX_ASSERT(block_size >= sizeof(void *));
  pool->free = NULL;
  pool->block_size = block_size;
  pool->cached = 0;
  pool->cached_max = cached_max;
}

void *
udx__pool_get (udx_pool_t *pool) {
  UDX_ASSERT(pool->block_size >= sizeof(void *));
  UDX_ASSERT((pool->free == NULL) == (pool->cached == 0));
  void *block = pool->free;
  if (block == NULL) return malloc(pool->block_size);
  memcpy(&pool->free, block, sizeof(void *));
  pool->cached--;
  return block;
}

void
udx__pool_put (udx_pool_t *pool, void *block) {
  UDX_ASSERT(pool->cached <= pool->cached_max);
  UDX_ASSERT(block != NULL && block != pool->free);
  if (pool->cached >= pool->cached_max) {
    free(block);
    return;
  }
  memcpy(block, &pool->free, sizeof(void *));
  pool->free = block;
  pool->cached++;
}

void
udx__pool_drain (udx_pool_t *pool) {
  UDX_ASSERT(pool->cached <= pool->cached_max);
  while (pool->free != NULL) {
    void *block = pool->free;
    memcpy(&pool->free, block, sizeof(void *));
    free(block);
  }
  pool->cached = 0;
}
