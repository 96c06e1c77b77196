// Part of hyperswarm.h: loops for programs whose own loop is not libuv's.

#ifndef HYPERSWARM_LOOP_H
#define HYPERSWARM_LOOP_H

#include "hyperswarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// @addtogroup loops
///
/// A program with a loop of another kind (epoll, kqueue, GLib, Qt, asyncio) embeds swarms without a thread: it makes a
/// loop here, gives it to swarms as `options.loop`, watches its descriptor for reading, and calls hyperswarm_process
/// when the descriptor is readable or the time is up:
///
///     hyperswarm_loop_create(&loop);
///     for (;;) {
///       struct pollfd poll_fd = {.fd = hyperswarm_loop_fd(loop), .events = POLLIN};
///       poll(&poll_fd, 1, hyperswarm_loop_timeout(loop));
///       hyperswarm_process(loop);
///     }
///
/// All callbacks come inside hyperswarm_process. What is called between two turns may bring the next deadline nearer:
/// ask for the timeout right before waiting. Programs with a libuv loop of their own give that to the swarm, and need
/// nothing of this. For such a loop, and any other pointer, these functions return HYPERSWARM_ERR_BAD_HANDLE.
/// @{

/// Makes a loop for the calling thread, on which hyperswarm_process will be called.
/// @thread any
/// @memory `*loop` is valid until hyperswarm_loop_destroy; NULL after a failure.
/// @errors HYPERSWARM_ERR_INVALID_ARGUMENT; HYPERSWARM_ERR_LOOP_FAILED: no descriptors.
int hyperswarm_loop_create(struct uv_loop_s **loop);

/// The descriptor to watch for reading, the same for the life of the loop. Only to be waited for, in whatever way.
/// @thread any
/// @memory The descriptor belongs to the loop.
/// @errors _handle_.
int hyperswarm_loop_fd(struct uv_loop_s *loop);

/// Milliseconds until hyperswarm_process has to be called though the descriptor is not readable. 0: at once; -1: never,
/// as for poll and epoll_wait; an error is a number below that.
/// @thread loop
/// @memory None.
/// @errors _call_.
int hyperswarm_loop_timeout(struct uv_loop_s *loop);

/// Does everything that is due, callbacks included, and does not wait. Early or needless calls are harmless. Returns 1
/// while something lives on the loop, 0 when nothing does: after the `done` of the last hyperswarm_destroy.
/// @thread loop
/// @memory None.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT: inside a callback of this loop.
int hyperswarm_process(struct uv_loop_s *loop);

/// Frees a loop on which nothing lives any more, hyperswarm_process having returned 0.
/// @thread loop
/// @memory `loop` is gone when it returns HYPERSWARM_OK, and as it was otherwise.
/// @errors _call_; HYPERSWARM_ERR_INVALID_ARGUMENT: inside a callback of this loop; HYPERSWARM_ERR_LOOP_FAILED:
/// something still lives on it.
int hyperswarm_loop_destroy(struct uv_loop_s *loop);

/// @}

#ifdef __cplusplus
}
#endif

#endif
