/*
 * What every mechanism of the engine needs: the public types, assertions, branch hints, minimum and maximum.
 * The engine calls nothing but the driver, the callbacks of the application and, for growth, malloc; it never reads
 * a clock and never blocks. Times are microseconds of the driver's clock; UDX_NEVER means "no deadline".
 */
#ifndef UDX_ENGINE_BASE_H
#define UDX_ENGINE_BASE_H

#include <string.h>

#include "udx.h"
#include "udx_driver.h"

#include "limits.h"
#include "seq.h"

/*
 * A fused multiply-add rounds once where two operations round twice, so a processor that has one computes another
 * rate, and a seed of the simulator does not replay. gcc ignores the pragma: CMake passes -ffp-contract=off.
 */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#if !defined(UDX_STATIC_ANALYSIS) && defined(__GNUC__)
#define UDX_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define UDX_UNLIKELY(x) (x)
#endif

/* Prints the place and the condition and aborts. */
_Noreturn void
udx__assert_failed (const char *file, int line, const char *condition);

/* States an invariant of the engine, in every build: a broken one ends the process before it damages data. */
#define UDX_ASSERT(condition)                                                                                          \
  do {                                                                                                                 \
    if (UDX_UNLIKELY(!(condition))) udx__assert_failed(__FILE__, __LINE__, #condition);                                \
  } while (0)

/*
 * The same in debug builds, the simulator and the fuzzers only: for what runs with every packet. All assertions that
 * stay on cost at most 3 % of the instructions of a packet.
 */
#if defined(UDX_CHECKS)
#define UDX_DEBUG_ASSERT(condition) UDX_ASSERT(condition)
#else
#define UDX_DEBUG_ASSERT(condition) ((void) sizeof(!(condition)))
#endif

/*
 * The engine's state of a public struct lies in its `reserved` words. Part of them stays free, so that later versions
 * of the engine fit into programs that were compiled with this header.
 */
#define UDX_ROOM(type, state)                                                                                          \
  _Static_assert(                                                                                                      \
    sizeof(state) + UDX_ROOM_SPARE <= sizeof(((type *) 0)->reserved), #state " fits, with room to spare");             \
  _Static_assert(_Alignof(state) <= _Alignof(uint64_t), #state " is aligned")

/* name(x) gives the state of x, const if x is. */
#define UDX_ACCESSOR(name, type, state)                                                                                \
  static inline state *name##_mutable(type *object) {                                                                  \
    return (state *) (void *) object->reserved;                                                                        \
  }                                                                                                                    \
  static inline const state *name##_const(const type *object) {                                                        \
    return (const state *) (const void *) object->reserved;                                                            \
  }
#define UDX_ACCESS(name, type, x) _Generic((x), const type * : name##_const, type * : name##_mutable)(x)

static inline uint32_t
udx__min_u32 (uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static inline uint32_t
udx__max_u32 (uint32_t a, uint32_t b) {
  return a > b ? a : b;
}

static inline uint64_t
udx__min_u64 (uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static inline uint64_t
udx__max_u64 (uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

#endif
