// hyperswarm.h knows libuv's loop only by name. The implementation sees the whole struct, and so do Swift's tests.
#include <uv.h>

#include "../../include/hyperswarm.h"
