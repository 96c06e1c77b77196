/* Free lists of equal blocks. */
#ifndef UDX_ENGINE_POOL_H
#define UDX_ENGINE_POOL_H

#include "base.h"

typedef struct udx_pool_s {
  void *free;
  uint32_t block_size;
  uint32_t cached;
  uint32_t cached_max;
} udx_pool_t;

void
udx__pool_init (udx_pool_t *pool, uint32_t block_size, uint32_t cached_max);

void *
udx__pool_get (udx_pool_t *pool);

void
udx__pool_put (udx_pool_t *pool, void *block);

void
udx__pool_drain (udx_pool_t *pool);

#endif
