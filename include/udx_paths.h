/*
 * What libudx has not: streams that move to another path, and what relays and firewalls do with paths. Part of udx.h,
 * which includes it.
 */
#ifndef UDX_PATHS_H
#define UDX_PATHS_H

#include "udx.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Quotas of a relaying stream. */
#define UDX_RELAY_QUOTAS 4

/*
 * The peer has another address, or this side leaves from another one, and the old path is gone. Ids stay; everything
 * outstanding is sent again, to the new address and at once; round-trip time, congestion window and path MTU are
 * measured anew. The caller has validated the address, which is a sign of life of the peer: the time to give up starts
 * anew. A bound socket; also a stream that relays.
 */
UDX_EXTERN int
udx_stream_migrate (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *remote_addr);

/*
 * The path in use is to carry what was sent over former ones (udx_stream_change_remote), too, which may never be
 * acknowledged there: everything outstanding is sent again, at once, and the path is measured anew. Nothing is known of
 * the peer, so the time to give up goes on, and it counts as a timeout. UV_EINVAL unless connected, or for a stream
 * that relays.
 */
UDX_EXTERN int
udx_stream_reroute (udx_stream_t *stream);

/*
 * The caller has learned that the peer is there, on the path in use: the retransmission timeout is now, not after the
 * rest of its back-off. Nothing is measured anew, and the timeouts go on counting. UV_EINVAL unless connected.
 */
UDX_EXTERN int
udx_stream_retransmit (udx_stream_t *stream);

/*
 * Packets of this host take another way out than before. Answers leave from the address that was asked for some seconds
 * after the question: what was asked until now is forgotten, as that address may lead nowhere any more.
 */
UDX_EXTERN void
udx_forget_asked (udx_t *udx);

/*
 * 1 once the remote in use has acknowledged, from its own address, what was sent to it since the last change, or for
 * one with udx_stream_limit_unheard once it was heard; or 0.
 */
UDX_EXTERN int
udx_stream_path_validated (udx_stream_t *stream);

/*
 * What streams that share the quota may forward together: bytes a second in the long run, and at once; a rate of 0
 * makes the burst all there is. Packets above are dropped, all but a DESTROY. The memory is the caller's and outlives
 * the streams.
 */
typedef struct udx_relay_quota_s {
  uint64_t bytes_per_second;
  uint64_t burst;
  uint64_t packets_dropped;

  uint64_t level;     /* private */
  uint64_t filled_at; /* private */
} udx_relay_quota_t;

UDX_EXTERN void
udx_relay_quota_init (udx_t *udx, udx_relay_quota_t *quota, uint64_t bytes_per_second, uint64_t burst);

/* Up to UDX_RELAY_QUOTAS of them for what arrives for `stream`; UV_ENOBUFS beyond. */
UDX_EXTERN int
udx_stream_add_relay_quota (udx_stream_t *stream, udx_relay_quota_t *quota);

/*
 * The firewall is asked for packets that come over another socket than the stream's. Non-zero: also for those that come
 * over the same one, but not from the remote.
 */
UDX_EXTERN int
udx_stream_firewall_sources (udx_stream_t *stream, int enabled);

/*
 * Whether `bufs`, which came from a source that is no path of the stream, continue what was read, or are a message of
 * the peer: 0 if so; how many bytes it takes to tell, from the first of them on; UV_EAGAIN if it cannot be told now;
 * any other error if not. The callback looks, and changes nothing: it calls no function of the stream.
 */
typedef ssize_t (*udx_stream_source_cb)(
  udx_stream_t *stream, int is_message, const uv_buf_t bufs[], unsigned int bufs_len);
/*
 * The remote is silent, and packets for it stay unanswered or the peer repeats its own, while the peer is heard from
 * there, a source that has proved itself: udx_stream_migrate, inside the call, lets the stream follow. Or the source
 * has just proved itself, and nothing has come from a remote with udx_stream_limit_unheard.
 */
typedef void (*udx_stream_stray_cb)(udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from);

/*
 * The source check, for streams whose bytes are authenticated above: packets count only if they come over a path of the
 * stream, which is its remote, a former one, or a source that has proved itself. DATA, END and DESTROY from elsewhere
 * are held, unacknowledged and within a bound, until source_cb takes what is next in order, or a message; everything
 * else from there is dropped. Before connect there is no path; where source_cb cannot tell, the firewall is asked about
 * the source. Without the check packets count from any source, as in libudx. A source_cb of NULL ends it; stray_cb may
 * be NULL.
 */
UDX_EXTERN int
udx_stream_check_sources (udx_stream_t *stream, udx_stream_source_cb source_cb, udx_stream_stray_cb stray_cb);

/*
 * The remote that the stream has just been connected to was only named by others. Until a packet of the stream comes
 * from there it gets at most three, whatever kind they are of, messages of the application excepted; what is lost of
 * them waits. A peer that is elsewhere is told by the stray_cb of udx_stream_check_sources. UV_ENOTCONN before connect.
 */
UDX_EXTERN int
udx_stream_limit_unheard (udx_stream_t *stream);

#ifdef __cplusplus
}
#endif

#endif
