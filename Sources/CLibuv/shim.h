#ifndef HYPERSWARM_CLIBUV_SHIM_H
#define HYPERSWARM_CLIBUV_SHIM_H
#include <uv.h>
#endif
