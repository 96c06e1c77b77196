#ifndef HYPERSWARM_CSODIUM_SHIM_H
#define HYPERSWARM_CSODIUM_SHIM_H
#include <sodium.h>
#endif
