/* State of CUBIC (RFC 9438). */
#ifndef UDX_ENGINE_CONGESTION_CUBIC_H
#define UDX_ENGINE_CONGESTION_CUBIC_H

#include "base.h"

typedef struct udx_cubic_s {
  double w_max;
  double k;
  double w_est;
  double fraction;
  uint64_t epoch_start;
} udx_cubic_t;

#endif
