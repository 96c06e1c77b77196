#ifndef HYPERSWARM_CCRYPTO_SHIM_H
#define HYPERSWARM_CCRYPTO_SHIM_H
#include <openssl/evp.h>
#endif
