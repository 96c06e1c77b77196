/*
 * The written invariants of a stream and of an instance, proved by walking them. Compiled in with UDX_CHECKS (debug
 * builds, the simulator, the fuzzers): then every entry point ends with them. Assertions of constant cost are in the
 * mechanisms and in every build.
 */
#ifndef UDX_ENGINE_CHECK_H
#define UDX_ENGINE_CHECK_H

#include "base.h"

#if defined(UDX_CHECKS)
#define UDX_CHECK_STREAM(stream) udx__stream_check_entry(stream)
#define UDX_CHECK_INSTANCE(udx) udx__instance_check(udx)
#else
#define UDX_CHECK_STREAM(stream) ((void) (stream))
#define UDX_CHECK_INSTANCE(udx) ((void) (udx))
#endif

/* Aborts if an invariant of the stream does not hold. Not while the engine is in the middle of a change. */
void
udx__stream_check (const udx_stream_t *stream);

/* The same, unless the engine is on the stack: a callback may call in while the engine changes the stream. */
void
udx__stream_check_entry (const udx_stream_t *stream);

/* The same for what the instance's streams and sockets share, and for the first streams in its list. */
void
udx__instance_check (const udx_t *udx);

#endif
